"""Starts the real hub, and what stands between it and its clients.

The hub is ready when /readyz says so, and gone when its process has ended.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FANFARE_BIN", str(ROOT / "target/release/fanfare"))

# Seconds that anything awaited may take before a test calls it lost.
PATIENCE = 10.0

API_KEY = "the key of the tests"
HMAC_SECRET = "a secret that only tests know"

ALLOWED = {
    "allow_subscribe_for_client": True,
    "allow_publish_for_client": True,
    "allow_presence_for_client": True,
    "allow_history_for_client": True,
}
KEPT = {"history_ttl": "300s", "allow_recovery": True}

# Namespaces of the tests, by what they are for.
NAMESPACES = [
    # Everything on.
    {
        "name": "chat",
        **ALLOWED,
        **KEPT,
        "presence": True,
        "join_leave": True,
        "history_size": 300,
        "allow_positioning": True,
    },
    # Publications go out as differences.
    {"name": "delta", **ALLOWED, **KEPT, "history_size": 50, "allowed_delta_types": ["fossil"], "delta_publish": True},
    # A history that ten publications outgrow.
    {"name": "short", **ALLOWED, **KEPT, "history_size": 5},
    # Neither history nor presence.
    {"name": "plain", **ALLOWED},
    # For those whom the hub subscribes.
    {
        "name": "feed",
        "allow_presence_for_client": True,
        "presence": True,
        "join_leave": True,
        "force_push_join_leave": True,
        "history_size": 50,
        "history_ttl": "300s",
        "force_recovery": True,
    },
    # Only the newest counts.
    {"name": "latest", **ALLOWED, **KEPT, "history_size": 1, "force_recovery_mode": "cache", "auto_cache_recover": True},
    # By name, for those whose ids stand in it.
    {"name": "club", "allow_user_limited_channels": True, "channel_regex": "^[a-z]+(#|$)"},
    # Objects only.
    {"name": "forms", **ALLOWED, "publication_data_format": "json_object"},
    # Subscribe, and nothing else.
    {"name": "listen", "allow_subscribe_for_client": True, "presence": True, "history_size": 5, "history_ttl": "300s"},
    # Nothing at all.
    {"name": "locked"},
]


def configure(client=None, token=None, **sections):
    """A configuration file of the hub; `client` and `token` add to their sections."""
    return {
        "http_server": {"address": "127.0.0.1"},
        "client": {"token": {"hmac_secret_key": HMAC_SECRET, **(token or {})}, **(client or {})},
        "channel": {"namespaces": NAMESPACES},
        "http_api": {"key": API_KEY},
        "prometheus": {"enabled": True},
        "health": {"enabled": True},
        **sections,
    }


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Hub:
    """One running hub."""

    def __init__(self, config, shards=1, port=None):
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fanfare-test-"))
        (self.folder / "config.json").write_text(json.dumps(config, indent=2))
        self.log_path = self.folder / "log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [BINARY, "-c", "config.json", "--port", str(self.port), "--shards", str(shards)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        # The port opens within milliseconds; asking again is how a balancer learns it, too.
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the hub is not ready\n{self.log}")
            time.sleep(0.01)

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self):
        return f"{self.url}/api"

    @property
    def socket_url(self):
        return socket_url(self.port)

    def ask(self, method, **request):
        """Calls the server API and returns its result; an error fails the test."""
        call = urllib.request.Request(
            f"{self.api_url}/{method}",
            data=json.dumps(request).encode(),
            headers={"Content-Type": "application/json", "X-API-Key": API_KEY},
        )
        with urllib.request.urlopen(call, timeout=PATIENCE) as answer:
            body = json.load(answer)
        assert "error" not in body, f"{method}: {body}"
        return body["result"]

    def metric(self, name):
        """The sum of a metric over its labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{")))

    def stop(self):
        """Ends the hub as an operator does; whatever it counted as a bug of ours fails the test."""
        bugs = self.metric("fanfare_bugs_total")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        log = self.log
        shutil.rmtree(self.folder, ignore_errors=True)
        assert code == 0, log
        assert bugs == 0, f"fanfare_bugs_total\n{log}"


def socket_url(port):
    return f"ws://127.0.0.1:{port}/connection/websocket"


class Cable:
    """A TCP cable between a client and a port, which can be cut and mended."""

    def __init__(self, target):
        self.target = target
        self.whole = True
        self.ends = set()
        # What the hub sent, piece by piece.
        self.from_hub = asyncio.Queue()
        self.flowing = asyncio.Event()
        self.flowing.set()

    @classmethod
    async def to(cls, port):
        cable = cls(port)
        cable.server = await asyncio.start_server(cable._join, "127.0.0.1", 0)
        cable.port = cable.server.sockets[0].getsockname()[1]
        return cable

    @property
    def socket_url(self):
        return socket_url(self.port)

    async def _join(self, near_reader, near):
        if not self.whole:
            reset(near)
            return
        far_reader, far = await asyncio.open_connection("127.0.0.1", self.target)
        self.ends |= {near, far}
        await asyncio.gather(self._carry(near_reader, far), self._carry(far_reader, near, self.from_hub))
        self.ends -= {near, far}

    async def _carry(self, reader, writer, seen=None):
        try:
            while data := await reader.read(65536):
                await self.flowing.wait()
                if seen is not None:
                    seen.put_nowait(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    def cut(self):
        """Resets every connection in the middle of whatever it carries, and refuses new ones."""
        self.whole = False
        for end in list(self.ends):
            reset(end)

    def mend(self):
        self.whole = True

    def freeze(self):
        """Carries nothing more, and ends nothing."""
        self.flowing.clear()

    async def remove(self):
        self.cut()
        self.flowing.set()
        self.server.close()


def reset(writer):
    """Ends a connection as a broken network does: with a reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

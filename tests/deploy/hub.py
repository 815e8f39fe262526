"""Starts the real hub, and runs its commands."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("FANFARE_BIN", ROOT / "target" / "release" / "fanfare"))

# Seconds that anything awaited may take before a test calls it lost.
PATIENCE = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Keys in the environment of whoever runs the tests are not meant for their hubs.
PLAIN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FANFARE_")}


def fanfare(*arguments, text=None, env=None):
    """Runs a command to its end."""
    environment = {**PLAIN_ENVIRONMENT, **(env or {})}
    line = [BINARY, *map(str, arguments)]
    return subprocess.run(line, input=text, env=environment, capture_output=True, text=True, timeout=PATIENCE)


class Hub:
    """One running hub; a context, at whose end it has drained."""

    def __init__(self, *arguments, env=None):
        self.folder = tempfile.TemporaryDirectory(prefix="fanfare-deploy-")
        self.log = open(Path(self.folder.name) / "log", "w+")
        self.process = subprocess.Popen(
            [BINARY, *map(str, arguments)], stdout=self.log, stderr=subprocess.STDOUT,
            env={**PLAIN_ENVIRONMENT, **(env or {})},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(PATIENCE)
        text = self.said()
        self.log.close()
        self.folder.cleanup()
        assert code == 0, f"the hub ended with {code}\n{text}"

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def await_health(self, *arguments):
        """Asks as an orchestrator does, until the hub is ready."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the hub ended early\n{self.said()}"
            last = fanfare("healthcheck", *arguments)
            if last.returncode == 0:
                return last
        raise AssertionError(f"the hub was never ready: {last.stderr}\n{self.said()}")


class Subscriber:
    """`fanfare sub` in the background."""

    def __init__(self, *arguments):
        line = [BINARY, "sub", *map(str, arguments)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=PLAIN_ENVIRONMENT)
        self.timer = threading.Timer(PATIENCE, self.process.kill)
        self.timer.start()

    def await_subscribed(self):
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "subscribed to" in line:
                return
        raise AssertionError("".join(said))

    def lines(self):
        """What it printed, once it has ended."""
        out, error = self.process.communicate()
        self.timer.cancel()
        assert self.process.returncode == 0, error
        return out.splitlines()


def hs256(secret, claims):
    """A token, made here so that it is not the hub's word alone."""
    import base64
    import hashlib
    import hmac

    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = part(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{part(signature)}"


def certificate(folder):
    """A certificate for this machine, signed by a root: the paths of root, certificate and key."""
    assert shutil.which("openssl"), "openssl is missing: tests/install.sh"
    folder = Path(folder)
    root, root_key, leaf, key = (folder / name for name in ("root.pem", "root.key", "certificate.pem", "key.pem"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90"]
    run = lambda *line: subprocess.run(["openssl", *map(str, line)], check=True, capture_output=True)
    run("req", "-x509", *curve, "-subj", "/CN=tests", "-keyout", root_key, "-out", root)
    run("req", "-x509", *curve, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
        "-addext", "basicConstraints=critical,CA:FALSE", "-CA", root, "-CAkey", root_key, "-keyout", key, "-out", leaf)
    return root, leaf, key

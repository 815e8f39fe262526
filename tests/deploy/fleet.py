"""Two hubs with the same ports at two addresses, as they have in containers, and a door to their health."""

import http.server
import json
import random
import socket
import struct
import threading
import urllib.error
import urllib.request
from pathlib import Path

from hub import PATIENCE, Hub

SECRET, KEY = "a secret that only tests know", "the key of the tests"
ORIGIN = "https://app.example.com"

# Often enough to outlive idle time-outs of some seconds.
PING_SECONDS = 2


def is_free(address, port):
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_addresses(count):
    """Addresses of this machine that hardly anybody else uses."""
    return [f"127.{random.randrange(16, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}" for _ in range(count)]


def free_port_at(addresses):
    """A port that is free at all of them, below those that clients are given."""
    for _ in range(100):
        port = random.randrange(12000, 30000)
        if all(is_free(address, port) for address in addresses):
            return port
    raise AssertionError("no port is free")


class Gate:
    """Health of one hub as others are told it: the hub's own answer, or 503 as long as it is held."""

    def __init__(self, address, port, hub_port):
        self.held = False
        self.asked = 0
        gate, source = self, f"http://{address}:{hub_port}"

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                gate.asked += 1
                self.send_response(503 if gate.held else status(source + self.path))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = serve((address, port), Handler)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Echo:
    """Stands in for a hub: answers with the headers that it was sent. A context."""

    def __init__(self, address, ports):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                self.answer(handler)

            def log_message(self, *_):
                pass

        self.asked = 0
        self.port = ports[0]
        self.servers = [serve((address, port), Handler) for port in ports]

    def answer(self, handler):
        if handler.server.server_port == self.port:
            self.asked += 1
        headers = handler.headers
        body = json.dumps({name.lower(): headers.get_all(name) for name in headers}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()


class Rude(Echo):
    """Is well, by what it says of itself, and hangs up on all who ask: a hub at its very end."""

    def answer(self, handler):
        if handler.server.server_port != self.port:
            return super().answer(handler)
        self.asked += 1
        # A reset, as the kernel sends for connections that nobody has taken from the backlog.
        handler.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.request.close()


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Proxies hang up on health checks as they please."""


def serve(address, handler):
    """An HTTP server on a thread of its own."""
    server = Server(address, handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def status(url, context=None):
    """What a GET is answered with; 502: nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 502


class Member:
    """One hub of the fleet, which can end and come back."""

    def __init__(self, folder, name, address, port, health_port, api_port):
        self.name, self.address, self.api_port = name, address, api_port
        self.config = Path(folder) / f"{name}.json"
        self.config.write_text(json.dumps({
            "http_server": {"address": address, "port": port, "internal_port": str(api_port)},
            "client": {
                "token": {"hmac_secret_key": SECRET}, "allowed_origins": [ORIGIN], "user_id_http_header": "X-User-Id",
                # The longest that it may be, for pongs of a busy machine; and nobody is sent away for silence.
                "ping_interval": f"{PING_SECONDS}s", "pong_timeout": f"{PING_SECONDS * 1000 - 1}ms",
                "stale_close_delay": "60s",
            },
            "http_api": {"key": KEY},
            "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
        }))
        self.gate = Gate(address, health_port, api_port)
        self.start()

    def start(self):
        self.hub = Hub("--config", self.config)
        self.hub.await_health("--config", self.config)

    def drain(self):
        """Asks it to end; it does so meanwhile."""
        self.hub.process.terminate()

    def has_ended(self):
        return self.hub.process.poll() is not None

    def end(self):
        self.hub.__exit__()

    def close(self):
        self.gate.close()
        self.end()

    def publish(self, channel, data):
        request = urllib.request.Request(
            f"http://{self.address}:{self.api_port}/api/publish",
            data=json.dumps({"channel": channel, "data": data}).encode(),
            headers={"X-API-Key": KEY, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert "result" in json.load(answer)


class Fleet:
    """Two hubs without a common engine: what is published to one of them shows who is there."""

    def __init__(self, folder):
        addresses = free_addresses(2)
        self.port, self.health_port, api_port = (free_port_at(addresses) for _ in range(3))
        self.members = []
        try:
            for number, address in enumerate(addresses, 1):
                self.members.append(Member(folder, f"hub-{number}", address, self.port, self.health_port, api_port))
        except BaseException:
            self.close()
            raise

    def close(self):
        for member in self.members:
            member.close()

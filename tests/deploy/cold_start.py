#!/usr/bin/env python3
"""From the start of the process to its first answer: the least and the middle of some starts.

    cold_start.py [STARTS]      of target/release/fanfare, or of $FANFARE_BIN

The clock starts before fork and exec and stops when /readyz has answered 200; between two tries to connect
nothing is waited for. Files are in the page cache, as after a deployment that has just copied them.
"""

import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hub import BINARY, ROOT, PATIENCE, free_port

REQUEST = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def start_once(config):
    """Seconds until it serves."""
    port = free_port()
    line = [BINARY, "--config", config, "--address", "127.0.0.1", "--port", str(port), "--internal_port", str(port)]
    begun = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < PATIENCE:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                    client.sendall(REQUEST)
                    if client.recv(4096).startswith(b"HTTP/1.1 200 "):
                        return time.perf_counter() - begun
            except OSError:
                assert process.poll() is None, "the hub ended early"
        raise AssertionError("the hub never served")
    finally:
        process.terminate()
        process.wait(PATIENCE)


def measure(starts):
    """Seconds of each start, with the example of a chat as its configuration."""
    return sorted(start_once(ROOT / "deploy" / "examples" / "chat.toml") for _ in range(starts))


def stripped_bytes():
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "fanfare"
        subprocess.run(["strip", "-o", copy, BINARY], check=True)
        return copy.stat().st_size


if __name__ == "__main__":
    times = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    print(f"cold start to serving: least {times[0] * 1000:.1f} ms, median {statistics.median(times) * 1000:.1f} ms of {len(times)}")
    print(f"stripped binary: {stripped_bytes() / 2**20:.1f} MiB; {platform.machine()}, Linux {platform.release()}")

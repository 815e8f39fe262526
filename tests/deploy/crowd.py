"""Clients that stay connected, whatever happens to the hub they are on."""

import asyncio
import json
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from hub import PATIENCE


async def until(condition, what):
    """Looks until `condition` holds; several looks a turn of the clock cost nothing here."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited for long: {what}"
        await asyncio.sleep(0.02)


class Door:
    """Where clients connect to, and what they say there."""

    def __init__(self, url, token, ssl=None, headers=None):
        self.url, self.token = url, token
        self.options = {"additional_headers": headers or {}, "open_timeout": PATIENCE, "ping_interval": None, "proxy": None}
        if ssl is not None:
            self.options["ssl"] = ssl

    def open(self):
        return connect(self.url, **self.options)

    async def enter(self, socket, channel=None):
        """Connects, and subscribes; the reply to the connect command."""
        await socket.send(json.dumps({"id": 1, "connect": {"token": self.token} if self.token else {}}))
        reply = json.loads(await socket.recv())
        if channel is not None:
            await socket.send(json.dumps({"id": 2, "subscribe": {"channel": channel}}))
            assert "subscribe" in json.loads(await socket.recv())
        return reply

    async def visit(self):
        """A client that comes and goes: the reply to its connect command."""
        async with self.open() as socket:
            return await self.enter(socket)


class Member:
    """One client that comes back at once, without the patience that SDKs have, and notes all that happens."""

    def __init__(self, door, channel):
        self.door, self.channel = door, channel
        self.is_in = False
        self.pings = 0
        self.heard = []
        # Close codes, and handshakes that were not answered with 101.
        self.closes = []
        self.refusals = []

    async def run(self):
        while True:
            try:
                async with self.door.open() as socket:
                    await self.door.enter(socket, self.channel)
                    self.is_in = True
                    await self.listen(socket)
            except ConnectionClosed as closed:
                self.closes.append(closed.rcvd.code if closed.rcvd else None)
            except (InvalidHandshake, OSError) as refusal:
                self.refusals.append(repr(refusal))
                # A refusal is a failure already; here it is only kept from becoming a flood.
                await asyncio.sleep(0.05)
            self.is_in = False

    async def listen(self, socket):
        while True:
            for line in (await socket.recv()).splitlines():
                reply = json.loads(line)
                if reply == {}:
                    self.pings += 1
                    await socket.send("{}")
                elif "pub" in reply.get("push", {}):
                    self.heard.append(reply["push"]["pub"]["data"])


class Crowd:
    """Members; an asynchronous context, at whose end they have gone."""

    def __init__(self, door, channel, size):
        self.members = [Member(door, channel) for _ in range(size)]

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(member.run()) for member in self.members]
        await self.all_in()
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        for done in await asyncio.gather(*self.tasks, return_exceptions=True):
            if not isinstance(done, asyncio.CancelledError):
                raise done

    async def all_in(self):
        await until(lambda: all(member.is_in for member in self.members), f"everybody is in {self.refusals()[:3]}")

    async def all_heard(self, words):
        """Each has heard one of `words`."""
        wanted = set(words)
        await until(lambda: all(wanted & set(member.heard) for member in self.members), f"everybody hears one of {words}")

    def who_heard(self, word):
        return [member for member in self.members if word in member.heard]

    def closes(self):
        return [code for member in self.members for code in member.closes]

    def refusals(self):
        return [refusal for member in self.members for refusal in member.refusals]

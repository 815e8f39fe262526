"""Clients that stay connected, whatever happens to the hub they are on."""

import asyncio
import collections
import contextlib
import json
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from hub import PATIENCE


# Handshakes under way at a time.
RUSH = 50


async def until(condition, what, patience=PATIENCE):
    """Looks until `condition` holds; several looks a turn of the clock cost nothing here."""
    deadline = time.monotonic() + patience
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

    async def visit(self):
        """A client that comes and goes: the reply to its connect command."""
        async with self.open() as socket:
            return await Talk(socket).connect(self.token)


class Talk:
    """Commands and what comes of them on one socket. Pings are answered whenever they come."""

    def __init__(self, socket):
        self.socket = socket
        self.last_id = 0
        self.pings = 0
        # Said beside replies, oldest first.
        self.pushes = collections.deque()
        self.lines = collections.deque()

    async def read(self):
        """The next line that is no ping."""
        while True:
            while not self.lines:
                self.lines.extend((await self.socket.recv()).splitlines())
            said = json.loads(self.lines.popleft())
            if said:
                return said
            self.pings += 1
            await self.socket.send("{}")

    async def ask(self, command):
        self.last_id += 1
        await self.socket.send(json.dumps({"id": self.last_id, **command}))
        while (said := await self.read()).get("id") != self.last_id:
            self.pushes.append(said)
        return said

    async def connect(self, token):
        return await self.ask({"connect": {"token": token} if token else {}})

    async def subscribe(self, channel):
        reply = await self.ask({"subscribe": {"channel": channel}})
        assert "subscribe" in reply, reply

    async def push(self):
        return self.pushes.popleft() if self.pushes else await self.read()


class Member:
    """One client that comes back at once, without the patience that SDKs have, and notes all that happens."""

    def __init__(self, door, channel, rush):
        self.door, self.channel, self.rush = door, channel, rush
        self.is_in = False
        self.talk = None
        self.heard = []
        # Close codes, and handshakes that were not answered with 101.
        self.closes = []
        self.refusals = []

    @property
    def pings(self):
        """Of its last connection."""
        return self.talk.pings if self.talk else 0

    async def run(self):
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    async with self.rush:
                        self.talk = Talk(await stack.enter_async_context(self.door.open()))
                        await self.talk.connect(self.door.token)
                        await self.talk.subscribe(self.channel)
                    self.is_in = True
                    while True:
                        push = (await self.talk.push()).get("push", {})
                        if "pub" in push:
                            self.heard.append(push["pub"]["data"])
            except ConnectionClosed as closed:
                self.closes.append(closed.rcvd.code if closed.rcvd else None)
            except (InvalidHandshake, OSError) as refusal:
                self.refusals.append(repr(refusal))
                # A refusal is a failure already; here it is only kept from becoming a flood.
                await asyncio.sleep(0.05)
            self.is_in = False


class Crowd:
    """Members; an asynchronous context, at whose end they have gone."""

    def __init__(self, door, channel, size):
        rush = asyncio.Semaphore(RUSH)
        self.members = [Member(door, channel, rush) for _ in range(size)]

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
        # A busy machine manages some ten TLS handshakes a second.
        patience = PATIENCE + len(self.members) / 10
        await until(self.are_all_in, "everybody is in", patience)

    def are_all_in(self):
        for task in self.tasks:
            if task.done():
                # A member never ends by itself: this tells what went wrong.
                task.result()
        return all(member.is_in for member in self.members)

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

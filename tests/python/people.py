"""Real clients of the official SDK, in both encodings, and what tests ask of them."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
import uuid

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ReplyError,
    SubscriptionEventHandler,
)

from hub import HMAC_SECRET, PATIENCE


def token(key=HMAC_SECRET, **claims):
    """A token signed with HS256."""

    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    text = head + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(key.encode(), text, hashlib.sha256).digest())).decode()


def in_seconds(seconds):
    return int(time.time()) + seconds


def channel(namespace):
    """A channel that no other test uses."""
    return f"{namespace}:{uuid.uuid4()}"


async def refusal(promise):
    """The code with which the hub refuses."""
    try:
        await promise
    except ReplyError as error:
        return error.code
    raise AssertionError("it was allowed")


class Diary:
    """What an SDK object told, in order, and a way to wait for more.

    Notes are pairs of the handler's name without `on_` and its context.
    """

    def __init__(self):
        self.notes = []
        self._changed = asyncio.Event()

    def write(self, event, context):
        self.notes.append((event, context))
        self._changed.set()

    def all(self, event):
        return [context for name, context in self.notes if name == event]

    @property
    def events(self):
        return [name for name, _ in self.notes]

    async def until(self, condition, what):
        """Waits until `condition()` is true; it is asked again whenever something is noted."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := condition()):
                    self._changed.clear()
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE} s for {what}; so far: {self.notes}") from None

    async def nth(self, event, count=1):
        """The context of the `count`th `event`, once it is there."""
        contexts = await self.until(lambda: len(self.all(event)) >= count and self.all(event), f"{event} {count}")
        return contexts[count - 1]

    async def next(self, event):
        """The context of the next `event` from now on."""
        return await self.nth(event, len(self.all(event)) + 1)


def handler_of(kind, diary):
    """An event handler of the SDK that notes everything in a diary."""
    handler = kind()
    for name in dir(kind):
        if name.startswith("on_"):
            setattr(handler, name, noting(diary, name.removeprefix("on_")))
    return handler


def noting(diary, event):
    async def note(context):
        diary.write(event, context)

    return note


class Person:
    """One person at one hub."""

    def __init__(self, url, encoding, **options):
        self.encoding = encoding
        self.diary = Diary()
        options = {"min_reconnect_delay": 0.02, "max_reconnect_delay": 0.2, "proxy": None, **options}
        self.client = Client(
            url,
            events=handler_of(ClientEventHandler, self.diary),
            use_protobuf=encoding == "protobuf",
            **options,
        )

    @property
    def id(self):
        return self.diary.all("connected")[-1].client

    def pack(self, value):
        """JSON clients hand over values, Protobuf clients bytes."""
        return json.dumps(value).encode() if self.encoding == "protobuf" else value

    def unpack(self, data):
        if self.encoding == "protobuf" and data is not None:
            return json.loads(data)
        return data

    async def connect(self):
        await self.client.connect()
        await self.diary.nth("connected")
        return self

    async def leave(self):
        await self.client.disconnect()

    def place(self, name, **options):
        """A subscription that is not asked for yet."""
        return Place(self, name, **options)

    async def join(self, name, **options):
        """Subscribes, and waits until the hub has said yes."""
        place = self.place(name, **options)
        await place.sub.subscribe()
        await place.diary.nth("subscribed")
        return place

    async def publish(self, name, value):
        await self.client.publish(name, self.pack(value))


class Place:
    """One subscription, with everything that came through it, in order."""

    def __init__(self, person, name, **options):
        self.person = person
        self.diary = Diary()
        events = handler_of(SubscriptionEventHandler, self.diary)
        self.sub = person.client.new_subscription(name, events=events, min_resubscribe_delay=0.02, **options)

    @property
    def publications(self):
        return [context.pub for context in self.diary.all("publication")]

    @property
    def values(self):
        return [self.person.unpack(publication.data) for publication in self.publications]

    async def sees(self, value):
        """Waits until `value` has arrived: then nothing sent before it is still on the way."""
        await self.diary.until(lambda: value in self.values, f"{value!r} in {self.sub.channel}")

    async def publish(self, value):
        await self.sub.publish(self.person.pack(value))

    async def history(self, **options):
        """A page: its values, and what the SDK returned."""
        page = await self.sub.history(**options)
        return [self.person.unpack(publication.data) for publication in page.publications], page

    def assert_no_gap(self):
        """Offsets are consecutive: nothing lost, doubled or out of order."""
        offsets = [publication.offset for publication in self.publications]
        assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))


__all__ = ["CentrifugeError", "Diary", "Person", "Place", "channel", "in_seconds", "refusal", "token"]

"""Hubs and people for every test, and the record of which features were shown.

A test runs for one and four shards and for both encodings. With `--features FILE` the outcome of each
marked test is written there, for `docs/clients.md`.
"""

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from backend import KINDS, Backend
from hub import Cable, Hub, configure
from people import Person, token

SHARD_COUNTS = [1, 4]
ENCODINGS = ["json", "protobuf"]


def pytest_addoption(parser):
    parser.addoption("--features", help="write the features that the tests showed to this file")


@pytest.fixture
def user():
    """A user whom no other test knows."""
    return str(uuid.uuid4())


@dataclass
class World:
    """A hub, and the people who came to it in one encoding."""

    hub: Hub
    encoding: str
    people: list = field(default_factory=list)

    def person(self, user=None, url=None, **options):
        """Somebody who has not connected yet."""
        if user is not None:
            options.setdefault("token", token(sub=user))
        person = Person(url or self.hub.socket_url, self.encoding, **options)
        self.people.append(person)
        return person

    async def enter(self, user, **options):
        return await self.person(user, **options).connect()


@pytest.fixture(scope="session", params=SHARD_COUNTS, ids=lambda count: f"{count}-shards")
def hub(request):
    """A hub that tests share."""
    hub = Hub(configure(client={"expired_close_delay": "1s"}), shards=request.param)
    yield hub
    hub.stop()


@pytest.fixture(params=ENCODINGS)
def encoding(request):
    return request.param


@pytest_asyncio.fixture
async def world(hub, encoding):
    world = World(hub, encoding)
    yield world
    for person in world.people:
        await person.leave()


@pytest_asyncio.fixture
async def cable(hub):
    cable = await Cable.to(hub.port)
    yield cable
    await cable.remove()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest_asyncio.fixture
async def backend(hub, kind):
    backend = Backend(kind, hub.api_url)
    yield backend
    await backend.close()


@pytest.fixture
def fresh_hub():
    """Starts hubs with a configuration of their own, which end with the test."""
    hubs = []

    def start(**options):
        hubs.append(Hub(**options))
        return hubs[-1]

    yield start
    for hub in hubs:
        if hub.process.poll() is None:
            hub.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" or not report.passed:
        results = item.config.stash.setdefault(RESULTS, [])
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        results += [outcome(mark, parameters, report.passed) for mark in item.iter_markers("feature")]
    return report


def outcome(mark, parameters, passed):
    """What a marked test showed, and in which column; cent's two clients have one each."""
    column = {"sdk": "centrifuge-python", "encoding": parameters.get("encoding", "json")}
    if mark.kwargs.get("of") == "cent":
        column = {"sdk": f"cent, {parameters['kind']}", "encoding": "json"}
    return {**column, "feature": mark.args[0], "passed": passed}


def pytest_sessionfinish(session):
    path = session.config.getoption("--features")
    if path:
        lines = [json.dumps(result) + "\n" for result in session.config.stash.get(RESULTS, [])]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("".join(lines))


RESULTS = pytest.StashKey()

"""A backend that uses `cent`, both its clients: every method, and what it is told when something is wrong."""

from functools import partial

import cent
import pytest
from cent import (
    BroadcastRequest,
    CentNetworkError,
    CentTransportError,
    CentUnauthorizedError,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    StreamPosition,
)

from backend import Backend, refused
from hub import API_KEY, free_port
from people import channel, token

feature = partial(pytest.mark.feature, of="cent")


@pytest.fixture
def encoding():
    """Members of the rooms; how they are told is none of the backend's business."""
    return "json"


@feature("publish")
async def test_a_publication_arrives(world, backend):
    room = channel("chat")
    place = await (await world.enter("ann")).join(room)
    first = await backend(PublishRequest(channel=room, data={"n": 1}, tags={"kind": "news"}))
    second = await backend(PublishRequest(channel=room, data="two"))
    await place.sees("two")
    assert place.values == [{"n": 1}, "two"]
    assert place.publications[0].tags == {"kind": "news"}
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch and first.epoch == second.epoch


@feature("publish")
async def test_skip_history_is_not_remembered(world, backend):
    room = channel("chat")
    place = await (await world.enter("ann")).join(room)
    await backend(PublishRequest(channel=room, data="kept"))
    await backend(PublishRequest(channel=room, data="passing", skip_history=True))
    await place.sees("passing")
    history = await backend(HistoryRequest(channel=room, limit=10))
    assert [publication.data for publication in history.publications] == ["kept"]


@feature("broadcast")
async def test_a_broadcast_answers_for_each_room(world, backend):
    rooms = [channel("chat") for _ in range(3)]
    ann = await world.enter("ann")
    places = [await ann.join(room) for room in rooms]
    result = await backend(BroadcastRequest(channels=[*rooms, "nowhere:x"], data="to all"))
    for place in places:
        await place.sees("to all")
    assert [response.result.offset for response in result.responses[:3]] == [1, 1, 1]
    assert result.responses[3].error.code == 102


@feature("presence")
async def test_presence_names_each_connection(world, backend):
    room = channel("chat")
    ann = await world.enter("ann", token=token(sub="ann", info={"name": "Ann"}))
    await ann.join(room)
    presence = (await backend(PresenceRequest(channel=room))).presence
    assert list(presence) == [ann.id]
    assert (presence[ann.id].user, presence[ann.id].conn_info) == ("ann", {"name": "Ann"})
    assert (await backend(PresenceRequest(channel=channel("chat")))).presence == {}


@feature("presence_stats")
async def test_presence_stats_count(world, backend):
    room = channel("chat")
    for user in ("ann", "bob", "bob"):
        await (await world.enter(user)).join(room)
    stats = await backend(PresenceStatsRequest(channel=room))
    assert (stats.num_clients, stats.num_users) == (3, 2)


@feature("history")
async def test_history_in_pages(backend):
    room = channel("chat")
    for n in range(1, 6):
        await backend(PublishRequest(channel=room, data=n))

    async def read(**request):
        page = await backend(HistoryRequest(channel=room, **request))
        return [publication.data for publication in page.publications]

    top = await backend(HistoryRequest(channel=room))
    assert (top.offset, top.publications) == (5, [])
    assert await read(limit=2) == [1, 2]
    assert await read(limit=2, since=StreamPosition(offset=2, epoch=top.epoch)) == [3, 4]
    assert await read(limit=2, reverse=True) == [5, 4]
    wrong = StreamPosition(offset=1, epoch="elsewhen")
    assert await refused(backend(HistoryRequest(channel=room, limit=1, since=wrong))) == 112


@feature("info")
async def test_info_counts_the_node(world, backend):
    await (await world.enter("ann")).join(channel("chat"))
    (node,) = (await backend(InfoRequest())).nodes
    assert node.uid and node.version
    assert node.num_clients >= 1
    assert node.num_channels >= 1


@feature("errors of the API")
async def test_what_is_wrong_is_said(backend):
    assert await refused(backend(PublishRequest(channel="nowhere:x", data=1))) == 102
    assert await refused(backend(PublishRequest(channel="", data=1))) == 107
    for request in (HistoryRequest, PresenceRequest, PresenceStatsRequest):
        assert await refused(backend(request(channel=channel("plain")))) == 108


@feature("errors of the transport")
async def test_a_wrong_key_address_or_path_is_told(hub, kind):
    for url, key, error in [
        (hub.api_url, "wrong", CentUnauthorizedError),
        (f"http://127.0.0.1:{free_port()}/api", API_KEY, CentNetworkError),
        (f"{hub.url}/nothing", API_KEY, CentTransportError),
    ]:
        backend = Backend(kind, url, key)
        with pytest.raises(error):
            await backend(InfoRequest())
        await backend.close()


@feature("methods that are not offered")
async def test_methods_of_the_paid_build_are_not_found(backend):
    """Centrifugo's paid build has them; the free one answers as the hub does."""
    with pytest.raises(CentTransportError) as error:
        await backend(cent.GetUserStatusRequest(users=["ann"]))
    assert error.value.status_code == 404

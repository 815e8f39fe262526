"""Channels by their names and options, as clients and backends meet them."""

from functools import partial

import pytest
from cent import ChannelsRequest, HistoryRemoveRequest, HistoryRequest, PublishRequest

from people import channel, refusal

feature = pytest.mark.feature
method = partial(pytest.mark.feature, of="cent")


@feature("user-limited channels")
async def test_a_channel_that_names_its_users_is_for_them(world):
    ann, eve = await world.enter("ann"), await world.enter("eve")
    await ann.join("club:lobby#ann,bob")
    place = eve.place("club:lobby#ann,bob")
    await place.sub.subscribe()
    assert (await place.diary.nth("unsubscribed")).code == 103


@feature("names of channels are checked")
async def test_a_name_that_the_pattern_refuses_is_refused(world):
    ann = await world.enter("ann")
    place = ann.place("club:Lobby7#ann")
    await place.sub.subscribe()
    assert (await place.diary.nth("unsubscribed")).code == 107


@feature("formats of publications are checked")
async def test_what_is_no_object_is_refused_where_objects_are_wanted(world):
    place = await (await world.enter("ann")).join(channel("forms"))
    assert await refusal(place.publish([1, 2])) == 107
    await place.publish({"name": "Ann"})
    await place.sees({"name": "Ann"})


@method("publish once with a key")
async def test_a_key_publishes_once(backend):
    room = channel("chat")
    for _ in range(2):
        result = await backend(PublishRequest(channel=room, data="once", idempotency_key="the same"))
        assert result.offset == 1
    history = await backend(HistoryRequest(channel=room, limit=10))
    assert [publication.data for publication in history.publications] == ["once"]


@method("history_remove")
async def test_history_is_removed(backend):
    room = channel("chat")
    await backend(PublishRequest(channel=room, data=1))
    await backend(HistoryRemoveRequest(channel=room))
    assert (await backend(HistoryRequest(channel=room, limit=10))).publications == []


@method("channels")
async def test_channels_are_listed_by_pattern(world, backend, user):
    person = await world.enter(user)
    rooms = [f"chat:{user}-{n}" for n in range(3)]
    for room in rooms:
        await person.join(room)
    listed = (await backend(ChannelsRequest(pattern=f"chat:{user}-*"))).channels
    assert {name: info.num_clients for name, info in listed.items()} == dict.fromkeys(rooms, 1)

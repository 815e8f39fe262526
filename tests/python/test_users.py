"""A backend that reaches users with `cent`: what the hub does for it, and what the users' SDK makes of it."""

from functools import partial

import pytest
from cent import (
    BatchRequest,
    Disconnect,
    DisconnectRequest,
    HistoryRequest,
    PublishRequest,
    RefreshRequest,
    UnsubscribeRequest,
)
from centrifuge import ClientState, SubscriptionState

from backend import refused
from people import channel, in_seconds

feature = pytest.mark.feature
method = partial(pytest.mark.feature, of="cent")


@method("disconnect")
@feature("disconnected by the hub")
async def test_a_user_is_disconnected_for_good(world, backend, user):
    phone, laptop = await world.enter(user), await world.enter(user)
    bystander = await world.enter("bystander")
    await backend(DisconnectRequest(user=user))
    for person in (phone, laptop):
        ended = await person.diary.nth("disconnected")
        assert (ended.code, ended.reason) == (3503, "force disconnect")
    assert bystander.client.state is ClientState.CONNECTED


@method("disconnect")
@feature("disconnected by the hub")
async def test_a_code_says_whether_the_client_may_come_back(world, backend, user):
    person = await world.enter(user)
    await backend(DisconnectRequest(user=user, disconnect=Disconnect(code=4001, reason="later")))
    told = await person.diary.nth("connecting", 2)
    assert (told.code, told.reason) == (4001, "later")
    await person.diary.nth("connected", 2)
    await backend(DisconnectRequest(user=user, disconnect=Disconnect(code=4501, reason="never")))
    ended = await person.diary.nth("disconnected")
    assert (ended.code, ended.reason) == (4501, "never")


@method("disconnect")
async def test_one_connection_is_meant_and_others_are_spared(world, backend, user):
    first, second, third = [await world.enter(user) for _ in range(3)]
    await backend(DisconnectRequest(user=user, client=first.id))
    await first.diary.nth("disconnected")
    await backend(DisconnectRequest(user=user, whitelist=[third.id]))
    await second.diary.nth("disconnected")
    await third.publish(channel("chat"), "still here")


@method("unsubscribe")
@feature("unsubscribed by the hub")
async def test_a_user_is_unsubscribed(world, backend, user):
    person = await world.enter(user)
    room, other = channel("chat"), channel("chat")
    place, kept = await person.join(room), await person.join(other)
    await backend(UnsubscribeRequest(user=user, channel=room))
    ended = await place.diary.nth("unsubscribed")
    assert (ended.code, ended.reason) == (2000, "server unsubscribe")
    assert kept.sub.state is SubscriptionState.SUBSCRIBED
    await place.sub.subscribe()
    await place.diary.nth("subscribed", 2)


@method("refresh")
async def test_a_connection_is_refreshed_by_the_backend(world, backend, user):
    person = await world.enter(user)
    await backend(RefreshRequest(user=user, expire_at=in_seconds(3600)))
    await person.publish(channel("chat"), "still here")


@method("refresh")
@feature("connection expired by the hub")
async def test_a_connection_is_said_to_be_expired(world, backend, user):
    person = await world.enter(user)
    await backend(RefreshRequest(user=user, expired=True))
    told = await person.diary.nth("connecting", 2)
    assert (told.code, told.reason) == (3005, "connection expired")
    await person.diary.nth("connected", 2)


@method("batch")
@pytest.mark.parametrize("parallel", [False, True], ids=["in-order", "in-parallel"])
async def test_commands_of_a_batch_are_answered_in_their_places(world, backend, user, parallel):
    room = channel("chat")
    place = await (await world.enter(user)).join(room)
    requests = [PublishRequest(channel=room, data=n) for n in range(1, 4)]
    batch = await backend(BatchRequest(requests=requests, parallel=parallel))
    assert sorted(reply.offset for reply in batch.replies) == [1, 2, 3]
    for n in range(1, 4):
        await place.sees(n)
    history = await backend(HistoryRequest(channel=room, limit=10))
    assert sorted(publication.data for publication in history.publications) == [1, 2, 3]


@method("errors of the API")
async def test_a_backend_must_say_whom_it_means(backend):
    for request in (DisconnectRequest(user=""), UnsubscribeRequest(user="", channel="chat:x"), RefreshRequest(user="")):
        assert await refused(backend(request)) == 107

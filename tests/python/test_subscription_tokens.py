"""Channels that a token of their own opens."""

import asyncio

import pytest
from centrifuge import ClientState, SubscriptionState, UnauthorizedError

from people import channel, in_seconds, token

feature = pytest.mark.feature


def ticket(user, name, **claims):
    """A subscription token."""
    return token(sub=user, channel=name, **claims)


@feature("subscription token")
async def test_a_token_opens_a_private_channel(world, user):
    person = await world.enter(user)
    for room in (f"${channel('chat')}", channel("locked")):
        place = await person.join(room, token=ticket(user, room, info={"seat": 7}))
        world.hub.ask("publish", channel=room, data="hello")
        await place.sees("hello")


@feature("subscription token")
async def test_what_the_token_says_is_seen_in_the_channel(world, user):
    person = await world.enter(user)
    room = f"${channel('chat')}"
    place = await person.join(room, token=ticket(user, room, info={"seat": 7}))
    here = (await place.sub.presence()).clients[person.id]
    assert person.unpack(here.chan_info) == {"seat": 7}


@feature("subscription token from a callback")
async def test_a_callback_brings_the_token(world, user):
    person = await world.enter(user)
    room = f"${channel('chat')}"
    asked = []

    async def get_token(name):
        asked.append(name)
        return ticket(user, name)

    await person.join(room, get_token=get_token)
    assert asked == [room]


@feature("expired subscription token is fetched again")
async def test_an_expired_token_makes_the_client_fetch_another(world, user):
    person = await world.enter(user)
    room = f"${channel('chat')}"

    async def get_token(name):
        return ticket(user, name, exp=in_seconds(60))

    place = await person.join(room, token=ticket(user, room, exp=in_seconds(-60)), get_token=get_token)
    assert place.sub.state is SubscriptionState.SUBSCRIBED


@feature("subscription token is refreshed on the way")
async def test_a_token_that_ends_is_refreshed_and_the_subscription_lives(world, user):
    person = await world.enter(user)
    room = f"${channel('chat')}"
    refreshed = asyncio.Event()

    async def get_token(name):
        refreshed.set()
        return ticket(user, name, exp=in_seconds(60))

    place = await person.join(room, token=ticket(user, room, exp=in_seconds(2)), get_token=get_token)
    async with asyncio.timeout(10):
        await refreshed.wait()
    await place.publish("alive")
    await place.sees("alive")
    assert place.diary.events == ["subscribing", "subscribed", "publication"]


@feature("refused subscription token")
async def test_an_invalid_token_is_refused(world, user):
    person = await world.enter(user)
    room = f"${channel('chat')}"
    for wrong in (token(key="another secret", sub=user, channel=room), "not.a.token", ticket(user, room)[:-4]):
        place = person.place(room, token=wrong)
        await place.sub.subscribe()
        assert (await place.diary.nth("unsubscribed")).code == 103
        person.client.remove_subscription(place.sub)
    assert person.client.state is ClientState.CONNECTED


@feature("refused subscription token")
async def test_a_token_for_something_else_ends_the_connection(world, user):
    room = f"${channel('chat')}"
    for wrong in (ticket(user, channel("chat")), ticket("somebody else", room), ticket(user, room, client="another")):
        person = await world.enter(user)
        await person.place(room, token=wrong).sub.subscribe()
        assert (await person.diary.nth("disconnected")).code == 3500


@feature("unauthorized by the callback of a subscription")
async def test_a_callback_that_gives_up_ends_the_subscription(world, user):
    person = await world.enter(user)

    async def get_token(_):
        raise UnauthorizedError

    place = person.place(f"${channel('chat')}", get_token=get_token)
    await place.sub.subscribe()
    assert (await place.diary.nth("unsubscribed")).code == 1
    assert person.client.state is ClientState.CONNECTED

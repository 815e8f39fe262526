"""Subscriptions that the hub makes: as a token says, as a backend asks, as the configuration has it."""

from functools import partial

import pytest
from cent import SubscribeRequest, UnsubscribeRequest

from hub import configure
from people import channel, token

feature = pytest.mark.feature
method = partial(pytest.mark.feature, of="cent")


@feature("server-side subscriptions of a token")
async def test_a_token_subscribes_its_user(world, user):
    plain, feed = channel("chat"), channel("feed")
    person = await world.enter(user, token=token(sub=user, channels=[plain]))
    subscribed = await person.diary.nth("subscribed")
    assert (subscribed.channel, subscribed.recoverable, subscribed.data) == (plain, False, None)
    world.hub.ask("publish", channel=plain, data={"n": 1}, tags={"kind": "news"})
    arrived = await person.diary.nth("publication")
    assert (arrived.channel, person.unpack(arrived.pub.data)) == (plain, {"n": 1})
    assert arrived.pub.tags == {"kind": "news"}

    other = await world.enter(user, token=token(sub=user, subs={feed: {"data": {"hello": True}, "info": {"seat": 7}}}))
    subscribed = await other.diary.nth("subscribed")
    assert (subscribed.channel, subscribed.recoverable, subscribed.positioned) == (feed, True, True)
    assert other.unpack(subscribed.data) == {"hello": True}
    here = (await other.client.presence(feed)).clients[other.id]
    assert other.unpack(here.chan_info) == {"seat": 7}


@feature("server-side subscriptions recover")
async def test_server_side_subscriptions_recover(world, user, cable):
    feed = channel("feed")
    person = await world.enter(user, url=cable.socket_url, token=token(sub=user, channels=[feed]))
    world.hub.ask("publish", channel=feed, data=1)
    await person.diary.nth("publication")
    cable.cut()
    await person.diary.nth("subscribing")
    for n in range(2, 6):
        world.hub.ask("publish", channel=feed, data=n)
    cable.mend()
    back = await person.diary.nth("subscribed", 2)
    assert (back.was_recovering, back.recovered) == (True, True)
    await person.diary.nth("publication", 5)
    assert [person.unpack(context.pub.data) for context in person.diary.all("publication")] == [1, 2, 3, 4, 5]


@feature("server-side join and leave")
async def test_server_side_subscribers_hear_of_joins_and_leaves(world, user):
    feed = channel("feed")
    person = await world.enter(user, token=token(sub=user, channels=[feed]))
    other = await world.enter("bob", token=token(sub="bob", channels=[feed]))
    joined = await person.diary.nth("join", 2)
    assert (joined.channel, joined.info.user) == (feed, "bob")
    await other.leave()
    left = await person.diary.nth("leave")
    assert (left.channel, left.info.client) == (feed, other.id)


@method("subscribe")
@feature("server-side subscriptions by the API")
async def test_the_backend_subscribes_and_unsubscribes(world, backend, user):
    person = await world.enter(user)
    room = channel("chat")
    await backend(SubscribeRequest(user=user, channel=room, data={"hello": True}))
    subscribed = await person.diary.nth("subscribed")
    assert (subscribed.channel, person.unpack(subscribed.data)) == (room, {"hello": True})
    world.hub.ask("publish", channel=room, data="hello")
    assert person.unpack((await person.diary.nth("publication")).pub.data) == "hello"
    await backend(UnsubscribeRequest(user=user, channel=room))
    assert (await person.diary.nth("unsubscribed")).channel == room


@feature("personal channel")
async def test_everybody_has_a_channel_of_their_own(fresh_hub, world, user):
    hub = fresh_hub(config=configure(client={"subscribe_to_user_personal_channel": {"enabled": True}}))
    person = await world.enter(user, url=hub.socket_url)
    assert (await person.diary.nth("subscribed")).channel == f"#{user}"
    hub.ask("publish", channel=f"#{user}", data="for you alone")
    assert person.unpack((await person.diary.nth("publication")).pub.data) == "for you alone"
    await person.leave()


@feature("cache recovery")
async def test_the_newest_publication_comes_with_the_subscription(world, user):
    person = await world.enter(user)
    room = channel("latest")
    for n in range(1, 4):
        await person.publish(room, n)
    place = await person.join(room, recoverable=True)
    await place.sees(3)
    assert place.values == [3]

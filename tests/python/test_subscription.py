"""Talking in channels: what is published, who is here, what was missed."""

import pytest
from centrifuge import (
    CentrifugeError,
    DeltaType,
    DuplicateSubscriptionError,
    StreamPosition,
    SubscriptionState,
    SubscriptionUnsubscribedError,
)

from people import channel, refusal, token

feature = pytest.mark.feature


async def cut(cable, person, place, meanwhile):
    """Cuts the cable, lets `meanwhile` happen, mends it; returns what the hub then said."""
    gone = len(person.diary.all("connecting")) + 1
    back = len(place.diary.all("subscribed")) + 1
    cable.cut()
    await person.diary.nth("connecting", gone)
    await meanwhile()
    cable.mend()
    return await place.diary.nth("subscribed", back)


@feature("publish and receive")
async def test_two_people_chat(world):
    ann, bob = await world.enter("ann"), await world.enter("bob")
    room = channel("chat")
    hers, his = await ann.join(room), await bob.join(room)
    await hers.publish("hello Bob")
    await his.sees("hello Bob")
    await his.publish("hello Ann")
    for place in (hers, his):
        await place.sees("hello Ann")
        assert place.values == ["hello Bob", "hello Ann"]
        assert [publication.info.client for publication in place.publications] == [ann.id, bob.id]
        assert [publication.info.user for publication in place.publications] == ["ann", "bob"]
        place.assert_no_gap()


@feature("publish and receive")
async def test_any_payload_comes_out_as_it_went_in(world):
    place = await (await world.enter("ann")).join(channel("chat"))
    payloads = [True, 0, -1.5, "", "ünï ☃ 😀 \u2028", '<&>"\\\n\t', [], {}, {"a": [{"b": None}]}, "x" * 30_000]
    for payload in payloads:
        await place.publish(payload)
    await place.sees(payloads[-1])
    assert place.values == payloads


@feature("publish without a subscription")
async def test_who_is_not_subscribed_may_publish(world):
    ann, bob = await world.enter("ann"), await world.enter("bob")
    room = channel("chat")
    place = await ann.join(room)
    await bob.publish(room, "from outside")
    await place.sees("from outside")


@feature("publications of a backend, with tags")
async def test_a_backend_publishes_with_tags(world):
    room = channel("chat")
    place = await (await world.enter("ann")).join(room)
    world.hub.ask("publish", channel=room, data={"n": 1}, tags={"kind": "news"})
    await place.sees({"n": 1})
    publication = place.publications[0]
    assert (publication.tags, publication.offset, publication.info) == ({"kind": "news"}, 1, None)


@feature("bytes as they are")
@pytest.mark.parametrize("encoding", ["protobuf"])
async def test_bytes_come_out_as_they_went_in(world):
    ann = await world.enter("ann")
    place = await ann.join(channel("chat"))
    payload = bytes(range(256))
    await place.sub.publish(payload)
    assert (await place.diary.nth("publication")).pub.data == payload


@feature("subscribe and unsubscribe")
async def test_who_has_left_a_room_hears_nothing_of_it(world):
    ann, bob = await world.enter("ann"), await world.enter("bob")
    room = channel("plain")
    hers, his = await ann.join(room), await bob.join(room)
    assert hers.sub.state is SubscriptionState.SUBSCRIBED
    await his.publish("before")
    await hers.sees("before")
    await hers.sub.unsubscribe()
    ended = await hers.diary.nth("unsubscribed")
    assert (ended.code, ended.reason) == (0, "unsubscribe called")
    await his.publish("between")
    await his.sees("between")
    await hers.sub.subscribe()
    await hers.diary.nth("subscribed", 2)
    await his.publish("after")
    await hers.sees("after")
    assert hers.values == ["before", "after"]
    assert hers.diary.events[:2] == ["subscribing", "subscribed"]


@feature("subscribe before the connection is there")
async def test_a_subscription_asked_for_early_goes_with_the_connection(world):
    ann = world.person("ann")
    place = ann.place(channel("chat"))
    await place.sub.subscribe()
    assert place.sub.state is SubscriptionState.SUBSCRIBING
    await ann.connect()
    await place.sub.ready()
    await place.publish("early")
    await place.sees("early")


@feature("subscribe with data")
async def test_subscribe_data_is_taken(world):
    ann = await world.enter("ann")
    place = await ann.join(channel("chat"), data=ann.pack({"since": "today"}))
    assert place.diary.all("subscribed")[0].data is None


@feature("registry of subscriptions")
async def test_the_client_knows_its_subscriptions(world):
    ann = await world.enter("ann")
    room = channel("chat")
    place = await ann.join(room)
    assert ann.client.get_subscription(room) is place.sub
    assert ann.client.subscriptions() == {room: place.sub}
    with pytest.raises(DuplicateSubscriptionError):
        ann.place(room)
    await place.sub.unsubscribe()
    ann.client.remove_subscription(place.sub)
    assert ann.client.get_subscription(room) is None
    with pytest.raises(CentrifugeError):
        await place.sub.subscribe()
    again = await ann.join(room)
    await again.publish("again")
    await again.sees("again")


@feature("refused subscriptions and calls")
async def test_what_is_not_allowed_is_refused_and_the_connection_goes_on(world):
    ann = await world.enter("ann")
    for name, code in [(channel("locked"), 103), ("nowhere:room", 102), (f"${channel('chat')}", 103), ("chat:" + "x" * 300, 107)]:
        place = ann.place(name)
        await place.sub.subscribe()
        assert (await place.diary.nth("unsubscribed")).code == code
        with pytest.raises(SubscriptionUnsubscribedError):
            await place.sub.ready()

    listening = await ann.join(channel("listen"))
    assert await refusal(listening.publish("x")) == 103
    assert await refusal(listening.sub.presence()) == 103
    assert await refusal(listening.sub.presence_stats()) == 103
    assert await refusal(listening.sub.history(limit=1)) == 103

    plain = await ann.join(channel("plain"))
    assert await refusal(plain.sub.presence()) == 108
    assert await refusal(plain.sub.presence_stats()) == 108
    assert await refusal(plain.sub.history(limit=1)) == 108
    await plain.publish("still here")
    await plain.sees("still here")


@feature("presence")
async def test_presence_names_each_connection(world):
    ann = await world.enter("ann", token=token(sub="ann", info={"name": "Ann"}))
    bob, bob_too = await world.enter("bob"), await world.enter("bob")
    room = channel("chat")
    place = await ann.join(room)
    await bob.join(room)
    await bob_too.join(room)
    clients = (await place.sub.presence()).clients
    assert set(clients) == {ann.id, bob.id, bob_too.id}
    assert (clients[ann.id].user, clients[ann.id].client) == ("ann", ann.id)
    assert ann.unpack(clients[ann.id].conn_info) == {"name": "Ann"}
    assert (clients[bob.id].conn_info, clients[bob.id].chan_info) == (None, None)
    assert (await ann.client.presence(room)).clients == clients


@feature("presence stats")
async def test_presence_stats_count(world):
    ann, bob, bob_too = [await world.enter(user) for user in ("ann", "bob", "bob")]
    room = channel("chat")
    place = await ann.join(room)
    await bob.join(room)
    await bob_too.join(room)
    for stats in (await place.sub.presence_stats(), await ann.client.presence_stats(room)):
        assert (stats.num_clients, stats.num_users) == (3, 2)


@feature("join and leave")
async def test_joins_and_leaves_are_told_to_who_asked(world):
    ann, bob, cay = [await world.enter(user) for user in ("ann", "bob", "cay")]
    room = channel("chat")
    hers = await ann.join(room, join_leave=True)
    quiet = await cay.join(room)
    his = await bob.join(room)
    await hers.diary.nth("join", 3)
    assert [context.info.user for context in hers.diary.all("join")] == ["ann", "cay", "bob"]
    await his.sub.unsubscribe()
    left = await hers.diary.nth("leave")
    assert (left.info.user, left.info.client) == ("bob", bob.id)
    await quiet.publish("end")
    await quiet.sees("end")
    assert quiet.diary.all("join") == []


@feature("history")
async def test_pages_of_history_follow_one_another(world):
    ann = await world.enter("ann")
    place = await ann.join(channel("chat"))
    for n in range(1, 11):
        await place.publish(n)
    values, first = await place.history(limit=4)
    assert (values, first.offset) == ([1, 2, 3, 4], 10)
    assert [publication.offset for publication in first.publications] == [1, 2, 3, 4]
    assert first.publications[0].info.user == "ann"
    for offset, rest in [(4, [5, 6, 7, 8]), (8, [9, 10]), (10, [])]:
        assert (await place.history(limit=4, since=StreamPosition(offset, first.epoch)))[0] == rest
    values, top = await place.history(limit=0)
    assert (values, top.offset, top.epoch) == ([], 10, first.epoch)
    assert (await place.history(limit=-1))[0] == list(range(1, 11))
    assert (await ann.client.history(place.sub.channel, limit=1)).offset == 10


@feature("history backwards")
async def test_pages_of_history_go_backwards(world):
    place = await (await world.enter("ann")).join(channel("chat"))
    for n in range(1, 11):
        await place.publish(n)
    values, newest = await place.history(limit=3, reverse=True)
    assert values == [10, 9, 8]
    since = StreamPosition(8, newest.epoch)
    assert (await place.history(limit=3, reverse=True, since=since))[0] == [7, 6, 5]


@feature("history refused")
async def test_history_refuses_what_makes_no_sense(world):
    place = await (await world.enter("ann")).join(channel("chat"))
    await place.publish(1)
    _, page = await place.history(limit=0)
    assert await refusal(place.history(limit=1, since=StreamPosition(1, "elsewhen"))) == 112
    assert await refusal(place.history(limit=1, reverse=True, since=StreamPosition(0, page.epoch))) == 107


@feature("positioned subscription")
async def test_a_positioned_subscription_knows_where_it_is(world):
    ann = await world.enter("ann")
    room = channel("chat")
    await ann.publish(room, 1)
    place = await ann.join(room, positioned=True)
    subscribed = place.diary.all("subscribed")[0]
    assert (subscribed.positioned, subscribed.recoverable) == (True, False)
    assert subscribed.stream_position.offset == 1
    assert subscribed.stream_position.epoch == (await place.history())[1].epoch


@feature("recovery after a cut")
async def test_what_was_published_during_a_cut_arrives_once_and_in_order(world, cable):
    ann, bob = await world.enter("ann", url=cable.socket_url), await world.enter("bob")
    room = channel("chat")
    place = await ann.join(room, recoverable=True)
    assert place.diary.all("subscribed")[0].recoverable
    for n in range(1, 4):
        await bob.publish(room, n)
    await place.sees(3)

    async def meanwhile():
        for n in range(4, 31):
            await bob.publish(room, n)

    back = await cut(cable, ann, place, meanwhile)
    assert (back.was_recovering, back.recovered) == (True, True)
    await bob.publish(room, "end")
    await place.sees("end")
    assert place.values == [*range(1, 31), "end"]
    place.assert_no_gap()


@feature("recovery that is not possible")
async def test_a_history_that_was_outgrown_is_said_to_be_lost(world, cable):
    ann, bob = await world.enter("ann", url=cable.socket_url), await world.enter("bob")
    room = channel("short")
    place = await ann.join(room, recoverable=True)
    await bob.publish(room, 1)
    await place.sees(1)

    async def meanwhile():
        for n in range(2, 21):
            await bob.publish(room, n)

    back = await cut(cable, ann, place, meanwhile)
    assert (back.was_recovering, back.recovered) == (True, False)
    assert back.stream_position.offset == 20
    await bob.publish(room, 21)
    await place.sees(21)
    assert place.values == [1, 21]


@feature("a room without recovery goes on")
async def test_a_room_without_recovery_goes_on_from_now(world, cable):
    ann, bob = await world.enter("ann", url=cable.socket_url), await world.enter("bob")
    room = channel("plain")
    place = await ann.join(room, recoverable=True)
    back = await cut(cable, ann, place, lambda: bob.publish(room, "missed"))
    assert (back.was_recovering, back.recovered) == (False, False)
    await bob.publish(room, "now")
    await place.sees("now")
    assert place.values == ["now"]


@feature("subscribe from a position of the application")
async def test_a_subscription_starts_from_the_applications_position(world):
    ann = await world.enter("ann")
    room = channel("chat")
    for n in range(1, 6):
        await ann.publish(room, n)
    page = await ann.client.history(room)
    asked = []

    async def get_state(name):
        asked.append(name)
        return StreamPosition(2, page.epoch)

    place = await ann.join(room, recoverable=True, get_state=get_state)
    await place.sees(5)
    assert (asked, place.values) == ([room], [3, 4, 5])


@feature("subscribe from a position that is gone")
async def test_a_position_that_is_gone_is_asked_for_again(world):
    ann = await world.enter("ann")
    room = channel("chat")
    await ann.publish(room, 1)
    page = await ann.client.history(room)
    positions = [StreamPosition(1, "elsewhen"), StreamPosition(0, page.epoch)]
    place = await ann.join(room, recoverable=True, get_state=lambda _: resolved(positions.pop(0)))
    await place.sees(1)
    assert positions == []


async def resolved(value):
    return value


@feature("delta compression")
async def test_deltas_restore_every_payload(world):
    ann, bob = await world.enter("ann"), await world.enter("bob")
    room = channel("delta")
    place = await ann.join(room, delta=DeltaType.FOSSIL, recoverable=True)
    payloads = [{"text": "the quick brown fox jumps over the lazy dog " * 8, "n": n} for n in range(10)]
    for payload in payloads:
        await bob.publish(room, payload)
    await place.sees(payloads[-1])
    assert place.values == payloads
    assert any(publication.delta for publication in place.publications)

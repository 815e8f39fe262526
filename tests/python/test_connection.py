"""Coming, staying and going: tokens, states, cuts and codes."""

import asyncio

import pytest
from centrifuge import (
    CentrifugeError,
    ClientDisconnectedError,
    ClientState,
    OperationTimeoutError,
    ReplyError,
    UnauthorizedError,
)

from hub import Cable, configure, free_port
from people import channel, in_seconds, refusal, token

feature = pytest.mark.feature


@feature("connect with a token")
async def test_a_token_says_who_it_is(world):
    ann = world.person(token=token(sub="ann", info={"name": "Ann"}))
    assert ann.client.state is ClientState.DISCONNECTED
    await ann.connect()
    assert ann.client.state is ClientState.CONNECTED
    connected = await ann.diary.nth("connected")
    assert connected.client and connected.version
    assert connected.data is None
    place = await ann.join(channel("chat"))
    here = (await place.sub.presence()).clients[ann.id]
    assert here.user == "ann"
    assert ann.unpack(here.conn_info) == {"name": "Ann"}


@feature("connect without a token")
async def test_nobody_comes_in_without_a_token(world):
    nobody = world.person()
    await nobody.client.connect()
    assert (await nobody.diary.nth("disconnected")).code == 3501
    assert nobody.client.state is ClientState.DISCONNECTED


@feature("connect without a token")
async def test_anonymous_people_come_in_where_that_is_allowed(fresh_hub, world):
    hub = fresh_hub(config=configure(client={"allow_anonymous_connect_without_token": True}))
    anonymous = world.person(url=hub.socket_url)
    await anonymous.connect()
    assert await refusal(anonymous.publish(channel("chat"), "x")) == 103


@feature("connect with data, name and version")
async def test_data_name_and_version_are_taken(world):
    ann = world.person("ann", name="tests", version="1.2.3")
    ann.client._data = ann.pack({"theme": "dark"})
    await ann.connect()


@feature("token from a callback")
async def test_without_a_token_the_client_asks_for_one(world):
    asked = []

    async def get_token():
        asked.append(True)
        return token(sub="ann")

    await world.person(get_token=get_token).connect()
    assert len(asked) == 1


@feature("expired token is fetched again")
async def test_an_expired_token_makes_the_client_fetch_another(world):
    async def get_token():
        return token(sub="ann", exp=in_seconds(60))

    ann = world.person(token=token(sub="ann", exp=in_seconds(-60)), get_token=get_token)
    await ann.connect()
    assert ann.client.state is ClientState.CONNECTED


@feature("token is refreshed on the way")
async def test_a_token_that_ends_is_refreshed_and_the_connection_lives(world):
    refreshed = asyncio.Event()

    async def get_token():
        refreshed.set()
        return token(sub="ann", exp=in_seconds(60))

    ann = await world.enter("ann", token=token(sub="ann", exp=in_seconds(2)), get_token=get_token)
    before = ann.id
    async with asyncio.timeout(10):
        await refreshed.wait()
    place = await ann.join(channel("chat"))
    await place.publish("alive")
    await place.sees("alive")
    assert ann.id == before
    assert ann.diary.all("error") == []


@feature("refused token")
async def test_an_invalid_token_is_refused_for_good(world):
    for wrong in [token(key="another secret", sub="ann"), token(sub="ann")[:-4], "not.a.token", "token"]:
        ann = world.person(token=wrong)
        await ann.client.connect()
        ended = await ann.diary.nth("disconnected")
        assert (ended.code, ended.reason) == (3500, "invalid token")
        assert ann.client.state is ClientState.DISCONNECTED


@feature("refused token")
async def test_a_refresh_for_another_user_ends_the_connection(world):
    async def get_token():
        return token(sub="bob", exp=in_seconds(60))

    ann = await world.enter("ann", token=token(sub="ann", exp=in_seconds(1)), get_token=get_token)
    assert (await ann.diary.nth("disconnected")).code == 3500


@feature("unauthorized by the callback")
async def test_a_callback_that_gives_up_ends_the_attempt(world):
    async def get_token():
        raise UnauthorizedError

    ann = world.person(get_token=get_token)
    await ann.client.connect()
    assert (await ann.diary.nth("disconnected")).code == 1


@feature("token is set by the application")
async def test_a_token_that_was_set_later_is_used(world):
    ann = world.person(token="token")
    await ann.client.connect()
    await ann.diary.nth("disconnected")
    ann.client.set_token(token(sub="ann"))
    await ann.connect()


@feature("connect and disconnect")
async def test_connect_and_disconnect_tell_their_codes(world):
    ann = await world.enter("ann")
    first = ann.id
    await ann.leave()
    ended = await ann.diary.nth("disconnected")
    assert (ended.code, ended.reason) == (0, "disconnect called")
    await ann.client.connect()
    await ann.diary.nth("connected", 2)
    assert ann.id != first
    assert ann.diary.events == ["connecting", "connected", "disconnected", "connecting", "connected"]
    assert ann.diary.all("connecting")[0].code == 0


@feature("ready waits, and gives up in time")
async def test_ready_waits_for_the_connection(world):
    ann = world.person("ann")
    with pytest.raises(CentrifugeError):
        await ann.client.ready()
    connecting = asyncio.create_task(ann.client.connect())
    await asyncio.wait_for(ann.diary.nth("connecting"), 10)
    await ann.client.ready()
    await connecting

    late = world.person("late", url=f"ws://127.0.0.1:{free_port()}/connection/websocket")
    await late.client.connect()
    with pytest.raises(OperationTimeoutError):
        await late.client.ready(timeout=0.05)


@feature("calls on a closed client fail")
async def test_calls_on_a_closed_client_fail(world):
    ann = world.person("ann")
    with pytest.raises(ClientDisconnectedError):
        await ann.publish(channel("chat"), "x")


@feature("calls time out")
async def test_a_call_that_nobody_answers_times_out(world):
    deaf = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    async with deaf:
        port = deaf.sockets[0].getsockname()[1]
        ann = world.person("ann", url=f"ws://127.0.0.1:{port}/connection/websocket", timeout=0.2)
        connecting = asyncio.create_task(ann.client.connect())
        await ann.diary.nth("connecting")
        with pytest.raises(OperationTimeoutError):
            await ann.publish(channel("chat"), "x")
        await ann.leave()
        await connecting


@feature("reconnect after a cut")
async def test_a_cut_connection_comes_back_as_another(world, cable):
    ann = await world.enter("ann", url=cable.socket_url)
    before = ann.id
    cable.cut()
    assert (await ann.diary.nth("connecting", 2)).code == 1
    assert ann.client.state is ClientState.CONNECTING
    cable.mend()
    await ann.diary.nth("connected", 2)
    assert ann.id != before


@feature("reconnect after a hub's shutdown")
async def test_a_hub_that_is_replaced_tells_3001(fresh_hub, world):
    config = configure(shutdown={"timeout": "2s"})
    first = fresh_hub(config=config)
    ann = await world.enter("ann", url=first.socket_url)
    place = await ann.join(channel("chat"), recoverable=True)
    await place.publish("before")
    await place.sees("before")
    await asyncio.to_thread(first.stop)
    assert (await ann.diary.nth("connecting", 2)).code == 3001

    second = fresh_hub(config=config, port=first.port)
    back = await place.diary.nth("subscribed", 2)
    # The memory engine died with its process: another epoch, and the truth about it.
    assert (back.was_recovering, back.recovered) == (True, False)
    await place.publish("after")
    await place.sees("after")
    assert place.values == ["before", "after"]
    await ann.leave()
    assert second.process.poll() is None


@feature("pings")
async def test_pings_are_answered(fresh_hub, world):
    hub = fresh_hub(config=configure(client={"ping_interval": "1s", "pong_timeout": "500ms"}))
    cable = await Cable.to(hub.port)
    try:
        ann = await world.enter("ann", url=cable.socket_url)
        # An unanswered ping would have ended the connection before the next one.
        pings = 0
        while pings < 3:
            pings += len(await asyncio.wait_for(cable.from_hub.get(), 10)) <= len(b"\x81\x02{}")
        assert ann.diary.events == ["connecting", "connected"]
    finally:
        await cable.remove()


@feature("a silent hub is left")
async def test_a_hub_that_is_silent_is_left(fresh_hub, world):
    hub = fresh_hub(config=configure(client={"ping_interval": "1s", "pong_timeout": "500ms"}))
    frozen = await Cable.to(hub.port)
    try:
        ann = await world.enter("ann", url=frozen.socket_url, max_server_ping_delay=0.3)
        frozen.freeze()
        assert (await ann.diary.nth("connecting", 2)).code == 2
    finally:
        await frozen.remove()


@feature("rpc without a backend")
async def test_rpc_without_a_backend_is_not_available(world):
    ann = await world.enter("ann")
    assert await refusal(ann.client.rpc("sum", ann.pack([1, 2]))) == 108


@feature("too large a message")
async def test_a_message_that_is_too_large_ends_the_connection(world):
    ann = await world.enter("ann")
    with pytest.raises(ClientDisconnectedError):
        await ann.publish(channel("chat"), "x" * 70_000)
    ended = await ann.diary.nth("connecting", 2)
    assert (ended.code, ended.reason) == (3, "message size limit")


@feature("headers of the upgrade")
async def test_headers_travel_with_the_upgrade(world):
    await world.enter("ann", headers={"Authorization": "Bearer x"})


@feature("error events")
async def test_a_transport_that_fails_is_told(world):
    ann = world.person("ann", url=f"ws://127.0.0.1:{free_port()}/connection/websocket")
    await ann.client.connect()
    assert (await ann.diary.nth("error")).code == 2


@feature("error events")
async def test_what_the_hub_refuses_has_a_code_and_a_message(world):
    ann = await world.enter("ann")
    with pytest.raises(ReplyError) as error:
        await ann.client.rpc("sum", ann.pack([1, 2]))
    refused = error.value
    assert (refused.code, refused.message, refused.temporary) == (108, "not available", False)

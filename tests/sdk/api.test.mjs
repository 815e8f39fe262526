// A backend that publishes and asks over HTTP.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Person, channel, everywhere, inSeconds, next, token } from './clients.mjs';
import { apiKey, configure, within } from './harness.mjs';

everywhere('server API', (world) => {
  const call = (...args) => world.hub.call(...args);
  const ask = (...args) => world.hub.ask(...args);

  test('a publication arrives, with its position as the answer', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    const first = await ask('publish', { channel: room, data: { n: 1 }, tags: { kind: 'news' } });
    const second = await ask('publish', { channel: room, data: 'two' });
    await place.sees('two');
    assert.deepEqual(place.values, [{ n: 1 }, 'two']);
    assert.deepEqual([first.offset, second.offset], [1, 2]);
    assert.equal(first.epoch, second.epoch);
    assert.deepEqual(place.received[0].tags, { kind: 'news' });
    assert.equal(place.received[0].publisher, undefined, 'the backend is no client');
  });

  test('data as base64 arrives as bytes', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    const b64data = Buffer.from('{"from":"bytes"}').toString('base64');
    await ask('publish', { channel: room, b64data });
    await place.until(() => place.values.length === 1, 'the publication');
    assert.deepEqual(place.values, [{ from: 'bytes' }]);
  });

  test('JSON over several lines reaches a client', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    const data = { text: 'a line\nand another', list: [1, 2, { three: null }] };
    const { status } = await call('publish', null, { text: JSON.stringify({ channel: room, data }, null, 2) });
    assert.equal(status, 200);
    const crlf = JSON.stringify({ channel: room, data }, null, '\t').replaceAll('\n', '\r\n');
    assert.equal((await call('publish', null, { text: crlf })).status, 200);
    await ask('publish', { channel: room, data: 'end' });
    await place.sees('end');
    assert.deepEqual(place.values, [data, data, 'end']);
  });

  test('skip_history delivers and does not remember', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    await ask('publish', { channel: room, data: 'kept' });
    await ask('publish', { channel: room, data: 'passing', skip_history: true });
    await place.sees('passing');
    const { publications } = await ask('history', { channel: room, limit: 10 });
    assert.deepEqual(publications.map(({ data }) => data), ['kept']);
  });

  test('a broadcast reaches each room, and answers for each', async () => {
    const ann = await world.enter('ann');
    const rooms = Array.from({ length: 10 }, () => channel('chat'));
    const places = await Promise.all(rooms.map((room) => ann.join(room)));
    const { responses } = await ask('broadcast', { channels: [...rooms, 'nowhere:x'], data: 'to all' });
    await Promise.all(places.map((place) => place.sees('to all')));
    for (const response of responses.slice(0, 10)) assert.equal(response.result.offset, 1);
    assert.equal(responses[10].error.code, 102);
  });

  test('presence and its counts', async () => {
    const ann = await world.enter('ann', { token: token({ sub: 'ann', info: { name: 'Ann' } }) });
    const bob = await world.enter('bob');
    const room = channel('chat');
    await ann.join(room);
    await bob.join(room);
    const { presence } = await ask('presence', { channel: room });
    assert.deepEqual(presence[ann.id], { user: 'ann', client: ann.id, conn_info: { name: 'Ann' } });
    assert.deepEqual(presence[bob.id], { user: 'bob', client: bob.id });
    assert.deepEqual(await ask('presence_stats', { channel: room }), { num_clients: 2, num_users: 2 });
    assert.deepEqual((await ask('presence', { channel: channel('chat') })).presence, {});
  });

  test('history in pages', async () => {
    const room = channel('chat');
    for (let n = 1; n <= 5; n++) await ask('publish', { channel: room, data: n });
    const read = async (request) => (await ask('history', { channel: room, ...request })).publications.map((p) => p.data);
    const { epoch, offset, publications } = await ask('history', { channel: room });
    assert.deepEqual([offset, publications], [5, []], 'limit 0 asks for the position');
    assert.deepEqual(await read({ limit: 2 }), [1, 2]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 2, epoch } }), [3, 4]);
    assert.deepEqual(await read({ limit: 2, reverse: true }), [5, 4]);
    assert.deepEqual(await read({ limit: -1 }), [1, 2, 3, 4, 5]);
    const { body } = await call('history', { channel: room, limit: 1, since: { offset: 1, epoch: 'elsewhen' } });
    assert.equal(body.error.code, 112);
  });

  test('a user is disconnected everywhere, and told why [disconnected by the hub]', async () => {
    const [phone, tab, spared] = await Promise.all([1, 2, 3].map(() => world.enter('dora')));
    const other = await world.enter('emil');
    const gone = [phone, tab].map((person) => next(person.client, 'disconnected'));
    const disconnect = { code: 4900, reason: 'logged out' };
    await ask('disconnect', { user: 'dora', disconnect, whitelist: [spared.id] });
    for (const { code, reason } of await Promise.all(gone)) assert.deepEqual({ code, reason }, disconnect);
    assert.deepEqual([spared, other].map((person) => person.client.state), ['connected', 'connected']);
    const forced = next(spared.client, 'disconnected');
    await ask('disconnect', { user: 'dora', client: spared.id });
    assert.equal((await forced).code, 3503);
  });

  test('a code below 4500 brings clients back [disconnected by the hub]', async () => {
    const ann = await world.enter('frieda');
    const back = next(ann.client, 'connected');
    await ask('disconnect', { user: 'frieda', disconnect: { code: 4000, reason: 'new rights' } });
    assert.match((await back).client, /-/);
  });

  test('an unsubscribed user hears nothing after the answer [unsubscribed by the hub]', async () => {
    const [gina, hans] = [await world.enter('gina'), await world.enter('hans')];
    const [room, other] = [channel('chat'), channel('chat')];
    const [place, stays, witness] = await Promise.all([gina.join(room), gina.join(other), hans.join(room)]);
    await ask('publish', { channel: room, data: 'before' });
    const ended = next(place.sub, 'unsubscribed');
    await ask('unsubscribe', { user: 'gina', channel: room });
    await ask('publish', { channel: room, data: 'after' });
    await witness.sees('after');
    assert.equal((await ended).code, 2000);
    assert.deepEqual(place.values, ['before']);
    const all = next(stays.sub, 'unsubscribed');
    await ask('unsubscribe', { user: 'gina' });
    assert.equal((await all).code, 2000);
    assert.equal(gina.client.state, 'connected');
  });

  test('a refresh changes who a client is, and an expired one is closed [connection expired by the hub]', async () => {
    const ivan = await world.enter('ivan');
    const room = channel('chat');
    const place = await ivan.join(room);
    await ask('refresh', { user: 'ivan', info: { role: 'admin' }, expire_at: inSeconds(3600) });
    const publication = next(place.sub, 'publication');
    await place.publish('mine');
    const { info } = await publication;
    assert.deepEqual(ivan.unpack(info.connInfo), { role: 'admin' });
    const reconnecting = next(ivan.client, 'connecting');
    await ask('refresh', { user: 'ivan', expired: true });
    assert.equal((await reconnecting).code, 3005);
  });

  test('a batch publishes in order and answers for each command', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    const publications = Array.from({ length: 50 }, (_, n) => ({ publish: { channel: room, data: n } }));
    for (const parallel of [false, true]) {
      const commands = [...publications, { publish: { channel: 'nowhere:x', data: 1 } }, { presence_stats: { channel: room } }];
      const { status, body } = await call('batch', { commands, parallel });
      assert.equal(status, 200);
      assert.equal(body.replies.length, 52);
      const first = body.replies[0].publish.offset;
      assert.deepEqual(body.replies.slice(0, 50).map((reply) => reply.publish.offset), publications.map((_, n) => first + n));
      assert.equal(body.replies[50].error.code, 102);
      assert.deepEqual(body.replies[51].presence_stats, { num_clients: 1, num_users: 1 });
    }
    await place.until(() => place.values.length === 100, 'all publications');
    assert.deepEqual(place.values.slice(0, 50), publications.map((_, n) => n));
    place.assertNoGap();
  });

  test('the route of old answers line by line', async () => {
    const room = channel('chat');
    const lines = [
      { method: 'publish', params: { channel: room, data: 1 } },
      { method: 'history', params: { channel: room, limit: 1 } },
      { method: 'dance', params: {} },
    ];
    const answer = await fetch(world.hub.url('/api'), {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
      body: lines.map((line) => JSON.stringify(line)).join('\n'),
    });
    assert.equal(answer.status, 200);
    const replies = (await answer.text()).split('\n').map((line) => JSON.parse(line));
    assert.equal(replies[0].result.offset, 1);
    assert.equal(replies[1].result.publications[0].data, 1);
    assert.equal(replies[2].error.code, 104);
  });

  test('errors by status where that is asked for', async () => {
    const headers = { 'X-API-Key': apiKey, 'X-Centrifugo-Error-Mode': 'transport' };
    const unknown = await call('publish', { channel: 'nowhere:x', data: 1 }, { headers });
    assert.deepEqual(unknown, { status: 404, body: { code: 102, message: 'unknown channel' } });
    const bad = await call('disconnect', {}, { headers });
    assert.equal(bad.status, 400);
    assert.match(bad.body.detail, /^user: /);
    const good = await call('info', {}, { headers });
    assert.equal(good.status, 200);
    assert.ok(good.body.result.nodes);
  });

  test('info counts the node', async () => {
    const ann = await world.enter('karl');
    await ann.join(channel('chat'));
    await Promise.all([1, 2, 3, 4].map(() => world.enter('karl')));
    await world.enter('lena');
    const { nodes } = await ask('info');
    assert.equal(nodes.length, 1);
    assert.match(nodes[0].uid, /\S/);
    assert.ok(nodes[0].num_clients >= 1);
    assert.ok(nodes[0].num_channels >= 1);
    assert.ok(nodes[0].num_users >= 2 && nodes[0].num_users <= nodes[0].num_clients - 4, JSON.stringify(nodes[0]));
  });

  test('what is wrong is said', async () => {
    const room = channel('chat');
    const request = { channel: room, data: 1 };
    const statusOf = async (...args) => (await call(...args)).status;
    assert.equal(await statusOf('publish', request, { headers: {} }), 401);
    assert.equal(await statusOf('publish', request, { headers: { 'X-API-Key': 'wrong' } }), 401);
    assert.equal(await statusOf('publish', request, { headers: { 'X-API-Key': `${apiKey}!` } }), 401);
    assert.equal(await statusOf('publish', request, { headers: { Authorization: `apikey ${apiKey}` } }), 200);
    assert.equal(await statusOf('publish', null, { text: '{"channel":' }), 400);
    assert.equal(await statusOf('dance', request), 404);
    const get = await fetch(world.hub.url('/api/publish'), { headers: { 'X-API-Key': apiKey } });
    assert.equal(get.status, 405);

    const errorOf = async (...args) => (await call(...args)).body.error?.code;
    assert.equal(await errorOf('publish', { channel: 'nowhere:x', data: 1 }), 102);
    assert.equal(await errorOf('publish', { data: 1 }), 107);
    assert.equal(await errorOf('publish', { channel: room }), 107);
    assert.equal(await errorOf('history', { channel: channel('plain'), limit: 1 }), 108);
    assert.equal(await errorOf('presence', { channel: channel('plain') }), 108);
    assert.equal(await errorOf('presence_stats', { channel: channel('plain') }), 108);
  });
});

const limited = (client) => ({ config: configure({ client: { allow_anonymous_connect_without_token: true, ...client } }) });

everywhere('user_connection_limit', (world) => {
  test('no more connections than allowed, on whichever shards', async () => {
    const user = `limited-${world.encoding}`;
    const people = await Promise.all([1, 2, 3].map(() => world.enter(user)));
    const late = new Person(world.hub.socketUrl, world.encoding, { token: token({ sub: user }) });
    assert.equal((await next(late.client, 'disconnected')).code, 3504);
    const gone = people.pop();
    gone.leave();
    // Its place is free when the hub has seen it go.
    const seen = async () => {
      while ((await world.hub.metric('fanfare_connections')) !== 2);
    };
    await within(seen(), 'the hub to see it go');
    await world.enter(user);
  });
}, limited({ user_connection_limit: 3 }));

everywhere('single_connection', (world) => {
  test('a new connection takes the place of the older one', async () => {
    let last = await world.enter('only');
    for (let n = 0; n < 5; n++) {
      const gone = next(last.client, 'disconnected');
      const newer = await world.enter('only');
      assert.equal((await gone).code, 3504);
      assert.equal(newer.client.state, 'connected');
      last = newer;
    }
  });
}, limited({ subscribe_to_user_personal_channel: { enabled: true, single_connection: true } }));

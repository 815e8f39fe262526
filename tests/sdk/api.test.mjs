// A backend that publishes and asks over HTTP.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, token } from './clients.mjs';
import { apiKey } from './harness.mjs';

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

  test('info counts the node', async () => {
    const ann = await world.enter('ann');
    await ann.join(channel('chat'));
    const { nodes } = await ask('info');
    assert.equal(nodes.length, 1);
    assert.match(nodes[0].uid, /\S/);
    assert.ok(nodes[0].num_clients >= 1);
    assert.ok(nodes[0].num_channels >= 1);
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

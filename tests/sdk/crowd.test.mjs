// The limits of a node on its sockets, over all shards: client.connection_limit and connection_rate_limit.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Hub, configure } from './harness.mjs';
import { RawSocket, head } from './raw.mjs';

const LIMIT = 20;

/** Opens `count` sockets at once; gives those that were let in, and the answers of the others. */
async function crowd(hub, count) {
  const opened = await Promise.all(
    Array.from({ length: count }, async () => {
      const raw = await RawSocket.open(hub.port);
      raw.send(head());
      return { raw, ...(await raw.answer()) };
    }),
  );
  const inside = opened.filter(({ status }) => status === 101).map(({ raw }) => raw);
  const outside = opened.filter(({ status }) => status !== 101);
  for (const { raw, status, fields } of outside) {
    raw.destroy();
    assert.deepEqual([status, fields['retry-after']], [503, '1']);
  }
  return { inside, outside };
}

describe('a crowd at the door of four shards', { timeout: 60_000 }, () => {
  const hubs = {};
  before(async () => {
    const start = (client) => Hub.start({ config: configure({ client }), shards: 4 });
    hubs.limit = await start({ connection_limit: LIMIT });
    hubs.rate = await start({ connection_rate_limit: LIMIT });
  });
  after(() => Promise.all(Object.values(hubs).map((hub) => hub.stop())));

  const refused = (hub, reason) => hub.metric('fanfare_refusals_total', `reason="${reason}"`);
  const gone = async (hub, count) => {
    while ((await hub.metric('fanfare_connections')) > count) await new Promise((resolve) => setTimeout(resolve, 10));
  };

  test('a node has exactly as many sockets as its limit', async () => {
    const { inside, outside } = await crowd(hubs.limit, 3 * LIMIT);
    assert.equal(inside.length, LIMIT);
    assert.equal(await refused(hubs.limit, 'connection_limit'), outside.length);
    // However a socket ends, its place is free again.
    inside.slice(0, 5).forEach((raw) => raw.socket.resetAndDestroy());
    inside.slice(5, 10).forEach((raw) => raw.socket.end());
    await gone(hubs.limit, LIMIT - 10);
    const more = await crowd(hubs.limit, LIMIT);
    assert.equal(more.inside.length, 10);
    for (const raw of [...inside, ...more.inside]) raw.destroy();
    await gone(hubs.limit, 0);
    // Heads that open no socket take no place; the operator's pages are served all the time.
    const full = await crowd(hubs.limit, LIMIT);
    assert.equal(full.inside.length, LIMIT);
    await hubs.limit.ask('info');
    for (const raw of full.inside) raw.destroy();
  });

  test('a node opens exactly as many sockets at once as its rate', async () => {
    const begun = performance.now();
    const { inside, outside } = await crowd(hubs.rate, 3 * LIMIT);
    const seconds = (performance.now() - begun) / 1_000;
    assert.ok(inside.length >= LIMIT && inside.length <= LIMIT + Math.ceil(LIMIT * seconds), `${inside.length} in ${seconds} s`);
    assert.equal(await refused(hubs.rate, 'connection_rate_limit'), outside.length);
    // As the answer says, a second later there is room.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const more = await crowd(hubs.rate, LIMIT);
    assert.ok(more.inside.length >= LIMIT - 1, `${more.inside.length}`);
    for (const raw of [...inside, ...more.inside]) raw.destroy();
  });
});

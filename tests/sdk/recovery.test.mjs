// Cuts, and what comes back after them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { channel, everywhere, next } from './clients.mjs';
import { Cable, Hub, configure } from './harness.mjs';

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

everywhere('recovery', (world) => {
  let cable;
  before(async () => {
    cable = await Cable.to(world.hub.port);
  });
  after(() => cable?.remove());

  /** Ann behind the cable and Bob beside it, in one room, with 1, 2, 3 received. */
  async function meet(namespace, options) {
    const ann = await world.enter('ann', { url: cable.socketUrl });
    const bob = await world.enter('bob');
    const room = channel(namespace);
    const place = await ann.join(room, options);
    for (const n of numbers(1, 3)) await bob.publish(room, n);
    await place.sees(3);
    return { ann, bob, room, place };
  }

  /** Cuts the cable, lets `meanwhile` happen, mends it; resolves with what the hub then said. */
  async function cut(person, place, meanwhile) {
    const gone = next(person.client, 'connecting');
    cable.cut();
    await gone;
    await meanwhile();
    const back = next(place.sub, 'subscribed');
    cable.mend();
    return back;
  }

  test('what was published during a cut arrives once and in order [recovery after a cut]', async () => {
    const { ann, bob, room, place } = await meet('chat', { recoverable: true });
    const before = ann.id;
    const back = await cut(ann, place, async () => {
      for (const n of numbers(4, 40)) await bob.publish(room, n);
    });
    assert.deepEqual([back.wasRecovering, back.recovered], [true, true]);
    assert.notEqual(ann.id, before, 'a new connection has a new id');
    await bob.publish(room, 'end');
    await place.sees('end');
    assert.deepEqual(place.values, [...numbers(1, 40), 'end']);
    place.assertNoGap();
  });

  test('publications that race the recovery arrive once and in order', async () => {
    const { ann, bob, room, place } = await meet('chat', { recoverable: true });
    for (const round of numbers(1, 5)) {
      let racing;
      await cut(ann, place, async () => {
        await bob.publish(room, `${round} cut`);
        // Not awaited: some of these meet the recovery half-way.
        racing = Promise.all(numbers(1, 100).map((n) => bob.publish(room, `${round}.${n}`)));
      });
      await racing;
      await bob.publish(room, `${round} end`);
      await place.sees(`${round} end`);
    }
    assert.equal(place.received.length, 3 + 5 * 102);
    place.assertNoGap();
  });

  test('a cut without publications recovers nothing, and says recovered', async () => {
    const { ann, bob, room, place } = await meet('chat', { recoverable: true });
    const back = await cut(ann, place, async () => {});
    assert.deepEqual([back.wasRecovering, back.recovered], [true, true]);
    assert.equal(back.hasRecoveredPublications, false);
    await bob.publish(room, 4);
    await place.sees(4);
    assert.deepEqual(place.values, numbers(1, 4));
  });

  test('a history that was outgrown is said to be lost [recovery that is not possible]', async () => {
    const { ann, bob, room, place } = await meet('short', { recoverable: true });
    const back = await cut(ann, place, async () => {
      for (const n of numbers(4, 20)) await bob.publish(room, n);
    });
    assert.deepEqual([back.wasRecovering, back.recovered], [true, false]);
    assert.equal(back.streamPosition.offset, 20);
    await bob.publish(room, 21);
    await place.sees(21);
    assert.deepEqual(place.values, [1, 2, 3, 21]);
  });

  test('a room without recovery goes on from now [a room without recovery goes on]', async () => {
    const { ann, bob, room, place } = await meet('plain', {});
    const back = await cut(ann, place, () => bob.publish(room, 4));
    assert.deepEqual([back.wasRecovering, back.recovered], [false, false]);
    await bob.publish(room, 5);
    await place.sees(5);
    assert.deepEqual(place.values, [1, 2, 3, 5]);
  });

  test('a position taken elsewhere recovers from there [subscribe from a position of the application]', async () => {
    const { bob, room, place } = await meet('chat', { recoverable: true });
    const { epoch } = await place.sub.history({ limit: 0 });
    for (const n of numbers(4, 6)) await bob.publish(room, n);
    const cay = await world.enter('cay');
    const late = await cay.join(room, { since: { offset: 2, epoch }, recoverable: true });
    await late.sees(6);
    assert.deepEqual(late.values, numbers(3, 6));
  });
});

describe('a hub that is replaced', () => {
  for (const shards of [1, 4]) {
    test(`its clients are told 3001, and come to the next one; shards: ${shards}`, async (t) => {
      const { Person, token } = await import('./clients.mjs');
      const config = configure({ shutdown: { timeout: '2s' } });
      const first = await Hub.start({ config, shards });
      const people = Array.from({ length: 20 }, (_, n) => {
        return new Person(first.socketUrl, n % 2 ? 'json' : 'protobuf', { token: token({ sub: `person ${n}` }) });
      });
      t.after(() => people.forEach((person) => person.leave()));
      await Promise.all(people.map((person) => person.connected));
      const room = channel('chat');
      const places = await Promise.all(people.map((person) => person.join(room, { recoverable: true })));
      await places[0].publish('before');
      await Promise.all(places.map((place) => place.sees('before')));

      const told = people.map((person) => next(person.client, 'connecting'));
      await first.stop();
      for (const { code } of await Promise.all(told)) assert.equal(code, 3001);

      const back = places.map((place) => next(place.sub, 'subscribed'));
      const second = await Hub.start({ config, shards, port: first.port });
      t.after(() => second.stop());
      for (const { wasRecovering, recovered } of await Promise.all(back)) {
        // The memory engine died with its process: another epoch, and the truth about it.
        assert.deepEqual([wasRecovering, recovered], [true, false]);
      }
      await places[0].publish('after');
      await Promise.all(places.map((place) => place.sees('after')));
      for (const place of places) assert.deepEqual(place.values, ['before', 'after']);
    });
  }
});

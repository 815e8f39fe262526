// Talking: publish, subscribe, order, and what is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, next, refusal } from './clients.mjs';

everywhere('chat', (world) => {
  test('two people chat [publish and receive]', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('chat');
    const [hers, his] = [await ann.join(room), await bob.join(room)];
    await hers.publish('hello Bob');
    await his.sees('hello Bob');
    await his.publish('hello Ann');
    await hers.sees('hello Ann');
    await Promise.all([hers.sees('hello Bob'), his.sees('hello Ann')]);
    for (const place of [hers, his]) {
      assert.deepEqual(place.values, ['hello Bob', 'hello Ann']);
      assert.deepEqual(place.received.map(({ publisher }) => publisher), [ann.id, bob.id]);
      place.assertNoGap();
    }
  });

  test('any payload comes out as it went in [publish and receive]', async () => {
    const ann = await world.enter('ann');
    const place = await ann.join(channel('chat'));
    const payloads = [
      null, true, 0, -1.5, '', 'ünï ☃ 😀 \u2028', '<&>"\\\n\t', [], {}, { a: [{ b: null }] }, 'x'.repeat(30_000),
    ];
    for (const payload of payloads) await place.publish(payload);
    await place.sees(payloads.at(-1));
    assert.deepEqual(place.values, payloads);
  });

  test('200 subscribers see one order from four publishers', async () => {
    const room = channel('chat');
    const listeners = await Promise.all(Array.from({ length: 200 }, (_, n) => world.enter(`listener ${n}`)));
    const places = await Promise.all(listeners.map((listener) => listener.join(room)));
    const publishers = await Promise.all([1, 2, 3, 4].map((n) => world.enter(`publisher ${n}`)));
    const each = 25;
    const send = async (publisher, n) => {
      const sent = Array.from({ length: each }, (_, m) => publisher.publish(room, `${n}.${m}`));
      await Promise.all(sent);
    };
    await Promise.all(publishers.map(send));
    await publishers[0].publish(room, 'end');
    await Promise.all(places.map((place) => place.sees('end')));

    const order = places[0].values;
    assert.equal(order.length, publishers.length * each + 1);
    for (const place of places) {
      assert.deepEqual(place.values, order);
      place.assertNoGap();
    }
    for (const n of publishers.keys()) {
      const own = order.filter((value) => value.startsWith(`${n}.`));
      assert.deepEqual(own, Array.from({ length: each }, (_, m) => `${n}.${m}`), 'a publisher keeps its order');
    }
  });

  test('one connection in many rooms hears each', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const rooms = Array.from({ length: 50 }, () => channel('plain'));
    const places = await Promise.all(rooms.map((room) => ann.join(room)));
    await Promise.all(rooms.map((room) => bob.publish(room, room)));
    await Promise.all(places.map((place, n) => place.sees(rooms[n])));
    for (const [n, place] of places.entries()) assert.deepEqual(place.values, [rooms[n]]);
  });

  test('a subscription asked for before the connection is there goes with it [subscribe before the connection is there]', async () => {
    const room = channel('chat');
    const ann = await world.enter('ann');
    ann.client.disconnect();
    const place = ann.place(room);
    place.sub.subscribe();
    ann.client.connect();
    await place.sub.ready();
    await place.publish('optimistic');
    await place.sees('optimistic');
  });

  test('who has left a room hears nothing of it [subscribe and unsubscribe]', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('plain');
    const [hers, his] = [await ann.join(room), await bob.join(room)];
    await his.publish('before');
    await hers.sees('before');
    hers.sub.unsubscribe();
    await his.publish('between');
    await his.sees('between');
    hers.sub.subscribe();
    await hers.sub.ready();
    await his.publish('after');
    await hers.sees('after');
    assert.deepEqual(hers.values, ['before', 'after']);
  });

  test('a second subscription to one channel is refused by the hub', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    await ann.join(room);
    const again = { subscribe: { channel: room } };
    assert.equal(await refusal(callRaw(ann, again)), 105);
  });

  test('what is not allowed is refused, and the connection goes on [refused subscriptions and calls] [rpc without a backend]', async () => {
    const ann = await world.enter('ann');
    const locked = ann.place(channel('locked'));
    locked.sub.subscribe();
    assert.equal((await next(locked.sub, 'unsubscribed')).code, 103);

    const unknown = ann.place('nowhere:room');
    unknown.sub.subscribe();
    assert.equal((await next(unknown.sub, 'unsubscribed')).code, 102);

    const listening = await ann.join(channel('listen'));
    assert.equal(await refusal(listening.publish('x')), 103);
    assert.equal(await refusal(listening.sub.presence()), 103);
    assert.equal(await refusal(listening.sub.presenceStats()), 103);
    assert.equal(await refusal(listening.sub.history({ limit: 1 })), 103);

    const plain = await ann.join(channel('plain'));
    assert.equal(await refusal(plain.sub.presence()), 108);
    assert.equal(await refusal(plain.sub.history({ limit: 1 })), 108);
    assert.equal(await refusal(ann.client.rpc('sum', ann.pack([1, 2]))), 108);

    await plain.publish('still here');
    await plain.sees('still here');
  });

  test('a private channel without a token is refused', async () => {
    const ann = await world.enter('ann');
    const place = ann.place(`$${channel('chat')}`);
    place.sub.subscribe();
    assert.equal((await next(place.sub, 'unsubscribed')).code, 103);
  });
});

/** Sends a command that the SDK itself would never send. */
function callRaw(person, command) {
  return new Promise((resolve, reject) => {
    person.client._call(command, false).then(({ reply }) => resolve(reply), ({ error }) => reject(error));
  });
}

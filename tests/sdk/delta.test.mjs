// Deltas: the official SDK puts publications together again that came as the difference from the one before.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, next } from './clients.mjs';
import { Cable, configure } from './harness.mjs';

const base = configure();
const config = {
  ...base,
  channel: {
    namespaces: [
      ...base.channel.namespaces.map((namespace) =>
        namespace.name === 'locked' ? namespace : { ...namespace, allowed_delta_types: ['fossil'], delta_publish: true },
      ),
      // The API says of which publications.
      { name: 'asked', allow_subscribe_for_client: true, allowed_delta_types: ['fossil'] },
    ],
  },
};

/** Texts that differ in the middle of characters, of surrogate pairs, and elsewhere. */
const alphabets = ['aé€🎈', 'bè₂🎉', 'ñß中👍', 'ÿĀ丮👎'];
const story = (n) => ({
  n,
  text: `Съешь же ещё ${alphabets[n % 4].repeat(3)} этих мягких французских булок, да выпей чаю ${'🎈🎉👍'.slice((n % 3) * 2)}`,
  prices: Array.from({ length: 20 }, (_, at) => ({ symbol: `S${at}`, bid: 1000 * at + (at === n % 20 ? n : 0) })),
});

everywhere('deltas', (world) => {
  const count = (name, labels) => world.hub.metric(name, labels);
  const ask = (room, value, fields = {}) =>
    world.hub.ask('publish', { channel: room, ...fields, ...(world.encoding === 'json'
      ? { data: value }
      : { b64data: Buffer.from(JSON.stringify(value)).toString('base64') }) });

  test('the SDK counts what deltas saved [delta compression]', async () => {
    const place = await (await world.enter('ann')).join(channel('chat'), { delta: 'fossil' });
    for (let n = 0; n < 5; n++) await place.publish(story(n));
    await place.until(() => place.received.length === 5, 'all stories');
    const { numPublications, numFullPayloads, numDeltaPayloads, compressionRatio } = place.sub.deltaStats();
    assert.deepEqual([numPublications, numFullPayloads, numDeltaPayloads], [5, 1, 4]);
    assert.ok(compressionRatio > 0.5, `${compressionRatio}`);
  });

  for (const [name, what] of [['chat', 'with history'], ['plain', 'without history']]) {
    test(`whoever reads them sees what was published, ${what} [delta compression]`, async () => {
      const room = channel(name);
      const writer = await (await world.enter('writer')).join(room);
      const readers = [];
      for (const reader of ['ann', 'bob']) {
        readers.push(await (await world.enter(reader)).join(room, { delta: 'fossil' }));
      }
      const counts = async () => [
        await count('fanfare_patches_total'),
        await count('fanfare_patch_bytes_total', 'kind="before"'),
        await count('fanfare_patch_bytes_total', 'kind="after"'),
      ];
      const before = await counts();
      const stories = Array.from({ length: 40 }, (_, n) => story(n));
      for (const value of stories) await writer.publish(value);
      for (const place of [writer, ...readers]) {
        await place.until(() => place.received.length === stories.length, 'all stories');
        assert.deepEqual(place.values, stories);
        if (name === 'chat') place.assertNoGap();
      }
      const [patches, whole, said] = (await counts()).map((value, at) => value - before[at]);
      assert.equal(patches, stories.length - 1, 'once for both readers');
      assert.ok(said * 2 < whole, `${whole} bytes became ${said}`);
      for (const { sub } of readers) {
        assert.deepEqual([sub._deltaNumPubs, sub._deltaNumDelta, sub._deltaNumFull], [40, 39, 1]);
      }
      assert.equal(writer.sub._deltaNumPubs, 0, 'who does not ask is given none');
    });
  }

  test('a recovered chain goes on live', async () => {
    const cable = await Cable.to(world.hub.port);
    try {
      const room = channel('chat');
      const writer = await (await world.enter('writer')).join(room);
      const person = await world.enter('reader', { url: cable.socketUrl });
      const reader = await person.join(room, { delta: 'fossil', recoverable: true });
      for (const n of [0, 1, 2]) await writer.publish(story(n));
      await reader.until(() => reader.received.length === 3, 'the first three');
      const gone = next(person.client, 'connecting');
      cable.cut();
      await gone;
      for (const n of [3, 4, 5, 6]) await writer.publish(story(n));
      const back = next(reader.sub, 'subscribed');
      cable.mend();
      const { recovered, wasRecovering } = await back;
      assert.deepEqual([wasRecovering, recovered], [true, true]);
      await writer.publish(story(7));
      await reader.until(() => reader.received.length === 8, 'all of them');
      assert.deepEqual(reader.values, [0, 1, 2, 3, 4, 5, 6, 7].map(story));
      reader.assertNoGap();
      assert.equal(reader.sub._deltaNumFull, 2, 'the first live one, and the first recovered one');
    } finally {
      cable.remove();
    }
  });

  test('the API says what may be a difference; what is not asked for is a base nevertheless', async () => {
    const room = channel('asked');
    const place = await (await world.enter('reader')).join(room, { delta: 'fossil' });
    for (const [n, delta] of [true, false, true, false, true].entries()) await ask(room, story(n), { delta });
    await place.until(() => place.received.length === 5, 'all of them');
    assert.deepEqual(place.values, [0, 1, 2, 3, 4].map(story));
    assert.equal(place.sub._deltaNumDelta, 2);
  });
}, { config });

// What was said: pages of history, from both ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, refusal } from './clients.mjs';

everywhere('history', (world) => {
  /** A room in which 1 to `count` were published. */
  async function room(count, namespace = 'chat') {
    const ann = await world.enter('ann');
    const place = await ann.join(channel(namespace));
    for (let n = 1; n <= count; n++) await place.publish(n);
    const read = async (options) => {
      const page = await place.sub.history(options);
      return { ...page, values: page.publications.map(({ data }) => ann.unpack(data)) };
    };
    return { ann, place, read };
  }

  test('pages follow one another [history]', async () => {
    const { read } = await room(10);
    const first = await read({ limit: 4 });
    assert.deepEqual(first.values, [1, 2, 3, 4]);
    assert.equal(first.offset, 10);
    assert.match(first.epoch, /^\S+$/);
    assert.deepEqual(first.publications.map(({ offset }) => offset), [1, 2, 3, 4]);
    const { epoch } = first;
    assert.deepEqual((await read({ limit: 4, since: { offset: 4, epoch } })).values, [5, 6, 7, 8]);
    assert.deepEqual((await read({ limit: 4, since: { offset: 8, epoch } })).values, [9, 10]);
    assert.deepEqual((await read({ limit: 4, since: { offset: 10, epoch } })).values, []);
  });

  test('pages go backwards [history backwards]', async () => {
    const { read } = await room(10);
    const newest = await read({ limit: 3, reverse: true });
    assert.deepEqual(newest.values, [10, 9, 8]);
    const { epoch } = newest;
    assert.deepEqual((await read({ limit: 3, reverse: true, since: { offset: 8, epoch } })).values, [7, 6, 5]);
    assert.deepEqual((await read({ limit: 3, reverse: true, since: { offset: 1, epoch } })).values, []);
    assert.equal(await refusal(read({ limit: 3, reverse: true, since: { offset: 0, epoch } })), 107);
  });

  test('limit 0 asks for the position only, a limit below 0 for all', async () => {
    const { read } = await room(7);
    const top = await read({ limit: 0 });
    assert.deepEqual([top.values, top.offset], [[], 7]);
    assert.deepEqual((await read({ limit: -1 })).values, [1, 2, 3, 4, 5, 6, 7]);
  });

  test('only what is kept comes back, and an offset that fell out is no error', async () => {
    const { read } = await room(12, 'short');
    const { values, epoch, offset } = await read({ limit: 100 });
    assert.deepEqual([values, offset], [[8, 9, 10, 11, 12], 12]);
    assert.deepEqual((await read({ limit: 2, since: { offset: 3, epoch } })).values, [8, 9]);
  });

  test('a position of another epoch is refused [history refused]', async () => {
    const { read } = await room(3);
    assert.equal(await refusal(read({ limit: 1, since: { offset: 1, epoch: 'elsewhen' } })), 112);
  });

  test('a publication in the history names its publisher', async () => {
    const { ann, read } = await room(1);
    const { publications } = await read({ limit: 1 });
    assert.deepEqual([publications[0].info.client, publications[0].info.user], [ann.id, 'ann']);
  });

  test('an empty room has a position', async () => {
    const { read } = await room(0);
    const { values, offset, epoch } = await read({ limit: 5 });
    assert.deepEqual([values, offset], [[], 0]);
    assert.match(epoch, /^\S+$/);
  });
});

// Rules for the names of channels, for what is published in them, and for what is published again.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, next, refusal } from './clients.mjs';
import { configure } from './harness.mjs';

const open = { allow_subscribe_for_client: true, allow_publish_for_client: true };
const history = { history_size: 100, history_ttl: '300s', allow_recovery: true, allow_history_for_client: true };

const namespaces = [
  { name: 'dialog', ...open, allow_user_limited_channels: true },
  { name: 'numbers', ...open, channel_regex: '^\\d+$' },
  { name: 'objects', ...open, publication_data_format: 'json_object' },
  { name: 'bytes', ...open, publication_data_format: 'binary' },
  { name: 'kept', ...open, ...history },
  { name: 'plain', ...open },
];

everywhere(
  'channel options',
  (world) => {
    const ask = (...args) => world.hub.ask(...args);
    const refused = async (...args) => (await world.hub.call(...args)).body.error?.code;

    /** A name with these users in it. */
    const among = (...users) => `${channel('dialog')}#${users.join(',')}`;

    async function whyNot(person, name) {
      const { sub } = person.place(name);
      const unsubscribed = next(sub, 'unsubscribed');
      sub.subscribe();
      return (await unsubscribed).code;
    }

    test('a user-limited channel is for its users only', async () => {
      const [ann, bob, carl] = await Promise.all(['ann', 'bob', 'carl'].map((user) => world.enter(user)));
      const room = among('ann', 'bob');
      const places = [await ann.join(room), await bob.join(room)];
      assert.equal(await whyNot(carl, room), 103);
      await places[0].publish('for two');
      await Promise.all(places.map((place) => place.sees('for two')));
      assert.equal(await whyNot(bob, `$${among('bob')}`), 103, 'a private channel needs a token');
    });

    test('names follow the pattern of their namespace', async () => {
      const ann = await world.enter('ann');
      await ann.join(`numbers:${Date.now()}`);
      assert.equal(await whyNot(ann, 'numbers:one'), 107);
      assert.equal(await refusal(ann.publish('numbers:one', 1)), 107);
    });

    test('data has the format of its namespace', async () => {
      const ann = await world.enter('ann');
      const room = channel('objects');
      const place = await ann.join(room);
      assert.equal(await refusal(place.publish([1])), 107);
      assert.equal(await refused('publish', { channel: room, data: [1] }), 107);
      assert.equal(await refused('publish', { channel: room, b64data: Buffer.from('{').toString('base64') }), 107);
      await place.publish({ n: 1 });
      await ask('publish', { channel: room, data: { n: 2 } });
      await ask('publish', { channel: room, b64data: Buffer.from('{"n":3}').toString('base64') });
      await place.until(() => place.values.length === 3, 'three objects');
      assert.deepEqual(place.values, [{ n: 1 }, { n: 2 }, { n: 3 }]);
      assert.equal(await refused('publish', { channel: channel('kept'), b64data: '' }), 107);
      await ask('publish', { channel: channel('bytes'), b64data: '' });
    });

    for (const namespace of ['kept', 'plain']) {
      test(`a repeated publish is published once: ${namespace}`, async () => {
        const ann = await world.enter('ann');
        const rooms = [channel(namespace), channel(namespace)];
        const places = [await ann.join(rooms[0]), await ann.join(rooms[1])];
        const once = { data: 'once', idempotency_key: 'a key' };
        const first = await ask('publish', { channel: rooms[0], ...once });
        await ask('publish', { channel: rooms[0], data: 'between' });
        assert.deepEqual(await ask('publish', { channel: rooms[0], ...once }), first);
        const { responses } = await ask('broadcast', { channels: rooms, ...once });
        assert.deepEqual(responses[0].result, first);
        await ask('broadcast', { channels: rooms, data: 'end' });
        await Promise.all(places.map((place) => place.sees('end')));
        assert.deepEqual(places[0].values, ['once', 'between', 'end']);
        assert.deepEqual(places[1].values, ['once', 'end'], 'a key is of one channel');
      });
    }

    test('only newer versions are published', async () => {
      const ann = await world.enter('ann');
      const room = channel('kept');
      const place = await ann.join(room);
      const publish = (data, version, version_epoch) => ask('publish', { channel: room, data, version, version_epoch });
      assert.equal((await publish('v5', 5)).offset, 1);
      assert.equal((await publish('v5 again', 5)).offset, 1);
      assert.equal((await publish('v4', 4)).offset, 1);
      assert.equal((await publish('v6', 6)).offset, 2);
      assert.equal((await publish('anew', 1, 'another')).offset, 3);
      await ask('publish', { channel: room, data: 'end' });
      await place.sees('end');
      assert.deepEqual(place.values, ['v5', 'v6', 'anew', 'end']);
    });

    test('a removed history begins anew, and subscribers come back to it', async () => {
      const ann = await world.enter('ann');
      const room = channel('kept');
      const place = await ann.join(room, { recoverable: true });
      const before = await ask('publish', { channel: room, data: 'old' });
      await place.sees('old');
      const again = next(place.sub, 'subscribed');
      await ask('history_remove', { channel: room });
      const { wasRecovering, recovered } = await again;
      assert.deepEqual([wasRecovering, recovered], [true, false]);
      const { publications, epoch } = await ask('history', { channel: room, limit: 10 });
      assert.deepEqual(publications, []);
      assert.notEqual(epoch, before.epoch);
      assert.equal((await ask('publish', { channel: room, data: 'new' })).offset, 1);
      await place.sees('new');
      assert.equal(await refused('history_remove', { channel: channel('plain') }), 108);
    });

    test('channels are listed with their subscribers, a page at a time', async () => {
      const people = [await world.enter('ann'), await world.enter('bob')];
      const room = channel('plain');
      const rooms = ['a', 'b', 'c'].map((name) => `${room}/${name}`);
      for (const name of rooms) await people[0].join(name);
      await people[1].join(rooms[1]);
      const pattern = `${room}/*`;
      const { channels, cursor } = await ask('channels', { pattern });
      const expected = { [rooms[0]]: { num_clients: 1 }, [rooms[1]]: { num_clients: 2 }, [rooms[2]]: { num_clients: 1 } };
      assert.deepEqual(channels, expected);
      assert.equal(cursor, undefined);
      const first = await ask('channels', { pattern, limit: 2 });
      assert.deepEqual(Object.keys(first.channels), rooms.slice(0, 2));
      const second = await ask('channels', { pattern, limit: 2, cursor: first.cursor });
      assert.deepEqual([Object.keys(second.channels), second.cursor], [rooms.slice(2), undefined]);
      assert.equal(await refused('channels', { pattern: '[' }), 107);
    });
  },
  { config: configure({ channel: { namespaces } }) },
);

// Subscriptions that the hub makes: as a token says, as a backend asks, as the configuration has it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { channel, everywhere, next, token } from './clients.mjs';
import { Cable, Hub, configure } from './harness.mjs';

const base = configure();
const feed = {
  name: 'feed',
  allow_presence_for_client: true,
  presence: true,
  join_leave: true,
  force_push_join_leave: true,
  history_size: 50,
  history_ttl: '300s',
  force_recovery: true,
};
// Only the newest counts.
const latest = {
  name: 'latest',
  allow_subscribe_for_client: true,
  allow_publish_for_client: true,
  allow_recovery: true,
  history_size: 1,
  history_ttl: '300s',
  force_recovery_mode: 'cache',
  auto_cache_recover: true,
};
const config = configure({ channel: { namespaces: [...base.channel.namespaces, feed, latest] } });

everywhere(
  'subscriptions of the hub',
  (world) => {
    let cable;
    before(async () => {
      cable = await Cable.to(world.hub.port);
    });
    after(() => cable?.remove());

    /** Everything that a client tells of its server-side subscriptions. */
    const watch = (client) => {
      const seen = [];
      for (const event of ['subscribed', 'subscribing', 'unsubscribed', 'publication', 'join', 'leave']) {
        client.on(event, (context) => seen.push({ event, ...context }));
      }
      const all = (event) => seen.filter((one) => one.event === event);
      const until = (event, count = 1) => {
        if (all(event).length >= count) return all(event)[count - 1];
        return next(client, event).then(() => until(event, count));
      };
      return { all, until };
    };

    /** Somebody whom the hub subscribes as it connects. */
    const enter = async (user, claims, options = {}) => {
      let seen;
      const watching = { watch: (client) => (seen = watch(client)), token: token({ sub: user, ...claims }) };
      const person = await world.enter(user, { ...watching, ...options });
      return { person, seen };
    };

    test('a token subscribes its user [server-side subscriptions of a token]', async () => {
      const [plain, feed] = [channel('chat'), channel('feed')];
      const subs = { [plain]: {}, [feed]: { data: { hello: true }, info: { seat: 7 } } };
      const { person, seen } = await enter('ann', { subs });
      await seen.until('subscribed', 2);
      const of = (name) => seen.all('subscribed').find((context) => context.channel === name);
      assert.deepEqual([of(plain).recoverable, of(feed).recoverable], [false, true]);
      assert.deepEqual(person.unpack(of(feed).data), { hello: true });
      await world.hub.ask('publish', { channel: plain, data: { n: 1 }, tags: { kind: 'news' } });
      const { data, tags, channel: name } = await seen.until('publication');
      assert.deepEqual([name, person.unpack(data), tags], [plain, { n: 1 }, { kind: 'news' }]);
      const { clients } = await person.client.presence(feed);
      assert.deepEqual(person.unpack(clients[person.id].chanInfo), { seat: 7 });
    });

    test('what was missed comes back [server-side subscriptions recover]', async () => {
      const feed = channel('feed');
      const { person, seen } = await enter('ann', { channels: [feed] }, { url: cable.socketUrl });
      await world.hub.ask('publish', { channel: feed, data: 1 });
      await seen.until('publication');
      const lost = next(person.client, 'subscribing');
      cable.cut();
      await lost;
      for (let n = 2; n <= 5; n++) await world.hub.ask('publish', { channel: feed, data: n });
      const count = seen.all('subscribed').length;
      cable.mend();
      const back = await seen.until('subscribed', count + 1);
      assert.deepEqual([back.wasRecovering, back.recovered], [true, true]);
      await seen.until('publication', 5);
      assert.deepEqual(seen.all('publication').map(({ data }) => person.unpack(data)), [1, 2, 3, 4, 5]);
    });

    test('joins and leaves are heard [server-side join and leave]', async () => {
      const feed = channel('feed');
      const { seen } = await enter('ann', { channels: [feed] });
      const bob = await world.enter('bob', { token: token({ sub: 'bob', channels: [feed] }) });
      await seen.until('join', 2);
      assert.ok(seen.all('join').some(({ info }) => info.user === 'bob'));
      bob.leave();
      const left = await seen.until('leave');
      assert.deepEqual([left.channel, left.info.client], [feed, bob.id]);
    });

    test('the backend subscribes and unsubscribes [server-side subscriptions by the API]', async () => {
      const user = randomUUID();
      const ann = await world.enter(user);
      const seen = watch(ann.client);
      const room = channel('chat');
      await world.hub.ask('subscribe', { user, channel: room, data: { hello: true } });
      const subscribed = await seen.until('subscribed');
      assert.deepEqual([subscribed.channel, ann.unpack(subscribed.data)], [room, { hello: true }]);
      await world.hub.ask('publish', { channel: room, data: 'x' });
      assert.equal(ann.unpack((await seen.until('publication')).data), 'x');
      await world.hub.ask('unsubscribe', { user, channel: room });
      assert.equal((await seen.until('unsubscribed')).channel, room);
    });

    test('everybody has a channel of their own [personal channel]', async () => {
      const personal = configure({ client: { subscribe_to_user_personal_channel: { enabled: true } } });
      const hub = await Hub.start({ config: personal, shards: world.shards });
      try {
        const ann = await world.enter('ann', { url: hub.socketUrl });
        const arrives = next(ann.client, 'publication');
        await hub.ask('publish', { channel: '#ann', data: 'for you alone' });
        const { channel: name, data } = await arrives;
        assert.deepEqual([name, ann.unpack(data)], ['#ann', 'for you alone']);
        ann.leave();
      } finally {
        await hub.stop();
      }
    });

    test('the newest publication comes with the subscription [cache recovery]', async () => {
      const ann = await world.enter('ann');
      const room = channel('latest');
      for (let n = 1; n <= 3; n++) await ann.publish(room, n);
      const place = await ann.join(room, { recoverable: true });
      await place.sees(3);
      assert.deepEqual(place.values, [3]);
    });
  },
  { config },
);

// Subscriptions that the hub makes: as a token says, as a backend asks, as the configuration has it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import { channel, everywhere, next, token } from './clients.mjs';
import { Cable, configure } from './harness.mjs';

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
// Of each user's own, which the hub subscribes it to.
const own = { name: 'own', history_size: 50, history_ttl: '300s', force_recovery: true };
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
// The same, for whoever the hub subscribes.
const cache = { ...latest, name: 'cache', force_recovery: true };
const config = configure({
  client: { subscribe_to_user_personal_channel: { enabled: true, personal_channel_namespace: 'own' } },
  channel: { namespaces: [...base.channel.namespaces, feed, own, latest, cache] },
});

everywhere(
  'subscriptions of the hub',
  (world) => {
    let cable;
    before(async () => {
      cable = await Cable.to(world.hub.port);
    });
    after(() => cable?.remove());

    const isPersonal = (name) => name.startsWith('own:');

    /** Everything that a client tells of its server-side subscriptions, its personal one left out unless that is meant. */
    const watch = (client, isMeant = (name) => !isPersonal(name)) => {
      const seen = [];
      for (const event of ['subscribed', 'subscribing', 'unsubscribed', 'publication', 'join', 'leave']) {
        client.on(event, (context) => isMeant(context.channel) && seen.push({ event, ...context }));
      }
      const all = (event) => seen.filter((one) => one.event === event);
      const until = (event, count = 1) => {
        if (all(event).length >= count) return all(event)[count - 1];
        return next(client, event).then(() => until(event, count));
      };
      return { seen, all, until };
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
      const { presence } = await world.hub.ask('presence', { channel: feed });
      assert.deepEqual(presence[person.id].chan_info, { seat: 7 });
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
      const feed = channel('feed');
      for (const data of [1, 2]) await world.hub.ask('publish', { channel: feed, data });
      await world.hub.ask('subscribe', { user, channel: feed, data: { hello: true }, recover_since: { offset: 1 } });
      const subscribed = await seen.until('subscribed');
      assert.deepEqual([subscribed.channel, ann.unpack(subscribed.data)], [feed, { hello: true }]);
      await world.hub.ask('publish', { channel: feed, data: 3 });
      await seen.until('publication', 2);
      assert.deepEqual(seen.all('publication').map(({ data }) => ann.unpack(data)), [2, 3]);
      await world.hub.ask('unsubscribe', { user, channel: feed });
      assert.equal((await seen.until('unsubscribed')).channel, feed);
    });

    test('everybody has a channel of their own, and misses nothing in it [personal channel]', async () => {
      const user = randomUUID();
      const own = `own:#${user}`;
      const ann = await world.enter(user);
      const seen = watch(ann.client, isPersonal);
      await world.hub.ask('publish', { channel: own, data: 1 });
      assert.equal((await seen.until('publication')).channel, own);
      ann.client.disconnect();
      for (const data of [2, 3]) await world.hub.ask('publish', { channel: own, data });
      ann.client.connect();
      await seen.until('publication', 3);
      await world.hub.ask('publish', { channel: own, data: 4 });
      await seen.until('publication', 4);
      assert.deepEqual(
        seen.seen.filter(({ event }) => event === 'publication' || event === 'subscribed').map(({ event }) => event),
        ['publication', 'subscribed', 'publication', 'publication', 'publication'],
      );
      assert.deepEqual(seen.all('publication').map(({ data }) => ann.unpack(data)), [1, 2, 3, 4]);
      assert.equal(seen.all('subscribed')[0].recovered, true);
    });

    test('a cache gives its newest publication to whom the hub subscribes', async () => {
      const name = channel('cache');
      for (const data of [1, 2, 3]) await world.hub.ask('publish', { channel: name, data });
      // Nobody in particular: there is no personal channel.
      const { person, seen } = await enter('', { channels: [name] });
      await seen.until('publication');
      assert.deepEqual(seen.seen.slice(0, 2).map(({ event }) => event), ['subscribed', 'publication']);
      assert.deepEqual([seen.seen[0].recovered, person.unpack(seen.seen[1].data)], [true, 3]);
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

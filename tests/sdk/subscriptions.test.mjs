// Subscriptions that the server makes, and those that tokens make: recovery, ends, refreshes.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import { Person, channel, everywhere, inSeconds, next, token } from './clients.mjs';
import { configure, within } from './harness.mjs';

const history = { history_size: 100, history_ttl: '300s' };

const config = configure({
  client: {
    expired_sub_close_delay: '1s',
    subscribe_to_user_personal_channel: { enabled: true, personal_channel_namespace: 'own' },
  },
  channel: {
    namespaces: [
      { name: 'own', ...history, force_recovery: true },
      { name: 'kept', ...history, force_recovery: true },
      { name: 'cache', ...history, force_recovery: true, force_recovery_mode: 'cache', auto_cache_recover: true },
      { name: 'secret', presence: true, allow_presence_for_subscriber: true },
    ],
  },
});

/** Notes everything that the server's subscriptions of a person tell, in order. */
function listen({ client, unpack }) {
  const notes = [];
  const waiting = new Set();
  const note = (text) => {
    notes.push(text);
    for (const look of waiting) look();
  };
  const of = (name, details = () => '') =>
    client.on(name, (context) => note(`${name} ${context.channel}${details(context)}`));
  of('subscribed', ({ recovered, wasRecovering, data }) => {
    // Protobuf has no data of no bytes.
    const said = data === undefined || data?.length === 0 ? '' : ` ${JSON.stringify(unpack(data))}`;
    return `${wasRecovering ? ` recovered: ${recovered}` : ''}${said}`;
  });
  of('publication', ({ data }) => ` ${unpack(data)}`);
  of('unsubscribed');
  const until = (text) =>
    within(
      new Promise((resolve) => {
        const look = () => {
          if (!notes.includes(text)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
      `'${text}'`,
    ).catch((error) => {
      throw new Error(`${error.message}; so far: ${JSON.stringify(notes)}`);
    });
  return { notes, until };
}

everywhere(
  'subscriptions by the server',
  (world) => {
    test('a user hears its own channel, and misses nothing while it is away', async () => {
      const user = randomUUID();
      const own = `own:#${user}`;
      const ann = await world.enter(user);
      const { notes, until } = listen(ann);
      await world.hub.ask('publish', { channel: own, data: 1 });
      await until(`publication ${own} 1`);
      ann.client.disconnect();
      for (const data of [2, 3]) await world.hub.ask('publish', { channel: own, data });
      ann.client.connect();
      await until(`publication ${own} 3`);
      await world.hub.ask('publish', { channel: own, data: 4 });
      await until(`publication ${own} 4`);
      assert.deepEqual(
        notes.filter((text) => !text.startsWith('unsubscribed')),
        [
          `publication ${own} 1`,
          `subscribed ${own} recovered: true`,
          `publication ${own} 2`,
          `publication ${own} 3`,
          `publication ${own} 4`,
        ],
      );
    });

    test('a token names channels, with what is granted in each', async () => {
      const [first, second] = [channel('kept'), channel('secret')];
      const subs = { [first]: { data: { room: 1 } }, [second]: { info: { is: 'guest' } } };
      const ann = await world.enter('ann', { token: token({ sub: 'ann', subs }) });
      const { until } = listen(ann);
      await world.hub.ask('publish', { channel: first, data: 1 });
      await until(`publication ${first} 1`);
      const { presence } = await world.hub.ask('presence', { channel: second });
      assert.deepEqual(presence[ann.id].chan_info, { is: 'guest' });
    });

    test('the application subscribes a live connection, with what came before', async () => {
      const user = randomUUID();
      const name = channel('kept');
      const ann = await world.enter(user);
      const { notes, until } = listen(ann);
      for (const data of [1, 2]) await world.hub.ask('publish', { channel: name, data });
      await world.hub.ask('subscribe', { user, channel: name, data: 'hello', recover_since: { offset: 1 } });
      await world.hub.ask('publish', { channel: name, data: 3 });
      await until(`publication ${name} 3`);
      assert.deepEqual(notes, [`subscribed ${name} "hello"`, `publication ${name} 2`, `publication ${name} 3`]);
      await world.hub.ask('unsubscribe', { user, channel: name });
      await until(`unsubscribed ${name}`);
    });

    test('a cache gives its newest publication to whoever comes', async () => {
      const name = channel('cache');
      for (const data of [1, 2, 3]) await world.hub.ask('publish', { channel: name, data });
      const ann = new Person(world.hub.socketUrl, world.encoding, { token: token({ sub: '', channels: [name] }) });
      const { notes, until } = listen(ann);
      await until(`publication ${name} 3`);
      ann.leave();
      assert.deepEqual(notes.slice(0, 2), [`subscribed ${name} recovered: true`, `publication ${name} 3`]);
    });

    test('a subscription token opens a private channel, and others put off its end', async () => {
      const name = `$${channel('secret')}`;
      const ann = await world.enter('ann');
      let fetched = 0;
      let enough;
      const refreshed = new Promise((resolve) => (enough = resolve));
      const getToken = async () => {
        fetched += 1;
        // By then the first one would have ended the subscription.
        if (fetched === 4) enough();
        return token({ sub: 'ann', channel: name, exp: inSeconds(2), info: { is: 'guest' } });
      };
      const { sub } = await ann.join(name, { getToken });
      const { clients } = await sub.presence();
      assert.equal(ann.unpack(clients[ann.id].chanInfo).is, 'guest');
      let ends = 0;
      sub.on('subscribing', () => (ends += 1));
      await within(refreshed, 'three refreshes');
      await sub.presence();
      assert.equal(ends, 0);
    });

    test('a subscription that is not refreshed ends, and is made again with another token', async () => {
      const name = channel('secret');
      const make = (seconds) => token({ sub: 'ann', channel: name, exp: inSeconds(seconds) });
      const ann = await world.enter('ann');
      let fetched = 0;
      const getToken = () => {
        fetched += 1;
        // The backend does not answer the first time.
        return fetched === 1 ? new Promise(() => {}) : Promise.resolve(make(3600));
      };
      const { sub } = await ann.join(name, { token: make(1), getToken });
      assert.equal((await next(sub, 'subscribing')).code, 2501);
      await next(sub, 'subscribed');
    });

    test('a token that is not good, or not for this user, opens nothing', async () => {
      const name = channel('secret');
      const ann = await world.enter('ann');
      const forged = ann.place(name, { token: token({ sub: 'ann', channel: name }, { key: 'another secret' }) });
      forged.sub.subscribe();
      assert.equal((await next(forged.sub, 'unsubscribed')).code, 103);
      const bob = await world.enter('bob');
      const borrowed = bob.place(name, { token: token({ sub: 'ann', channel: name }) });
      borrowed.sub.subscribe();
      assert.equal((await next(bob.client, 'disconnected')).code, 3500);
    });
  },
  { config },
);

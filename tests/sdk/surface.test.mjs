// The rest of the SDK's surface: what its README and its types offer and no other file here uses.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { State, SubscriptionState } from 'centrifuge';
import WebSocket from 'ws';

import { Person, channel, encodings, everywhere, inSeconds, next, refusal, token } from './clients.mjs';
import { Cable, Hub, configure, freePort, within } from './harness.mjs';

/** Codes of the SDK itself. */
const TIMEOUT = 1;
const CLIENT_DISCONNECTED = 3;
const SUBSCRIPTION_UNSUBSCRIBED = 7;

/** Keeps what each of the SDK's sockets sent. */
class Recording extends WebSocket {
  static frames = [];

  send(data, ...more) {
    Recording.frames.push(data);
    return super.send(data, ...more);
  }
}

everywhere('surface of a connection', (world) => {
  /** Somebody who may be refused. */
  const stranger = (options = {}, url = world.hub.socketUrl) => new Person(url, world.encoding, options);

  /** Runs with a hub of its own. */
  const withHub = async (client, run) => {
    const hub = await Hub.start({ config: configure({ client }), shards: world.shards });
    try {
      await run(hub);
    } finally {
      await hub.stop();
    }
  };

  test('states and codes of coming and going [connect and disconnect]', async () => {
    const ann = await world.enter('ann');
    const { client } = ann;
    const first = ann.id;
    assert.equal(client.state, State.Connected);
    const states = [];
    client.on('state', ({ oldState, newState }) => states.push(`${oldState} ${newState}`));
    const gone = next(client, 'disconnected');
    client.disconnect();
    assert.deepEqual(await gone, { code: 0, reason: 'disconnect called' });
    const coming = next(client, 'connecting');
    const back = next(client, 'connected');
    client.connect();
    assert.deepEqual(await coming, { code: 0, reason: 'connect called' });
    const { client: id, transport, data } = await back;
    assert.notEqual(id, first);
    assert.equal(transport, 'websocket');
    assert.ok(!data?.length);
    assert.deepEqual(states, ['connected disconnected', 'disconnected connecting', 'connecting connected']);
  });

  test('nobody is let in who says nothing, unless that is allowed [connect without a token]', async () => {
    const refused = stranger();
    assert.equal((await next(refused.client, 'disconnected')).code, 3501);
    await withHub({ allow_anonymous_connect_without_token: true }, async (hub) => {
      const anonymous = stranger({}, hub.socketUrl);
      await anonymous.connected;
      assert.equal(await refusal(anonymous.publish(channel('chat'), 'x')), 103);
      anonymous.leave();
    });
  });

  test('name, version and data are taken [connect with data, name and version]', async () => {
    const ann = await world.enter('ann', { name: 'tests', version: '1.2.3', data: world.pack({ theme: 'dark' }) });
    ann.client.disconnect();
    ann.client.setData(world.pack({ theme: 'light' }));
    const back = next(ann.client, 'connected');
    ann.client.connect();
    await back;
  });

  test('data is asked for at each attempt [connect data from a callback]', async () => {
    let asked = 0;
    const getData = async () => {
      asked += 1;
      return world.pack({ attempt: asked });
    };
    const ann = await world.enter('ann', { getData });
    ann.client.disconnect();
    const back = next(ann.client, 'connected');
    ann.client.connect();
    await back;
    assert.equal(asked, 2);
  });

  test('headers travel in the command [emulated headers]', async () => {
    const ann = await world.enter('ann', { headers: { Authorization: 'Bearer x' } });
    ann.client.disconnect();
    ann.client.setHeaders({ 'X-Device': 'phone' });
    const back = next(ann.client, 'connected');
    ann.client.connect();
    await back;
  });

  test('a callback brings the token [token from a callback]', async () => {
    let asked = 0;
    const getToken = async () => {
      asked += 1;
      return token({ sub: 'ann' });
    };
    await world.enter('ann', { token: '', getToken });
    assert.equal(asked, 1);
  });

  test('a callback may give up [unauthorized by the callback]', async () => {
    const { UnauthorizedError } = encodings[world.encoding];
    const getToken = () => Promise.reject(new UnauthorizedError('not today'));
    assert.deepEqual(await next(stranger({ getToken }).client, 'disconnected'), { code: 1, reason: 'unauthorized' });
  });

  test('a callback that fails is asked again [token from a callback]', async () => {
    let asked = 0;
    const ann = stranger({
      getToken: async () => {
        asked += 1;
        if (asked === 1) throw new Error('the backend is down');
        return token({ sub: 'ann' });
      },
    });
    const { type, error } = await next(ann.client, 'error');
    assert.deepEqual([type, error.code], ['connectToken', 5]);
    await ann.connected;
    ann.leave();
  });

  test('a token that is set later is used [token is set by the application]', async () => {
    const ann = stranger({ token: 'no token' });
    assert.deepEqual(await next(ann.client, 'disconnected'), { code: 3500, reason: 'invalid token' });
    ann.client.setToken(token({ sub: 'ann' }));
    const back = next(ann.client, 'connected');
    ann.client.connect();
    await back;
    ann.leave();
  });

  test('a refresh for another user ends the connection [refused token]', async () => {
    const getToken = async () => token({ sub: 'bob', exp: inSeconds(60) });
    const ann = await world.enter('ann', { token: token({ sub: 'ann', exp: inSeconds(1) }), getToken });
    assert.equal((await next(ann.client, 'disconnected')).code, 3500);
  });

  test('ready resolves, rejects and gives up [ready waits, and gives up in time]', async () => {
    const ann = stranger({ token: token({ sub: 'ann' }) });
    await within(ann.client.ready(), 'ready');
    ann.leave();
    assert.equal((await ann.client.ready().catch((error) => error)).code, CLIENT_DISCONNECTED);
    const lost = stranger({ token: token({ sub: 'ann' }) }, `ws://127.0.0.1:${await freePort()}/connection/websocket`);
    assert.equal((await lost.client.ready(50).catch((error) => error)).code, TIMEOUT);
    lost.leave();
  });

  test('calls of who has left are refused [calls on a closed client fail]', async () => {
    const ann = await world.enter('ann', { timeout: 100 });
    ann.leave();
    // They wait for a connection, as long as for a reply.
    assert.equal(await refusal(ann.publish(channel('chat'), 'x')), TIMEOUT);
  });

  test('a call that nobody answers times out [calls time out]', async () => {
    const deaf = net.createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const url = `ws://127.0.0.1:${deaf.address().port}/connection/websocket`;
    const ann = stranger({ token: token({ sub: 'ann' }), timeout: 100 }, url);
    assert.equal(await refusal(ann.publish(channel('chat'), 'x')), TIMEOUT);
    ann.leave();
    deaf.close();
  });

  test('pings are answered [pings]', async () => {
    await withHub({ ping_interval: '1s', pong_timeout: '500ms' }, async (hub) => {
      let pings = 0;
      let enough;
      const three = new Promise((resolve) => (enough = resolve));
      class Counting extends WebSocket {
        constructor(...args) {
          super(...args);
          this.on('message', (data) => {
            pings += (data.byteLength ?? data.length) <= 2;
            if (pings === 3) enough();
          });
        }
      }
      const ann = stranger({ token: token({ sub: 'ann' }), websocket: Counting }, hub.socketUrl);
      await ann.connected;
      const before = ann.id;
      // An unanswered ping would have ended the connection before the next one.
      await within(three, 'three pings');
      assert.equal(ann.id, before);
      ann.leave();
    });
  });

  test('a hub that is silent is left [a silent hub is left]', async () => {
    await withHub({ ping_interval: '1s', pong_timeout: '500ms' }, async (hub) => {
      const cable = await Cable.to(hub.port);
      const ann = stranger({ token: token({ sub: 'ann' }), maxServerPingDelay: 300 }, cable.socketUrl);
      await ann.connected;
      cable.freeze();
      assert.deepEqual(await next(ann.client, 'connecting'), { code: 2, reason: 'no ping' });
      ann.leave();
      await cable.remove();
    });
  });

  test('the hub says goodbye and the client waits for the next one [reconnect after a hub\'s shutdown]', async () => {
    let told;
    let ann;
    await withHub({}, async (hub) => {
      ann = stranger({ token: token({ sub: 'ann' }) }, hub.socketUrl);
      await ann.connected;
      told = next(ann.client, 'connecting', 40_000);
    });
    assert.deepEqual(await told, { code: 3001, reason: 'shutdown' });
    ann.leave();
  });

  test('a message that is too large ends the connection for good [too large a message]', async () => {
    const ann = await world.enter('ann');
    const ended = next(ann.client, 'disconnected');
    ann.publish(channel('chat'), 'x'.repeat(70_000)).catch(() => {});
    assert.equal((await ended).code, 3);
  });

  test('commands of a batch leave in one frame [batching]', async () => {
    const ann = await world.enter('ann', { websocket: Recording });
    const place = await ann.join(channel('chat'));
    Recording.frames.length = 0;
    ann.client.startBatching();
    const published = [1, 2, 3].map((n) => place.publish(n));
    ann.client.stopBatching();
    await Promise.all(published);
    await place.sees(3);
    assert.equal(Recording.frames.length, 1);
    assert.deepEqual(place.values, [1, 2, 3]);
  });

  test('a subscription leaves with the connect command [subscribe before the connection is there]', async () => {
    const ann = await world.enter('ann', { websocket: Recording });
    ann.leave();
    const place = ann.place(channel('chat'));
    place.sub.subscribe();
    Recording.frames.length = 0;
    ann.client.connect();
    await place.sub.ready();
    assert.equal(Recording.frames.length, 1);
  });

  test('the first transport of a list that works is used [list of transports]', async () => {
    const lost = `ws://127.0.0.1:${await freePort()}/connection/websocket`;
    const endpoints = [lost, world.hub.socketUrl].map((endpoint) => ({ transport: 'websocket', endpoint }));
    const ann = stranger({ token: token({ sub: 'ann' }) }, endpoints);
    await ann.connected;
    ann.leave();
  });

  test('a transport that fails is told, with its name [error events]', async () => {
    const ann = stranger({}, `ws://127.0.0.1:${await freePort()}/connection/websocket`);
    const { type, error, transport } = await next(ann.client, 'error');
    assert.deepEqual([type, error, transport], ['transport', { code: 2, message: 'transport closed' }, 'websocket']);
    ann.leave();
  });

  test('what the hub refuses has a code and a message [error events]', async () => {
    const ann = await world.enter('ann');
    const error = await ann.client.rpc('sum', world.pack([1, 2])).catch((error) => error);
    assert.deepEqual({ ...error }, { code: 108, message: 'not available', temporary: false });
  });

  test('send has no handler [send without a backend]', async () => {
    const ann = await world.enter('ann');
    const ended = next(ann.client, 'disconnected');
    await ann.client.send(world.pack('hello'));
    assert.deepEqual(await ended, { code: 3508, reason: 'not available' });
  });

  test('the network goes and comes back [events of network and page]', async () => {
    const network = new EventTarget();
    const ann = await world.enter('ann', { networkEventTarget: network });
    const lost = next(ann.client, 'connecting');
    network.dispatchEvent(new Event('offline'));
    assert.equal((await lost).code, 1);
    const back = next(ann.client, 'connected');
    network.dispatchEvent(new Event('online'));
    await back;
  });

  test('the page sleeps in its cache and wakes [events of network and page]', async () => {
    const page = new EventTarget();
    const ann = await world.enter('ann', { pageEventTarget: page, minReconnectDelay: 60_000, maxReconnectDelay: 60_000 });
    const event = (name) => Object.assign(new Event(name), { persisted: true });
    const asleep = next(ann.client, 'connecting');
    page.dispatchEvent(event('pagehide'));
    assert.deepEqual(await asleep, { code: 1, reason: 'page entered back/forward cache' });
    const awake = next(ann.client, 'connected');
    page.dispatchEvent(event('pageshow'));
    await awake;
  });

  test('a client comes back after its delay, not before [reconnect after a cut]', async () => {
    const cable = await Cable.to(world.hub.port);
    const ann = await world.enter('ann', { url: cable.socketUrl, minReconnectDelay: 60_000, maxReconnectDelay: 60_000 });
    const lost = next(ann.client, 'connecting');
    cable.cut();
    await lost;
    cable.mend();
    assert.equal((await ann.client.ready(200).catch((error) => error)).code, TIMEOUT);
    // Who connects anew does not wait.
    ann.client.disconnect();
    const back = next(ann.client, 'connected');
    ann.client.connect();
    await back;
    ann.leave();
    await cable.remove();
  });

  test('debug tells what happens [debug]', async (t) => {
    const log = t.mock.method(console, 'debug', () => {});
    const ann = await world.enter('ann', { debug: true });
    ann.leave();
    assert.ok(log.mock.callCount() > 0);
  });
});

everywhere('surface of a subscription', (world) => {
  let cable;
  before(async () => {
    cable = await Cable.to(world.hub.port);
  });
  after(() => cable?.remove());

  test('states and codes of subscribing [subscribe and unsubscribe]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const { sub } = ann.place(room);
    const states = [];
    sub.on('state', ({ oldState, newState }) => states.push(`${oldState} ${newState}`));
    const told = ['subscribing', 'subscribed', 'unsubscribed'].map((event) => next(sub, event));
    assert.equal(sub.state, SubscriptionState.Unsubscribed);
    sub.subscribe();
    await sub.ready();
    sub.unsubscribe();
    const [subscribing, subscribed, unsubscribed] = await Promise.all(told);
    assert.deepEqual(subscribing, { channel: room, code: 0, reason: 'subscribe called' });
    assert.deepEqual(unsubscribed, { channel: room, code: 0, reason: 'unsubscribe called' });
    assert.deepEqual([subscribed.channel, subscribed.recoverable, subscribed.positioned], [room, false, false]);
    assert.deepEqual(states, ['unsubscribed subscribing', 'subscribing subscribed', 'subscribed unsubscribed']);
    assert.equal(await refusal(sub.publish(ann.pack('x'))), SUBSCRIPTION_UNSUBSCRIBED);
  });

  test('the client knows its subscriptions [registry of subscriptions]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const place = await ann.join(room);
    assert.equal(ann.client.getSubscription(room), place.sub);
    assert.deepEqual(Object.keys(ann.client.subscriptions()), [room]);
    assert.throws(() => ann.place(room), /already exists/);
    ann.client.removeSubscription(place.sub);
    assert.equal(place.sub.state, SubscriptionState.Unsubscribed);
    assert.equal(ann.client.getSubscription(room), null);
    const again = await ann.join(room);
    await again.publish('again');
    await again.sees('again');
  });

  test('calls need no subscription [publish without a subscription]', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('chat');
    const place = await ann.join(room);
    await bob.publish(room, 'from outside');
    await place.sees('from outside');
  });

  test('presence and history of a client are those of a subscription [history] [presence] [presence stats]', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('chat');
    const place = await ann.join(room);
    await place.publish('one');
    assert.deepEqual(await bob.client.presence(room), await place.sub.presence());
    assert.deepEqual(await bob.client.presenceStats(room), await place.sub.presenceStats());
    assert.deepEqual(await bob.client.history(room, { limit: 1 }), await place.sub.history({ limit: 1 }));
  });

  test('data is taken, from a value and from a callback [subscribe with data]', async () => {
    const ann = await world.enter('ann');
    const plain = await ann.join(channel('chat'), { data: ann.pack({ since: 'today' }) });
    plain.sub.setData(ann.pack({ since: 'yesterday' }));
    const asked = [];
    const getData = async (context) => {
      asked.push(context.channel);
      return ann.pack(asked.length);
    };
    const room = channel('chat');
    await ann.join(room, { getData });
    assert.deepEqual(asked, [room]);
  });

  test('each flag alone is granted as asked [positioned subscription]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    await ann.publish(room, 1);
    for (const [asked, granted] of [
      [{ positioned: true }, [true, false]],
      [{ recoverable: true }, [true, true]],
    ]) {
      const { sub } = ann.place(room, asked);
      const subscribed = next(sub, 'subscribed');
      sub.subscribe();
      const { positioned, recoverable, streamPosition } = await subscribed;
      assert.deepEqual([positioned, recoverable, streamPosition.offset], [...granted, 1]);
      sub.unsubscribe();
      ann.client.removeSubscription(sub);
    }
  });

  test('a position of the application is where it begins [subscribe from a position of the application]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    for (let n = 1; n <= 5; n++) await ann.publish(room, n);
    const { epoch } = await ann.client.history(room, { limit: 0 });
    const getState = async () => ({ offset: 2, epoch });
    const place = await ann.join(room, { recoverable: true, getState });
    await place.sees(5);
    assert.deepEqual(place.values, [3, 4, 5]);
  });

  test('a position that is gone is asked for again [subscribe from a position that is gone]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    await ann.publish(room, 1);
    const { epoch } = await ann.client.history(room, { limit: 0 });
    const positions = [{ offset: 1, epoch: 'elsewhen' }, { offset: 0, epoch }];
    const place = await ann.join(room, { recoverable: true, minResubscribeDelay: 20, getState: async () => positions.shift() });
    await place.sees(1);
    assert.deepEqual(positions, []);
  });

  test('tells apart a cut and a subscription of its own [reconnect after a cut]', async () => {
    const ann = await world.enter('ann', { url: cable.socketUrl });
    const { sub } = await ann.join(channel('chat'));
    const waiting = next(sub, 'subscribing');
    const back = next(sub, 'subscribed');
    const lost = next(ann.client, 'connecting');
    cable.cut();
    assert.deepEqual(await lost, { code: 1, reason: 'transport closed' });
    assert.deepEqual({ ...(await waiting), channel: '' }, { channel: '', code: 1, reason: 'transport closed' });
    cable.mend();
    await back;
  });

  test('a callback that fails is told, and asked again [error events]', async () => {
    const ann = await world.enter('ann');
    let asked = 0;
    const getData = async () => {
      asked += 1;
      if (asked === 1) throw new Error('not there yet');
      return ann.pack({});
    };
    const room = channel('chat');
    const { sub } = ann.place(room, { getData, minResubscribeDelay: 20, maxResubscribeDelay: 20 });
    const told = next(sub, 'error');
    sub.subscribe();
    const { channel: name, type } = await told;
    assert.deepEqual([name, type], [room, 'subscribeData']);
    await sub.ready();
    assert.equal(asked, 2);
  });

  test('tags come with a publication of a backend [publications of a backend, with tags]', async () => {
    const ann = await world.enter('ann');
    const room = channel('chat');
    const { sub } = await ann.join(room);
    const arrives = next(sub, 'publication');
    await world.hub.ask('publish', { channel: room, data: 'x', tags: { kind: 'news' } });
    const { data, ...rest } = await arrives;
    assert.deepEqual([ann.unpack(data), rest], ['x', { channel: room, offset: 1, tags: { kind: 'news' } }]);
  });

  if (world.encoding === 'protobuf') {
    test('bytes come out as they went in [bytes as they are]', async () => {
      const ann = await world.enter('ann');
      const sub = ann.client.newSubscription(channel('chat'));
      const arrives = next(sub, 'publication');
      sub.subscribe();
      await sub.ready();
      const payload = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      await sub.publish(payload);
      assert.deepEqual(Uint8Array.from((await arrives).data), payload);
    });
  }
});

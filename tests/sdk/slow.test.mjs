// Readers that stop reading: their neighbours are unharmed, memory is bounded, they are cut.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import WebSocket from 'ws';

import { Person, channel, token } from './clients.mjs';
import { Hub, configure, within } from './harness.mjs';
import { RawSocket } from './raw.mjs';

const MIB = 1024 * 1024;
const open = { allow_subscribe_for_client: true, allow_recovery: true, history_ttl: '300s' };
const namespaces = [
  { name: 'chat', ...open, presence: true, history_size: 300 },
  // Publications of many values, of which a quiet channel keeps all.
  { name: 'oldest', ...open, history_size: 3_000, slow_consumer_policy: 'drop_oldest' },
  { name: 'newest', ...open, history_size: 3_000, slow_consumer_policy: 'conflate' },
];
const config = configure({ client: { queue_max_size: 262_144 }, channel: { namespaces } });

/** A WebSocket of the SDK that can be told to read no more. */
class Pausable extends WebSocket {
  static opened = [];

  constructor(...args) {
    super(...args);
    Pausable.opened.push(this);
  }
}

for (const shards of [1, 4]) {
  describe(`slow readers, shards: ${shards}`, { timeout: 120_000 }, () => {
    let hub;
    let neighbour;

    before(async () => {
      hub = await Hub.start({ config, shards });
      neighbour = new Person(hub.socketUrl, 'json', { token: token({ sub: 'neighbour' }) });
      await neighbour.connected;
    });
    after(async () => {
      neighbour?.leave();
      await hub?.stop();
    });

    /** A reader that has stopped, in a room into which was published until the hub gave it up. */
    const overfill = async (t) => {
      const room = channel('chat');
      const listener = await neighbour.join(room);
      const raw = await RawSocket.stopped(hub.port, { token: token({ sub: 'sleeper' }), channel: room });
      t.after(() => raw.destroy());

      const before = hub.residentBytes();
      const here = async () => (await hub.ask('presence_stats', { channel: room })).num_clients;
      let sent = 0;
      while ((await here()) > 1) {
        assert.ok(sent < 4_096, 'a reader that stopped is still there after 64 MiB');
        await hub.ask('publish', { channel: room, data: `${(sent += 1)} ${'x'.repeat(16_384)}` });
      }
      assert.ok(hub.residentBytes() - before < 64 * MIB, 'memory is bounded');
      await listener.until(() => listener.values.length === sent, 'all of it, beside the slow reader');
      const heard = listener.values.map((value) => Number.parseInt(value, 10));
      assert.deepEqual(heard, Array.from({ length: sent }, (_, n) => n + 1));
      return raw;
    };

    test('one that reads on is told 3008', async (t) => {
      const raw = await overfill(t);
      raw.socket.resume();
      assert.equal(await raw.closeCode(), 3008);
      await raw.closed();
    });

    for (const [namespace, policy] of [
      ['oldest', 'drop_oldest'],
      ['newest', 'conflate'],
    ]) {
      test(`one that stops and reads on stays connected: ${policy}`, async (t) => {
        const options = { token: token({ sub: 'sleeper' }), websocket: Pausable };
        const sleeper = new Person(hub.socketUrl, 'json', options);
        t.after(() => sleeper.leave());
        await sleeper.connected;
        // One room with a position beside one without, which is much louder.
        const loud = await sleeper.join(channel(namespace));
        const quiet = await sleeper.join(channel(namespace), { recoverable: true });
        const told = [];
        quiet.sub.on('subscribing', ({ code }) => told.push(code));
        quiet.sub.on('subscribed', ({ wasRecovering, recovered }) => told.push([wasRecovering, recovered]));
        const socket = Pausable.opened.at(-1);
        socket.pause();

        const dropped = async () => {
          const labels = `namespace="${namespace}",policy="${policy}"`;
          return (await hub.metric('fanfare_publications_dropped_total', labels)) ?? 0;
        };
        const before = await dropped();
        const text = 'x'.repeat(16_384);
        let sent = 0;
        const say = async () => {
          sent += 1;
          await hub.ask('publish', { channel: loud.sub.channel, data: `${sent} ${text}` });
          await hub.ask('publish', { channel: quiet.sub.channel, data: sent });
        };
        while ((await dropped()) < before + 40) {
          assert.ok(sent < 2_048, 'nothing is dropped for a reader that stopped, after 32 MiB');
          await say();
        }
        socket.resume();
        await quiet.sees(sent);

        // What has a position was told of the gap and came back for it, on the same connection.
        assert.deepEqual(told, [2500, [true, true]]);
        assert.deepEqual(quiet.values, Array.from({ length: sent }, (_, index) => index + 1));
        quiet.assertNoGap();
        // What has none misses some, in order, and goes on.
        await say();
        await loud.until(() => loud.values.at(-1)?.startsWith(`${sent} `), 'the newest');
        const numbers = loud.values.map((value) => Number.parseInt(value, 10));
        assert.ok(numbers.length < sent, 'some were dropped');
        assert.ok(numbers.every((number, index) => index === 0 || number > numbers[index - 1]), `${numbers}`);
        assert.equal(sleeper.client.state, 'connected');
        assert.equal(Pausable.opened.at(-1), socket, 'it was never cut');
      });
    }

    test('one that never reads again is cut off all the same', async (t) => {
      const raw = await overfill(t);
      await within(cutOff(hub, raw), 'the hub to drop the socket', 15_000);
    });
  });
}

/** Resolves when the hub's end of `raw` is established no more, as the kernel tells. */
async function cutOff(hub, raw) {
  const hex = (port) => port.toString(16).toUpperCase().padStart(4, '0');
  const established = `0100007F:${hex(hub.port)} 0100007F:${hex(raw.socket.localPort)} 01`;
  while (readFileSync('/proc/net/tcp', 'utf8').includes(established)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

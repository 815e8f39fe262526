// Readers that stop reading: their neighbours are unharmed, memory is bounded, they are cut.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { Person, channel, token } from './clients.mjs';
import { Hub, configure, within } from './harness.mjs';
import { RawSocket } from './raw.mjs';

const config = configure({ client: { queue_max_size: 262_144 } });
const MIB = 1024 * 1024;

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
      const raw = await RawSocket.upgraded(hub.port);
      t.after(() => raw.destroy());
      raw.command({ id: 1, connect: { token: token({ sub: 'sleeper' }) } });
      await raw.reply();
      raw.command({ id: 2, subscribe: { channel: room } });
      await raw.reply(({ id }) => id === 2);
      raw.socket.pause();

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

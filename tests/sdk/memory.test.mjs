// Readers that stop in many rooms: together they may not take more memory than the hub is given.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Person, channel, token } from './clients.mjs';
import { Hub, configure, within } from './harness.mjs';
import { RawSocket, head } from './raw.mjs';

const MIB = 1024 * 1024;
const LIMIT = 64 * MIB;
/** What may come in between two looks at the memory. */
const SLACK = 32 * MIB;
const SLEEPERS = 12;

// Twelve outboxes may hold three times the limit.
const config = configure({ client: { queue_max_size: 16 * MIB }, fanfare: { memory_limit: LIMIT } });

/** The answer to an upgrade. */
async function knock(hub) {
  const raw = await RawSocket.open(hub.port);
  raw.send(head());
  const answer = await raw.answer();
  raw.destroy();
  return answer;
}

for (const [shards, bytes] of [
  [1, 4_096],
  [2, 65_536],
]) {
  describe(`memory, shards: ${shards}, payloads of ${bytes} bytes`, { timeout: 120_000 }, () => {
    let hub;
    let bystander;

    before(async () => {
      hub = await Hub.start({ config, shards });
      bystander = new Person(hub.socketUrl, 'json', { token: token({ sub: 'bystander' }) });
      await bystander.connected;
    });
    after(async () => {
      bystander?.leave();
      await hub?.stop();
    });

    /** A client in a room of its own that reads no more. */
    const fallAsleep = async (t) => {
      const room = channel('plain');
      const raw = await RawSocket.stopped(hub.port, { token: token({ sub: 'sleeper' }), channel: room });
      t.after(() => raw.destroy());
      return { raw, room };
    };

    test('memory stays near its limit, the largest are cut, the bystander misses nothing', async (t) => {
      const sleepers = await Promise.all(Array.from({ length: SLEEPERS }, () => fallAsleep(t)));
      const channels = sleepers.map(({ room }) => room);
      const quiet = await bystander.join(channel('chat'));
      const text = 'x'.repeat(bytes);

      let highest = 0;
      let said = 0;
      let refused;
      for (let sent = 0; sent < 16 * MIB; sent += bytes) {
        await hub.ask('broadcast', { channels, data: text });
        await hub.ask('publish', { channel: quiet.sub.channel, data: (said += 1) });
        highest = Math.max(highest, hub.residentBytes());
        if (highest > LIMIT && !refused) {
          const answer = await knock(hub);
          if (answer.status !== 101) refused = answer;
        }
      }
      t.diagnostic(`highest: ${Math.round(highest / MIB)} MiB, now ${Math.round(hub.residentBytes() / MIB)} MiB`);
      assert.ok(highest > LIMIT && highest < LIMIT + SLACK, `${highest / MIB} MiB at the highest`);
      assert.equal(refused?.status, 503);
      assert.equal(refused.fields['retry-after'], '1');
      assert.ok((await hub.metric('fanfare_refusals_total', 'reason="memory"')) > 0);
      const cut = await hub.metric('fanfare_outboxes_cut_total', 'closed');
      assert.ok(cut > 0 && cut <= SLEEPERS, `${cut} connections cut`);
      assert.match(hub.log, /memory is above fanfare.memory_limit: new clients are refused/);

      await quiet.until(() => quiet.values.length === said, 'all that was said beside the sleepers');
      quiet.assertNoGap();
      assert.equal(bystander.client.state, 'connected');

      // What was freed serves those who come now.
      const taken = (async () => {
        while ((await knock(hub)).status !== 101) await new Promise((resolve) => setTimeout(resolve, 20));
      })();
      await within(taken, 'clients to be taken again');
      assert.equal(await hub.metric('fanfare_memory_high'), 0);
    });
  });
}

// Floods: much of something, fast or for long. What each may cost stands in siege.mjs.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';

import { token } from './clients.mjs';
import { configure, within } from './harness.mjs';
import { OPCODES, RawSocket, frame, head } from './raw.mjs';
import { MIB, Siege, connect, endOf, packed, pump } from './siege.mjs';

const UNCONNECTED_MAX = 200;
const CHANNELS_MAX = 10_000;
const QUEUE_BYTES = 262_144;
const HISTORY_BYTES = 4 * MIB;
const SHARDS = 2;

const config = configure({
  client: {
    channel_limit: CHANNELS_MAX,
    ping_interval: '3s',
    pong_timeout: '2s',
    stale_close_delay: '1s',
    queue_max_size: QUEUE_BYTES,
  },
  websocket: { compression: true },
  fanfare: { unconnected_limit: UNCONNECTED_MAX, shard_memory_limit: HISTORY_BYTES },
});

const range = (length) => Array.from({ length }, (_, n) => n);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const counts = (codes) => codes.reduce((all, code) => ({ ...all, [code]: (all[code] ?? 0) + 1 }), {});

describe('floods', { timeout: 180_000 }, () => {
  let siege;
  before(async () => (siege = await Siege.lay({ config, shards: SHARDS })));
  after(() => siege?.lift());

  // --- before anybody is known ---------------------------------------------------------------------

  test('connects and resets, a thousand a second', () =>
    siege.endure(async () => {
      const begun = performance.now();
      for (let round = 0; round < 200; round++) {
        for (let n = 0; n < 10; n++) {
          const reset = (raw) => raw.socket.resetAndDestroy();
          const rude = {
            0: async () => reset(await RawSocket.open(siege.hub.port)),
            1: async () => {
              const raw = await RawSocket.open(siege.hub.port);
              raw.socket.write(head(), () => reset(raw));
            },
            2: async () => reset(await RawSocket.upgraded(siege.hub.port)),
          }[n % 3];
          // Whoever is reset by the hub, too, has what it wanted.
          rude().catch(() => {});
        }
        await pause(Math.max(0, begun + (round + 1) * 10 - performance.now()));
      }
    }));

  test('half a head from each of two thousand', () =>
    siege.endure(
      async () => {
        const half = head().slice(0, -2);
        for (const raw of await siege.many(2_000, () => siege.dial())) raw.send(half);
        // They all hang at the door, and it is open.
        await within(siege.serve(), 'a healthy client to be served meanwhile', 1_500);
      },
      { descriptors: 2_100 },
    ));

  test('header lines that never end', () =>
    siege.endure(async () => {
      const endless = async () => {
        const raw = await siege.dial();
        raw.send('GET /connection/websocket HTTP/1.1\r\nX-Long: ');
        await pump(raw, Buffer.alloc(65_536, 'x'), 100);
        await raw.closed();
      };
      await siege.many(20, endless);
    }));

  test('heads of one byte a segment', () =>
    siege.endure(async () => {
      const dribble = async () => {
        const raw = await siege.dial();
        for (const byte of head()) raw.send(byte);
        assert.equal((await raw.answer()).status, 101);
      };
      await siege.many(50, dribble);
    }));

  test('sockets that never connect, limited in number and in time', () =>
    siege.endure(async () => {
      const raws = await siege.many(3 * UNCONNECTED_MAX, () => siege.upgraded());
      await within(siege.serve(), 'a healthy client to be served meanwhile', 1_500);
      const codes = counts(await Promise.all(raws.map((raw) => endOf(raw))));
      const { 3013: crowded, 3502: stale } = codes;
      assert.equal(crowded + stale, raws.length, JSON.stringify(codes));
      // The newest have their time; how many of them are on which shard is the kernel's choice.
      assert.ok(stale > 0 && stale <= UNCONNECTED_MAX, JSON.stringify(codes));
    }));

  test('bombs of deflate before the connect command', () =>
    siege.endure(
      async () => {
        const bomb = frame({ payload: deflateRawSync(Buffer.alloc(48 * MIB, ' ')).subarray(0, 50_000), rsv: 4 });
        const offer = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
        const explode = async () => {
          const raw = await siege.dial();
          raw.send(head({ fields: offer }));
          assert.match((await raw.answer()).fields['sec-websocket-extensions'], /permessage-deflate/);
          raw.send(bomb);
          assert.equal(await endOf(raw), 1009);
        };
        await siege.many(50, explode);
      },
      { memory: 24 * MIB },
    ));

  // --- frames ----------------------------------------------------------------------------------------

  test('fragments of one byte, and of none', () =>
    siege.endure(async () => {
      const before = siege.cpuMs();
      for (const payload of [' ', '']) {
        const first = frame({ payload, fin: false });
        const rest = Buffer.concat(range(20_000).map(() => frame({ opcode: OPCODES.continuation, payload, fin: false })));
        const sprinkle = async () => {
          const raw = await siege.connected();
          raw.send(first);
          await pump(raw, rest, 1);
          assert.ok([1009, undefined].includes(await endOf(raw)));
        };
        await siege.many(20, sprinkle);
      }
      // 40 messages of 16,384 fragments: quadratic reassembly would take minutes.
      const cpu = siege.cpuMs() - before;
      assert.ok(cpu < 3_000, `${cpu} ms of CPU`);
    }));

  test('pongs that nobody asked for', () =>
    siege.endure(async () => {
      const raw = await siege.connected();
      const pongs = Buffer.concat(range(5_000).map(() => frame({ opcode: OPCODES.pong, payload: 'x'.repeat(125) })));
      await pump(raw, pongs, 20);
      raw.command({ id: 2, subscribe: { channel: 'plain:after' } });
      assert.ok((await raw.reply(({ id }) => id === 2)).subscribe, 'RFC 6455 allows them');
    }));

  test('pings whose pongs are never read', () =>
    siege.endure(async () => {
      const ask = async () => {
        const raw = await siege.connected();
        raw.socket.pause();
        const pings = Buffer.concat(range(1_000).map(() => frame({ opcode: OPCODES.ping, payload: 'x'.repeat(125) })));
        await pump(raw, pings, 400);
        raw.socket.resume();
        await raw.closed();
      };
      await siege.many(4, ask);
    }));

  // --- commands --------------------------------------------------------------------------------------

  test('newlines, and empty messages of Protobuf', () =>
    siege.endure(async () => {
      const bombs = {
        'centrifuge-json': frame({ payload: '\n'.repeat(65_000) }),
        'centrifuge-protobuf': frame({ opcode: OPCODES.binary, payload: Buffer.alloc(65_000) }),
      };
      for (const [protocol, bomb] of Object.entries(bombs)) {
        const explode = async () => {
          const raw = await siege.upgraded({ protocol });
          await pump(raw, bomb, 10);
          assert.ok([3501, undefined].includes(await endOf(raw)));
        };
        await siege.many(20, explode);
      }
      const { status } = await siege.hub.call('publish', null, { text: '\n'.repeat(4 * MIB - 1) });
      assert.equal(status, 400);
    }));

  test('as many commands as fit a message', () =>
    siege.endure(async () => {
      const ask = async () => {
        const raw = await siege.connected();
        const commands = range(5_000).map(() => ({ presence_stats: { channel: 'chat:crowd' } }));
        for (const bytes of packed(commands)) await pump(raw, bytes, 1);
        await raw.reply(({ id }) => id === commands.length + 1);
      };
      await siege.many(4, ask);
    }));

  test('ten thousand subscriptions of one connection', () =>
    siege.endure(
      async () => {
        const before = await siege.hub.metric('fanfare_subscriptions');
        const raw = await siege.connected();
        const commands = range(CHANNELS_MAX + 1).map((n) => ({ subscribe: { channel: `plain:${n}` } }));
        for (const bytes of packed(commands)) await pump(raw, bytes, 1);
        const last = await raw.reply(({ id }) => id === commands.length + 1);
        assert.equal(last.error.code, 106);
        assert.equal((await siege.hub.metric('fanfare_subscriptions')) - before, CHANNELS_MAX);
        raw.socket.resetAndDestroy();
        await siege.settles('fanfare_subscriptions', before);
        await siege.settles('fanfare_rooms', 10);
      },
      { memory: 32 * MIB },
    ));

  test('ever new channels: subscribed and left, published to, asked about', () =>
    siege.endure(
      async () => {
        const visit = async (name) => {
          const raw = await siege.connected();
          const commands = range(1_500).flatMap((n) => {
            const room = { channel: `chat:${name}-${n}` };
            const data = 'x'.repeat(900);
            return [{ subscribe: room }, { publish: { ...room, data } }, { unsubscribe: room }, { history: room }];
          });
          for (const bytes of packed(commands)) await pump(raw, bytes, 1);
          await raw.reply(({ id }) => id === commands.length + 1);
        };
        await siege.many(4, visit);
        const bytes = await siege.hub.metric('fanfare_stream_bytes');
        assert.ok(bytes <= SHARDS * HISTORY_BYTES, `${bytes / MIB} MiB of history`);
        await siege.settles('fanfare_subscriptions', 10);
      },
      { keeps: 2 * SHARDS * HISTORY_BYTES },
    ));

  test('publishes whose sender is gone before the reply', () =>
    siege.endure(async () => {
      for (let round = 0; round < 30; round++) {
        const raws = await siege.many(10, () => siege.connected());
        for (const raw of raws) {
          const publish = JSON.stringify({ id: 2, publish: { channel: 'chat:left', data: round } });
          raw.socket.write(frame({ payload: publish }), () => raw.socket.resetAndDestroy());
        }
      }
    }));

  // --- who reads slowly, or is silent --------------------------------------------------------------------

  test('answers that are never read', () =>
    siege.endure(
      async () => {
        const room = { channel: 'chat:large' };
        for (let n = 0; n < 100; n++) await siege.hub.ask('publish', { ...room, data: 'x'.repeat(1_024) });
        const hoard = async () => {
          const raw = await siege.connected();
          raw.socket.pause();
          const commands = range(2_000).map(() => ({ history: { ...room, limit: 100 } }));
          for (const bytes of packed(commands)) raw.send(bytes);
        };
        await siege.many(10, hoard);
        // Commands wait for the socket to take their answers, and pongs behind them never come.
        await siege.settles('fanfare_connections', 3);
      },
      { keeps: 2 * SHARDS * HISTORY_BYTES },
    ));

  test('readers that stand still, and readers that trickle', () =>
    siege.endure(
      async () => {
        const room = { token: token({ sub: 'sleeper' }), channel: 'plain:loud' };
        const still = await siege.many(8, () => RawSocket.stopped(siege.hub.port, room));
        const slow = await siege.many(2, () => RawSocket.stopped(siege.hub.port, room));
        // One chunk, twenty times a second.
        const trickle = slow.map((raw) => {
          raw.socket.on('data', () => raw.trickling && raw.socket.pause());
          raw.trickling = true;
          return setInterval(() => raw.socket.resume(), 50);
        });
        try {
          const here = () => siege.hub.metric('fanfare_slow_consumers_closed_total', 'namespace="plain"');
          for (let sent = 0; ((await here()) ?? 0) < 10; sent += 1) {
            assert.ok(sent < 200, 'slow readers are still there');
            const data = 'x'.repeat(60_000);
            await Promise.all(range(10).map(() => siege.hub.ask('publish', { channel: 'plain:loud', data })));
          }
          for (const raw of slow) {
            raw.trickling = false;
            raw.socket.resume();
            assert.equal(await raw.closeCode(), 3008);
          }
        } finally {
          trickle.forEach(clearInterval);
          for (const raw of [...still, ...slow]) raw.destroy();
        }
      },
      { memory: 96 * MIB },
    ));

  test('two hundred peers that fall silent', () =>
    siege.endure(async () => {
      const raws = [];
      // Not so many at once that they push one another out before they have connected.
      while (raws.length < 200) raws.push(...(await siege.many(50, () => siege.connected())));
      const codes = await Promise.all(raws.map((raw) => raw.closeCode()));
      assert.deepEqual(counts(codes), { 3012: 200 });
    }));
});

// Bad input, and what it gets. After each piece of it a healthy client is served at once.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';

import { Person, channel, token } from './clients.mjs';
import { Hub, configure, within } from './harness.mjs';
import { OPCODES, RawSocket, closing, frame, head, varint } from './raw.mjs';

/** "At once" for a healthy client: connect, subscribe, publish and receive. */
const HEALTHY_MS = 1_000;

const config = configure({
  client: {
    allowed_origins: ['https://our.example'],
    channel_limit: 3,
    ping_interval: '2s',
    pong_timeout: '1s',
    stale_close_delay: '500ms',
  },
});

const connect = { id: 1, connect: { token: token({ sub: 'mallory' }) } };

for (const shards of [1, 4]) {
  describe(`bad input, shards: ${shards}`, { timeout: 300_000 }, () => {
    let hub;
    let neighbour;
    let neighbourPlace;
    let told = 0;
    let open = [];

    before(async () => {
      hub = await Hub.start({ config, shards });
      neighbour = new Person(hub.socketUrl, 'json', { token: token({ sub: 'neighbour' }) });
      await neighbour.connected;
      neighbourPlace = await neighbour.join('plain:square');
    });
    after(async () => {
      neighbour?.leave();
      await hub?.stop();
    });

    // A newcomer is served, and the neighbour, who was there all the time, hears of it.
    afterEach(async () => {
      for (const raw of open) raw.destroy();
      open = [];
      const serve = async () => {
        const newcomer = new Person(hub.socketUrl, 'protobuf', { token: token({ sub: 'newcomer' }) });
        await newcomer.connected;
        const place = await newcomer.join('plain:square');
        const word = `word ${(told += 1)}`;
        await place.publish(word);
        await Promise.all([place.sees(word), neighbourPlace.sees(word)]);
        newcomer.leave();
      };
      await within(serve(), 'a healthy client to be served', HEALTHY_MS);
      assert.equal(neighbour.client.state, 'connected');
    });

    const dial = async (opening) => {
      const raw = await opening;
      open.push(raw);
      return raw;
    };
    const upgraded = (options) => dial(RawSocket.upgraded(hub.port, options));

    /** A connection that is past its connect command. */
    const connected = async () => {
      const raw = await upgraded();
      raw.command(connect);
      assert.equal((await raw.reply()).id, 1);
      return raw;
    };

    // --- the head --------------------------------------------------------------------------------

    const heads = {
      'HTTP/1.0': [{ line: 'GET /connection/websocket HTTP/1.0' }, [400, 426, 505]],
      'a key that is too short': [{ fields: { 'Sec-WebSocket-Key': 'c2hvcnQ=' } }, [400]],
      'no key': [{ fields: { 'Sec-WebSocket-Key': undefined } }, [400]],
      'another version': [{ fields: { 'Sec-WebSocket-Version': '12' } }, [400, 426]],
      'no version': [{ fields: { 'Sec-WebSocket-Version': undefined } }, [400, 426]],
      'no upgrade': [{ fields: { Upgrade: undefined, Connection: undefined } }, [400, 426]],
      'an upgrade to something else': [{ fields: { Upgrade: 'h2c' } }, [400, 426]],
      'another method': [{ line: 'POST /connection/websocket HTTP/1.1', fields: { 'Content-Length': 0 } }, [400, 405]],
      'a foreign origin': [{ fields: { Origin: 'https://their.example' } }, [403]],
      'a head of 64 KiB': [{ fields: { 'X-Long': 'x'.repeat(65_536) } }, [400, 431]],
      'a thousand fields': [
        { fields: Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`X-${n}`, 'x'])) },
        [400, 431],
      ],
      'a path of 32 KiB': [{ line: `GET /${'x'.repeat(32_768)} HTTP/1.1` }, [400, 414, 431]],
      'no such page': [{ line: 'GET /connection/nothing HTTP/1.1' }, [404]],
    };
    for (const [what, [wrong, expected]] of Object.entries(heads)) {
      test(`head: ${what}`, async () => {
        const raw = await dial(RawSocket.open(hub.port));
        raw.send(head(wrong));
        const { status } = await raw.answer();
        assert.ok(expected.includes(status), `it was answered ${status}, not one of ${expected}`);
      });
    }

    test('head: our own origin is welcome', async () => {
      const raw = await dial(RawSocket.open(hub.port));
      raw.send(head({ fields: { Origin: 'https://our.example' } }));
      assert.equal((await raw.answer()).status, 101);
    });

    test('head: bytes of another protocol are answered 4xx or cut off', async () => {
      for (const bytes of [Buffer.from('16030100c8010000c40303', 'hex'), randomBytes(4_096), 'PRI * HTTP/2.0\r\n\r\n']) {
        const raw = await dial(RawSocket.open(hub.port));
        raw.send(bytes);
        raw.socket.end();
        await raw.closed();
      }
    });

    test('head: one that does not end in time is cut off', async () => {
      const raw = await dial(RawSocket.open(hub.port));
      raw.send(head().slice(0, -2));
      await raw.closed(10_000);
    });

    test('head: the first command may come in the same segment', async () => {
      const raw = await upgraded({ after: [frame({ payload: JSON.stringify(connect) })] });
      const reply = await raw.reply();
      assert.equal(reply.id, 1);
      assert.match(reply.connect.client, /^[0-9a-f-]{36}$/);
    });

    // --- frames ----------------------------------------------------------------------------------

    const frames = {
      'an unmasked frame': [[frame({ payload: '{}', masked: false })], 1002],
      'the first reserved bit': [[frame({ payload: '{}', rsv: 4 })], 1002],
      'the second reserved bit': [[frame({ payload: '{}', rsv: 2 })], 1002],
      'the third reserved bit': [[frame({ payload: '{}', rsv: 1 })], 1002],
      'a reserved bit on a ping': [[frame({ opcode: OPCODES.ping, rsv: 4 })], 1002],
      'a reserved data opcode': [[frame({ opcode: 3 })], 1002],
      'a reserved control opcode': [[frame({ opcode: 11 })], 1002],
      'a ping in fragments': [[frame({ opcode: OPCODES.ping, fin: false })], 1002],
      'a ping of 126 bytes': [[frame({ opcode: OPCODES.ping, payload: 'x'.repeat(126) })], 1002],
      'a continuation of nothing': [[frame({ opcode: OPCODES.continuation, payload: '{}' })], 1002],
      'a message inside a message': [[frame({ payload: '{', fin: false }), frame({ payload: '{}' })], 1002],
      'a close payload of one byte': [[frame({ opcode: OPCODES.close, payload: 'x' })], 1002],
      'a close code nobody may send': [[frame({ opcode: OPCODES.close, payload: closing(1005) })], 1002],
      'a close code out of range': [[frame({ opcode: OPCODES.close, payload: closing(999) })], 1002],
      'a close reason that is no UTF-8': [
        [frame({ opcode: OPCODES.close, payload: Buffer.concat([closing(1000), Buffer.from([0xff])]) })],
        1007,
      ],
      'text that is no UTF-8': [[frame({ payload: Buffer.from([0x7b, 0xff, 0x7d]) })], 1007],
      'text that is no UTF-8, in a first fragment': [[frame({ payload: Buffer.from([0xc0, 0xaf]), fin: false })], 1007],
      'a length over the limit': [[frame({ payload: 'x', declared: 65_537 })], 1009],
      'a length of a terabyte': [[frame({ payload: 'x', declared: 2 ** 40 })], 1009],
      'fragments over the limit': [
        [
          frame({ payload: ' '.repeat(60_000), fin: false }),
          frame({ opcode: OPCODES.continuation, payload: ' '.repeat(60_000) }),
        ],
        1009,
      ],
    };
    for (const [what, [sent, code]] of Object.entries(frames)) {
      test(`frame: ${what} gets ${code}`, async () => {
        const raw = await upgraded();
        const before = hub.residentBytes();
        raw.send(Buffer.concat(sent));
        assert.equal(await raw.closeCode(), code);
        assert.ok(hub.residentBytes() - before < 16 * 1024 * 1024, 'memory grew by what was only declared');
      });
    }

    test('frame: bad UTF-8 is refused before the frame is whole', async () => {
      const raw = await upgraded();
      const whole = frame({ payload: Buffer.concat([Buffer.from([0xf8]), Buffer.alloc(10_000, 0x20)]) });
      raw.send(whole.subarray(0, 1_000));
      assert.equal(await raw.closeCode(), 1007);
    });

    test('frame: a close is answered with its code', async () => {
      const raw = await upgraded();
      raw.send(frame({ opcode: OPCODES.close, payload: closing(1000, 'bye') }));
      assert.equal(await raw.closeCode(), 1000);
      await raw.closed();
    });

    test('frame: a ping between fragments is answered at once', async () => {
      const raw = await upgraded();
      const text = JSON.stringify(connect);
      raw.send(frame({ payload: text.slice(0, 5), fin: false }));
      raw.send(frame({ opcode: OPCODES.ping, payload: 'are you there?' }));
      const { opcode, payload } = await raw.nextFrame();
      assert.deepEqual([opcode, payload.toString()], [OPCODES.pong, 'are you there?']);
      raw.send(frame({ opcode: OPCODES.continuation, payload: text.slice(5) }));
      assert.equal((await raw.reply()).id, 1);
    });

    // --- commands --------------------------------------------------------------------------------

    const subscribe = (id, name, more = {}) => ({ id, subscribe: { channel: name, ...more } });

    const first = {
      'no JSON': ['{"id":1,', 3501],
      'JSON that is no command': ['[1,2,3]', 3501],
      'text behind a command': [`${JSON.stringify(connect)} and more`, 3501],
      'an unknown command': ['{"id":1,"dance":{}}', 3501],
      'no command': ['{"id":1}', 3501],
      'a wrongly typed id': ['{"id":"one","connect":{}}', 3501],
      'a wrongly typed command': ['{"id":1,"connect":[]}', 3501],
      'a wrongly typed field': ['{"id":1,"connect":{"token":7}}', 3501],
      'an id of 0': ['{"connect":{}}', 3501],
      'an id over 32 bits': ['{"id":4294967296,"connect":{}}', 3501],
      'an empty frame': ['', 3501],
      'an empty line': ['\n', 3501],
      'a subscription before connecting': [subscribe(1, 'plain:x'), 3501],
      'a pong before connecting': ['{}', 3501],
      'JSON nested a thousand deep': [`{"id":1,"connect":{"data":${'['.repeat(30_000)}`, 3501],
    };
    for (const [what, [sent, code]] of Object.entries(first)) {
      test(`command: ${what} gets ${code}`, async () => {
        const raw = await upgraded();
        raw.command(sent);
        assert.equal(await raw.closeCode(), code);
      });
    }

    const later = {
      'a second connect': [{ ...connect, id: 2 }, 3501],
      'a pong without a ping': ['{}', 3501],
      'a blank line between commands': ['{"id":2,"history":{"channel":"chat:x"}}\n\n{"id":3,"history":{}}', 3501],
      'bad JSON behind a good command': ['{"id":2,"presence":{"channel":"plain:x"}}\n{', 3501],
      'a ping': ['{"id":2,"ping":{}}', 3501],
      'a message to nobody': ['{"send":{"data":{}}}', 3508],
    };
    for (const [what, [sent, code]] of Object.entries(later)) {
      test(`command: ${what} gets ${code}`, async () => {
        const raw = await connected();
        raw.command(sent);
        assert.equal(await raw.closeCode(), code);
      });
    }

    const refused = {
      'a channel name of 256 bytes': [subscribe(2, `plain:${'x'.repeat(250)}`), 107],
      'a channel name out of ASCII': [subscribe(2, 'plain:ü'), 107],
      'a namespace that does not exist': [subscribe(2, 'nowhere:x'), 102],
      'a map subscription': [subscribe(2, 'plain:x', { type: 1 }), 108],
      'a shared-poll subscription': [subscribe(2, 'plain:x', { type: 4 }), 108],
      'a publication that is not allowed': [{ id: 2, publish: { channel: 'locked:x', data: {} } }, 103],
    };
    for (const [what, [sent, code]] of Object.entries(refused)) {
      test(`command: ${what} gets error ${code}, and the connection goes on`, async () => {
        const raw = await connected();
        raw.command(sent);
        assert.equal((await raw.reply(({ id }) => id === 2)).error.code, code);
        raw.command(subscribe(3, channel('plain')));
        assert.ok((await raw.reply(({ id }) => id === 3)).subscribe);
      });
    }

    test('command: the fourth channel of three gets error 106', async () => {
      const raw = await connected();
      for (const id of [2, 3, 4, 5]) raw.command(subscribe(id, channel('plain')));
      for (const id of [2, 3, 4]) assert.ok((await raw.reply((reply) => reply.id === id)).subscribe);
      assert.equal((await raw.reply(({ id }) => id === 5)).error.code, 106);
    });

    test('command: a Protobuf length over the limit gets 3501 before anything is allocated', async () => {
      for (const length of [65_537, 2 ** 31 - 1, 2 ** 32 - 1, 2 ** 53 - 1]) {
        const raw = await upgraded({ protocol: 'centrifuge-protobuf' });
        const before = hub.residentBytes();
        raw.send(frame({ opcode: OPCODES.binary, payload: Buffer.concat([varint(length), Buffer.from([8, 1])]) }));
        assert.equal(await raw.closeCode(), 3501, `a length of ${length}`);
        assert.ok(hub.residentBytes() - before < 16 * 1024 * 1024, 'memory grew by what was only declared');
      }
    });

    test('command: broken Protobuf gets 3501', async () => {
      const broken = ['ff'.repeat(11), '05ffffffffff', '020803', '00', '0408011a00', ''];
      for (const hex of broken) {
        const raw = await upgraded({ protocol: 'centrifuge-protobuf' });
        raw.send(frame({ opcode: OPCODES.binary, payload: Buffer.from(hex, 'hex') }));
        assert.equal(await raw.closeCode(), 3501, hex);
      }
    });

    // --- time ------------------------------------------------------------------------------------

    test('time: no connect command gets 3502', async () => {
      const raw = await upgraded();
      assert.equal(await raw.closeCode(), 3502);
    });

    test('time: no pong gets 3012', async () => {
      const raw = await connected();
      assert.equal(await raw.closeCode(), 3012);
    });

    // --- rude ends -------------------------------------------------------------------------------

    test('end: half a frame, then nothing', async () => {
      const raw = await connected();
      raw.send(frame({ payload: 'x'.repeat(1_000) }).subarray(0, 100));
      raw.socket.resetAndDestroy();
    });

    test('end: a thousand connections that come and go', async () => {
      for (let round = 0; round < 10; round++) {
        const raws = await Promise.all(Array.from({ length: 100 }, () => RawSocket.upgraded(hub.port)));
        for (const [n, raw] of raws.entries()) {
          if (n % 3 === 0) raw.command(connect);
          if (n % 3 === 1) raw.socket.end();
          else raw.socket.resetAndDestroy();
        }
      }
    });
  });
}

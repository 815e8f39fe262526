// Tricks: single inputs that have broken others of this class. docs/security.md names each.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';

import { Person, inSeconds, token } from './clients.mjs';
import { apiKey, configure, hmacSecret } from './harness.mjs';
import { OPCODES, frame, head, varint } from './raw.mjs';
import { MIB, Siege, connect, pump } from './siege.mjs';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' });

const config = configure({
  client: { allowed_origins: ['https://our.example', 'https://*.our.example', 'http://localhost:*'] },
  token: { rsa_public_key: publicPem },
  websocket: { compression: true },
});

describe('tricks', { timeout: 120_000 }, () => {
  let siege;
  before(async () => (siege = await Siege.lay({ config })));
  after(() => siege?.lift());

  /** Sends each of `heads` on a connection of its own; gives what came back until it was closed. */
  const answered = async (text) => {
    const raw = await siege.dial();
    let answer = '';
    raw.socket.on('data', (data) => (answer += data.toString('latin1')));
    await pump(raw, text, 1);
    raw.socket.end();
    await raw.closed();
    return answer;
  };
  const statuses = (answer) => [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

  // --- the head --------------------------------------------------------------------------------------

  test('twenty thousand fields of one name', () =>
    siege.endure(async () => {
      for (const field of ['X: y\r\n', 'Cookie: a=b\r\n', 'Sec-WebSocket-Protocol: x\r\n', 'Origin: \r\n']) {
        const text = head().slice(0, -2) + field.repeat(20_000) + '\r\n';
        const [status] = statuses(await answered(text));
        // A reset takes the answer with it: most of the head was never read.
        assert.ok([400, 431, undefined].includes(status), `${field}: ${status}`);
      }
    }));

  test('heads that are one request for some and two for others', () =>
    siege.endure(async () => {
      const second = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n';
      const post = (fields, body) => `POST /api/info HTTP/1.1\r\nHost: a\r\nX-API-Key: wrong\r\n${fields}\r\n${body}`;
      const upgrade = (fields) => head().slice(0, -2) + `${fields}\r\n`;
      const refused = {
        'two lengths': post(`Content-Length: 2\r\nContent-Length: ${second.length}\r\n`, second),
        'a list of lengths': post(`Content-Length: 2, ${second.length}\r\n`, second),
        'a length with a sign': post('Content-Length: +2\r\n', `{}${second}`),
        'a negative length': post('Content-Length: -1\r\n', second),
        'a length in hexadecimal': post('Content-Length: 0x2\r\n', `{}${second}`),
        'a length beyond 64 bits': post('Content-Length: 18446744073709551618\r\n', `{}${second}`),
        'an encoding nobody knows': post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${second}`),
        'chunked, but not last': post('Transfer-Encoding: chunked, identity\r\n', `0\r\n\r\n${second}`),
        'a chunk size with a sign': post('Transfer-Encoding: chunked\r\n', `+2\r\n{}\r\n0\r\n\r\n${second}`),
        'a chunk size beyond 64 bits': post('Transfer-Encoding: chunked\r\n', `10000000000000002\r\n{}\r\n0\r\n\r\n${second}`),
        'a space before the colon': post('Content-Length : 2\r\n', `{}${second}`),
        'a folded line': post('X: a\r\n Content-Length: 2\r\n', `{}${second}`),
        'a NUL in a field': post('X: a\0b\r\nContent-Length: 2\r\n', `{}${second}`),
        'a bare CR in a field': post('X: a\rContent-Length: 2\r\n', `{}${second}`),
      };
      for (const [what, text] of Object.entries(refused)) {
        const answers = statuses(await answered(text));
        assert.ok(answers.length <= 1 && answers.every((status) => status >= 400), `${what}: ${answers}`);
      }
      const bodies = {
        'an upgrade with a length': upgrade(`Content-Length: ${second.length}\r\n`) + second,
        'an upgrade with chunks': upgrade('Transfer-Encoding: chunked\r\n') + `0\r\n\r\n${second}`,
        'an upgrade with both': upgrade('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n') + `0\r\n\r\n${second}`,
      };
      for (const [what, text] of Object.entries(bodies)) {
        const answers = statuses(await answered(text));
        assert.ok(!answers.includes(101) && answers[0] >= 400, `${what}: ${answers}`);
      }
      // RFC 9112, section 6.1: chunked wins over a length, and the connection is closed behind it.
      const both = post('Content-Length: 7\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${second}`);
      const answers = statuses(await answered(both));
      assert.ok(answers[0] >= 400 && !answers.slice(1).includes(200), `both a length and chunks: ${answers}`);
      // Behind a granted upgrade there are frames, whatever they look like: no request is answered.
      assert.deepEqual(statuses(await answered(head() + second)), [101]);
    }));

  test('lists of extensions and protocols that took others long', () =>
    siege.endure(async () => {
      const extensions = [
        'constructor',
        '__proto__; toString',
        `permessage-deflate; ${'x; '.repeat(4_000)}`,
        `permessage-deflate; x="${'\\\\'.repeat(3_000)}"`,
        `permessage-deflate; x="${'\\'.repeat(6_001)}`,
        'permessage-deflate; server_max_window_bits=99999999999999999999',
        'permessage-deflate; server_max_window_bits=-1',
        'permessage-deflate; client_max_window_bits=7',
        'permessage-deflate; server_max_window_bits=8; server_max_window_bits=9',
        ','.repeat(12_000),
      ];
      const protocols = [`x${' '.repeat(12_000)}`, ','.repeat(12_000), `${'a,'.repeat(6_000)}`, '"'];
      const fields = [
        ...extensions.map((value) => ({ 'Sec-WebSocket-Extensions': value })),
        ...protocols.map((value) => ({ 'Sec-WebSocket-Protocol': value })),
      ];
      const begun = siege.cpuMs();
      for (const field of fields) {
        const raw = await siege.dial();
        raw.send(head({ fields: field }));
        const { status, fields: granted } = await raw.answer();
        assert.ok([101, 400, 431].includes(status), JSON.stringify(field).slice(0, 80));
        assert.equal(granted['sec-websocket-extensions'], undefined, JSON.stringify(field).slice(0, 80));
      }
      assert.ok(siege.cpuMs() - begun < 500);
    }));

  test('origins that look like ours', () =>
    siege.endure(async () => {
      const status = async (fields) => {
        const raw = await siege.dial();
        raw.send(head({ fields }));
        return (await raw.answer()).status;
      };
      const foreign = [
        'https://our.example.their.example',
        'https://their.example/https://our.example',
        'https://ourXexample',
        'https://xour.example',
        'https://our.example:8443',
        'http://our.example',
        'https://app.our.example.their.example',
        'http://localhost',
        'http://localhost.their.example:80',
        'https://our.example\u00e9',
        'null',
        'file://',
        ' ',
      ];
      for (const origin of foreign) assert.equal(await status({ Origin: origin }), 403, origin);
      for (const origin of ['https://our.example', 'HTTPS://App.Our.Example', 'http://localhost:5173']) {
        assert.equal(await status({ Origin: origin }), 101, origin);
      }
      const two = await siege.dial();
      two.send(head({ fields: { Origin: 'https://our.example' } }).slice(0, -2) + 'Origin: https://their.example\r\n\r\n');
      assert.equal((await two.answer()).status, 403, 'one of two origins is foreign');
    }));

  // --- frames ------------------------------------------------------------------------------------------

  test('lengths that overflow, alone and together', () =>
    siege.endure(
      async () => {
        const declares = (length, options = {}) => {
          const bytes = Buffer.alloc(14);
          bytes.set([(options.fin === false ? 0 : 0x80) | (options.opcode ?? OPCODES.text), 0x80 | 127]);
          bytes.writeBigUInt64BE(length, 2);
          return bytes;
        };
        const later = { opcode: OPCODES.continuation };
        const start = frame({ payload: 'x', fin: false });
        const cases = [
          [[declares(2n ** 64n - 1n)], 1002],
          [[declares(2n ** 63n)], 1002],
          [[declares(2n ** 63n - 1n)], 1009],
          [[declares(2n ** 32n)], 1009],
          [[start, declares(2n ** 63n - 1n, later)], 1009],
          [[start, declares(2n ** 64n - 1n, later)], 1002],
          [[start, declares(65_536n, later)], 1009],
          // Lengths that had a shorter form.
          [[declares(5n)], 1002],
        ];
        for (const [bytes, code] of cases) {
          const raw = await siege.upgraded();
          raw.send(Buffer.concat(bytes));
          assert.equal(await raw.closeCode(), code);
        }
      },
      { memory: 16 * MIB },
    ));

  test('several pongs for one ping', () =>
    siege.endure(async () => {
      const raw = await siege.connected();
      const pong = frame({ opcode: OPCODES.pong });
      raw.send(Buffer.concat([pong, pong, pong]));
      raw.command('{}\n{}');
      assert.equal(await raw.closeCode(), 3501, 'no ping was sent yet');
    }));

  test('a reset in the middle of a frame', () =>
    siege.endure(async () => {
      for (let cut = 1; cut < 40; cut += 3) {
        const raw = await siege.connected();
        const bytes = frame({ payload: JSON.stringify({ id: 2, publish: { channel: 'plain:square', data: 'cut' } }) });
        raw.socket.write(bytes.subarray(0, cut), () => raw.socket.resetAndDestroy());
      }
    }));

  // --- commands ----------------------------------------------------------------------------------------

  test('deep nesting, in JSON and in Protobuf', () =>
    siege.endure(async () => {
      const open = '['.repeat(30_000);
      const deep = `${open}${']'.repeat(30_000)}`;
      // Data is passed on as it is: nobody here goes down into it.
      const raw = await siege.connected();
      raw.command(`{"id":2,"publish":{"channel":"plain:deep","data":${deep}}}`);
      assert.ok((await raw.reply(({ id }) => id === 2)).publish);
      for (const text of [`{"id":3,"publish":${deep}}`, `{"id":3,"x":${deep}}`, `${deep}`, open, '{"a":'.repeat(12_000)]) {
        const bad = await siege.connected();
        bad.command(text);
        assert.equal(await bad.closeCode(), 3501, text.slice(0, 20));
      }

      const start = hello();
      const nested = (depth, wrap) => Array.from({ length: depth }).reduce(wrap, Buffer.alloc(0));
      // An unknown field (99) as groups, which open and close, and as messages within messages.
      const [begin, end, field] = [varint((99 << 3) | 3), varint((99 << 3) | 4), varint((99 << 3) | 2)];
      const groups = nested(5_000, (inner) => Buffer.concat([begin, inner, end]));
      const messages = nested(2_000, (inner) => Buffer.concat([field, varint(inner.length), inner]));
      const opened = Buffer.concat(Array.from({ length: 10_000 }, () => begin));
      for (const command of [groups, messages, opened]) {
        const bad = await siege.upgraded({ protocol: 'centrifuge-protobuf' });
        bad.send(start);
        const bytes = Buffer.concat([varint(command.length), command]);
        bad.send(frame({ opcode: OPCODES.binary, payload: bytes }));
        assert.equal(await bad.closeCode(), 3501);
      }
    }));

  test('names that are members of every object', () =>
    siege.endure(async () => {
      for (const name of ['__proto__', 'constructor', 'hasOwnProperty', 'toString']) {
        const options = { token: token({ sub: name, info: JSON.parse('{"__proto__":{"admin":true}}') }) };
        const person = new Person(siege.hub.socketUrl, 'json', options);
        await person.connected;
        const place = await person.join(`chat:${name}`);
        await siege.hub.ask('publish', { channel: `chat:${name}`, data: name, tags: { constructor: 'x' } });
        await place.sees(name);
        const { clients } = await place.sub.presence();
        assert.equal(clients[person.id].user, name);
        assert.equal({}.admin, undefined);
        const { presence } = await siege.hub.ask('presence', { channel: `chat:${name}` });
        assert.deepEqual(Object.keys(presence), [person.id]);
        person.leave();
      }
    }));

  test('types that are not those of the field', () =>
    siege.endure(async () => {
      const values = ['null', '[]', '{}', 'true', '7', '-1', '1e3', '1.5', '"\\u0000"', '"\\ud800"', '{"length":1}'];
      const fields = (value) => [
        `{"id":${value},"presence":{"channel":"chat:x"}}`,
        `{"id":2,"presence":${value}}`,
        `{"id":2,"presence":{"channel":${value}}}`,
        `{"id":2,"subscribe":{"channel":"plain:types","offset":${value}}}`,
        `{"id":2,"subscribe":{"channel":"plain:types","epoch":${value}}}`,
        `{"id":2,"subscribe":{"channel":"plain:types","recover":${value}}}`,
        `{"id":2,"history":{"channel":"chat:x","since":${value}}}`,
        `{"id":2,"history":{"channel":"chat:x","limit":${value}}}`,
        `{"id":2,"rpc":{"method":${value},"data":${value}}}`,
        `{"id":2,"presence":{"channel":"chat:x"},"history":${value}}`,
      ];
      // Each is answered, or closed with 3501 (3508 where it asks for what there is not): never silence.
      const judge = async (text) => {
        const raw = await siege.connected();
        raw.command(`${text}\n{"id":9,"presence_stats":{"channel":"chat:x"}}`);
        const end = await raw.reply(({ id }) => id === 9).catch(({ message }) => message);
        assert.ok(end.presence_stats || /^closed with 350[18] /.test(end), `${text}: ${end}`);
      };
      for (const value of values) await Promise.all(fields(value).map(judge));
    }));

  // --- tokens ------------------------------------------------------------------------------------------

  test('tokens that choose their own key', () =>
    siege.endure(async () => {
      // Whoever asks for a key at the address in a token is heard here.
      const listener = net.createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
      await once(listener, 'listening');
      let asked = 0;
      listener.on('connection', () => (asked += 1));
      const there = `http://127.0.0.1:${listener.address().port}/jwks`;

      const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
      const forge = (header, claims, key = 'another secret') => {
        const text = `${part(header)}.${part(claims)}`;
        return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
      };
      const claims = { sub: 'admin', exp: inSeconds(60) };
      const jwk = { kty: 'oct', k: part('another secret'), kid: 'mine' };
      const good = token(claims);
      const [header, body, signature] = good.split('.');
      const forged = {
        'no algorithm': `${part({ alg: 'none' })}.${body}.`,
        'no algorithm, otherwise spelt': `${part({ alg: 'nOnE' })}.${body}.${signature}`,
        'no signature': `${header}.${body}.`,
        'two parts': `${header}.${body}`,
        'five parts': `${good}.${body}.${signature}`,
        'the public key as the secret': forge({ alg: 'HS256' }, claims, publicPem),
        'the public key as the secret, trimmed': forge({ alg: 'HS256' }, claims, publicPem.trim()),
        'the secret under the name of RSA': forge({ alg: 'RS256' }, claims, hmacSecret),
        'an empty secret': forge({ alg: 'HS256' }, claims, ''),
        'a kid that is a path': forge({ alg: 'HS256', kid: '../../../../dev/null' }, claims, ''),
        'a kid that is a query': forge({ alg: 'HS256', kid: "x' UNION SELECT 'another secret" }, claims),
        'a kid that is an address': forge({ alg: 'HS256', kid: there }, claims),
        'a key beside it': forge({ alg: 'HS256', jwk }, claims),
        'the address of a key': forge({ alg: 'HS256', jku: there }, claims),
        'the address of a certificate': forge({ alg: 'RS256', x5u: there }, claims),
        'an issuer that is an address': forge({ alg: 'RS256', kid: 'x' }, { ...claims, iss: there, aud: there }),
        'critical extensions': forge({ alg: 'HS256', crit: ['b64'], b64: false }, claims, hmacSecret),
        'two algorithms': `${part('{"alg":"HS256","alg":"none"}')}.${body}.${signature}`,
        'other claims': `${header}.${part({ ...claims, sub: 'root' })}.${signature}`,
        'padding': `${header}=.${body}=.${signature}=`,
        'a line break': `${header}.${body}.\n${signature}`,
        'sixty thousand bytes': 'x'.repeat(60_000),
        'sixty thousand dots': '.'.repeat(60_000),
        'a subscription token': token({ ...claims, channel: 'plain:square' }),
        'claims of wrong types': token({ sub: ['admin'], exp: 'never' }),
        'no claims but a list': token([]),
      };
      for (const [what, text] of Object.entries(forged)) {
        const raw = await siege.upgraded();
        raw.command({ id: 1, connect: { token: text } });
        assert.equal(await raw.closeCode(), 3500, what);
      }
      const expired = [{ exp: inSeconds(-1) }, { exp: 0 }, { exp: -1 }, { exp: 1.5 }, { nbf: inSeconds(60) }];
      for (const time of expired) {
        const raw = await siege.upgraded();
        raw.command({ id: 1, connect: { token: token({ sub: 'admin', ...time }) } });
        assert.equal((await raw.reply()).error.code, 109, JSON.stringify(time));
      }
      // Nor does a good connection become another's by a refresh.
      const raw = await siege.connected();
      raw.command({ id: 2, refresh: { token: token({ sub: 'admin', exp: inSeconds(60) }) } });
      assert.equal(await raw.closeCode(), 3500);
      assert.equal(asked, 0, 'the hub asked an address that stood in a token');
      listener.close();
    }));

  // --- the server API ----------------------------------------------------------------------------------

  test('keys and methods of the server API', () =>
    siege.endure(async () => {
      const ask = async (options) => (await fetch(siege.hub.url(options.path ?? '/api/info'), options)).status;
      const key = { 'X-API-Key': apiKey };
      const body = '{}';
      assert.equal(await ask({ method: 'POST', headers: key, body }), 200);
      const wrong = ['', ' ', apiKey.slice(0, -1), `${apiKey}x`, apiKey.toUpperCase(), `${apiKey},${apiKey}`, '*', 'null'];
      for (const text of wrong) {
        assert.equal(await ask({ method: 'POST', headers: { 'X-API-Key': text }, body }), 401, text);
        assert.equal(await ask({ method: 'POST', headers: { Authorization: `Bearer ${text}` }, body }), 401, text);
        assert.equal(await ask({ method: 'POST', path: `/api/info?api_key=${encodeURIComponent(text)}`, body }), 401, text);
      }
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const status = await ask({ method, headers: key });
        assert.ok([404, 405].includes(status), `${method}: ${status}`);
      }
      for (const path of ['/api/../api/info', '/api//info', '/API/info', '/api/info/', '/api/info%2f', '/api/info%00']) {
        const status = await ask({ method: 'POST', path, body });
        assert.ok([401, 404, 405].includes(status), `${path} without a key: ${status}`);
      }
    }));

  test('bodies of the server API that are no requests', () =>
    siege.endure(async () => {
      const send = (text, method = 'publish') => siege.hub.call(method, null, { text });
      const deep = '['.repeat(100_000);
      const bad = ['', '{', '[]', 'null', '"x"', deep, `{"channel":"plain:square","data":${deep}}`, '{"channel":["a"],"data":1}'];
      for (const text of bad) {
        const { status, body } = await send(text);
        assert.ok(status === 400 || body.error?.code === 107, `${text.slice(0, 40)}: ${status} ${JSON.stringify(body)}`);
      }
      assert.equal((await send(' '.repeat(4 * MIB + 1))).status, 413);
      // A body that never comes holds nobody up.
      const raw = await siege.dial();
      raw.send('POST /api/info HTTP/1.1\r\nHost: a\r\nContent-Length: 4194304\r\n\r\n{');
    }));
});

/** A connect command as Protobuf: id 1, connect with the token. */
function hello() {
  const text = Buffer.from(connect.connect.token);
  const request = Buffer.concat([Buffer.from([0x0a]), varint(text.length), text]);
  const command = Buffer.concat([Buffer.from([0x08, 0x01, 0x22]), varint(request.length), request]);
  return frame({ opcode: OPCODES.binary, payload: Buffer.concat([varint(command.length), command]) });
}

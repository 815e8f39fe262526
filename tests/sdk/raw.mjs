// A WebSocket client that is allowed to be wrong: heads and frames byte by byte.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

import { within } from './harness.mjs';

export const OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** The fields of a head that a hub accepts. */
export const goodFields = () => ({
  Host: '127.0.0.1',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  'Sec-WebSocket-Version': '13',
});

/** The text of a head. A field whose value is `undefined` is left out. */
export function head({ line = 'GET /connection/websocket HTTP/1.1', fields = {} } = {}) {
  const all = Object.entries({ ...goodFields(), ...fields }).filter(([, value]) => value !== undefined);
  return `${line}\r\n${all.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

/** One frame as a client sends it, unless told otherwise. */
export function frame({ opcode = OPCODES.text, payload = '', fin = true, rsv = 0, masked = true, declared } = {}) {
  const body = Buffer.from(payload);
  const length = declared ?? body.length;
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const mask = masked ? 0x80 : 0;
  let start;
  if (length < 126) {
    start = Buffer.from([first, mask | length]);
  } else if (length < 65_536) {
    start = Buffer.from([first, mask | 126, length >> 8, length & 0xff]);
  } else {
    start = Buffer.alloc(10);
    start.set([first, mask | 127]);
    start.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!masked) return Buffer.concat([start, body]);
  const key = randomBytes(4);
  return Buffer.concat([start, key, body.map((byte, n) => byte ^ key[n % 4])]);
}

/** A close frame's payload. */
export function closing(code, reason = '') {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  return Buffer.concat([payload, Buffer.from(reason)]);
}

/** A socket of bytes, with what came back. */
export class RawSocket {
  #bytes = Buffer.alloc(0);
  #changed = () => {};
  #replies = [];
  ended = false;

  static async open(port) {
    const raw = new RawSocket();
    raw.socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    raw.socket.on('data', (data) => {
      raw.#bytes = Buffer.concat([raw.#bytes, data]);
      raw.#changed();
    });
    // A reset is an end, too: the hub may not wait for what it will not read.
    raw.socket.on('error', () => {});
    for (const event of ['end', 'close']) {
      raw.socket.on(event, () => {
        raw.ended = true;
        raw.#changed();
      });
    }
    await within(once(raw.socket, 'connect'), 'a TCP connection');
    return raw;
  }

  /** Opens, upgrades and checks the answer. */
  static async upgraded(port, { protocol, after = [] } = {}) {
    const raw = await RawSocket.open(port);
    const fields = { ...goodFields(), 'Sec-WebSocket-Protocol': protocol };
    // Frames in `after` travel in the same segment as the head.
    raw.send(Buffer.concat([Buffer.from(head({ fields })), ...after]));
    const answer = await raw.answer();
    const accept = createHash('sha1').update(`${fields['Sec-WebSocket-Key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`);
    if (answer.status !== 101) throw new Error(`the upgrade was answered ${answer.status}`);
    if (answer.fields['sec-websocket-accept'] !== accept.digest('base64')) throw new Error('a wrong accept key');
    if (answer.fields['sec-websocket-protocol'] !== protocol) throw new Error('another subprotocol');
    return raw;
  }

  /** A member of `channel` that reads no more. */
  static async stopped(port, { token, channel }) {
    const raw = await RawSocket.upgraded(port);
    raw.command({ id: 1, connect: { token } });
    await raw.reply();
    raw.command({ id: 2, subscribe: { channel } });
    await raw.reply(({ id }) => id === 2);
    raw.socket.pause();
    return raw;
  }

  send(bytes) {
    this.socket.write(bytes);
  }

  /** Sends a JSON command as a text frame. */
  command(value) {
    this.send(frame({ payload: typeof value === 'string' ? value : JSON.stringify(value) }));
  }

  /** Resolves with what `read` makes of the bytes so far, as soon as that is not `undefined`. */
  #take(read, what, ms) {
    const taken = new Promise((resolve, reject) => {
      this.#changed = () => {
        const value = read();
        if (value !== undefined) resolve(value);
        else if (this.ended) reject(new Error(`the hub closed, before ${what}`));
      };
      this.#changed();
    });
    return within(taken, what, ms);
  }

  /** The answer to a head: its status and fields. The bytes after it stay. */
  answer() {
    return this.#take(() => {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      const [line, ...rest] = this.#bytes.toString('latin1', 0, end).split('\r\n');
      this.#bytes = this.#bytes.subarray(end + 4);
      const fields = rest.map((field) => field.split(/:\s*/, 2)).map(([name, value]) => [name.toLowerCase(), value]);
      return { status: Number(line.split(' ')[1]), fields: Object.fromEntries(fields) };
    }, 'an answer to the head');
  }

  /** The next frame of the hub: `{opcode, payload}`. */
  nextFrame(ms) {
    return this.#take(() => {
      const bytes = this.#bytes;
      if (bytes.length < 2) return undefined;
      if (bytes[1] & 0x80) throw new Error('the hub masked a frame');
      let length = bytes[1] & 0x7f;
      let at = 2;
      if (length === 126 && bytes.length >= 4) {
        length = bytes.readUInt16BE(2);
        at = 4;
      } else if (length === 127 && bytes.length >= 10) {
        length = Number(bytes.readBigUInt64BE(2));
        at = 10;
      } else if (length > 125) {
        return undefined;
      }
      if (bytes.length < at + length) return undefined;
      const payload = Buffer.from(bytes.subarray(at, at + length));
      this.#bytes = bytes.subarray(at + length);
      return { opcode: bytes[0] & 0x0f, payload };
    }, 'a frame', ms);
  }

  /** The next JSON reply or push that `wanted` accepts; the others are dropped. Pings are answered. */
  reply(wanted = () => true) {
    const read = async () => {
      for (;;) {
        while (this.#replies.length === 0) await this.#readReplies();
        const value = this.#replies.shift();
        if (Object.keys(value).length === 0) this.command('{}');
        else if (wanted(value)) return value;
      }
    };
    return within(read(), 'a reply');
  }

  async #readReplies() {
    const { opcode, payload } = await this.nextFrame();
    if (opcode === OPCODES.close) throw new Error(`closed with ${payload.readUInt16BE()} before the reply`);
    const lines = payload.toString().trimEnd().split('\n');
    this.#replies.push(...lines.map((line) => JSON.parse(line)));
  }

  /** The code of the close frame, past everything before it. */
  async closeCode(ms) {
    for (;;) {
      const { opcode, payload } = await this.nextFrame(ms);
      if (opcode !== OPCODES.close) continue;
      const code = payload.length >= 2 ? payload.readUInt16BE() : undefined;
      // Without a text beside it, SDKs take any code for leave to come back.
      if (code >= 3000 && payload.length === 2) throw new Error(`${code} came without its reason`);
      return code;
    }
  }

  /** Resolves when the hub has closed. */
  closed(ms) {
    return this.#take(() => (this.ended ? true : undefined), 'the hub to close', ms);
  }

  destroy() {
    this.socket.destroy();
  }
}

/** An unsigned varint, as Protobuf writes it. */
export function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

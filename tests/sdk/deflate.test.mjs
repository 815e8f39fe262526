// Compression: the official SDK on a socket that offers permessage-deflate.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';

import WebSocket from 'ws';

import { channel, everywhere } from './clients.mjs';
import { configure } from './harness.mjs';
import { OPCODES, RawSocket, frame, head } from './raw.mjs';

/** A socket class that offers compression with these options, and remembers its sockets. */
function offering(perMessageDeflate) {
  return class extends WebSocket {
    static sockets = [];

    constructor(url, protocols) {
      super(url, protocols, { perMessageDeflate });
      this.constructor.sockets.push(this);
    }
  };
}

const config = configure({ websocket: { compression: true } });
const story = (n) => ({ n, text: 'the quick brown fox jumps over the lazy dog, '.repeat(20) });

everywhere('compression', (world) => {
  test('publications are compressed once for all who read them', async () => {
    // Everything is compressed on the way to the hub, too.
    const Wide = offering({ threshold: 0 });
    const Narrow = offering({ threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 });
    const Plain = offering(false);
    const room = channel('chat');
    const places = [];
    for (const websocket of [Wide, Wide, Wide, Narrow, Narrow, Plain]) {
      const person = await world.enter('reader', { websocket });
      places.push(await person.join(room));
    }
    const parameters = (socket) => socket._extensions['permessage-deflate']?.params;
    for (const socket of [...Wide.sockets, ...Narrow.sockets]) {
      assert.equal(socket.extensions, 'permessage-deflate');
      assert.ok(parameters(socket).server_no_context_takeover && parameters(socket).client_no_context_takeover);
    }
    assert.deepEqual(Narrow.sockets.map((socket) => parameters(socket).server_max_window_bits), [9, 9]);
    assert.equal(Plain.sockets[0].extensions, '');

    const [writer] = places;
    await writer.publish(story(0));
    await Promise.all(places.map((place) => place.until(() => place.received.length === 1, 'a story')));
    const count = (name, labels) => world.hub.metric(name, labels);
    const before = await count('fanfare_deflated_messages_total');
    const stories = 20;
    // Nobody is answered anything meanwhile.
    for (let n = 1; n <= stories; n++) {
      await world.hub.ask('publish', world.encoding === 'json'
        ? { channel: room, data: story(n) }
        : { channel: room, b64data: Buffer.from(JSON.stringify(story(n))).toString('base64') });
    }
    await Promise.all(places.map((place) => place.until(() => place.received.length > stories, 'all stories')));
    for (const place of places) {
      assert.deepEqual(place.values, Array.from({ length: stories + 1 }, (_, n) => story(n)));
      place.assertNoGap();
    }
    assert.equal((await count('fanfare_deflated_messages_total')) - before, stories * 2, 'once for each window');
    const [sent, became] = [
      await count('fanfare_deflate_bytes_total', 'kind="before"'),
      await count('fanfare_deflate_bytes_total', 'kind="after"'),
    ];
    assert.ok(became * 4 < sent, `${sent} bytes became ${became}`);
    assert.ok((await count('fanfare_inflated_messages_total')) > 0);
    assert.ok((await count('fanfare_connections_compressed_total')) >= 5);
  });

  test('large payloads go both ways', async () => {
    const person = await world.enter('writer', { websocket: offering({ threshold: 0 }) });
    const place = await person.join(channel('chat'));
    // More than a message may have as it arrives, which compressed it does not.
    const payloads = ['', 'x'.repeat(200_000), 'ünï ☃ 😀'.repeat(1000), { a: [1, 2, 3] }];
    for (const payload of payloads) await place.publish(payload);
    await place.until(() => place.received.length === payloads.length, 'all of them');
    assert.deepEqual(place.values, payloads);
  });

  test('a bomb is closed with 1009, and the hub goes on', async () => {
    const raw = await RawSocket.open(world.hub.port);
    raw.send(head({ fields: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } }));
    const { fields } = await raw.answer();
    assert.match(fields['sec-websocket-extensions'], /^permessage-deflate/);
    const before = world.hub.residentBytes();
    const bomb = deflateRawSync(Buffer.alloc(50 * 1024 * 1024), { finishFlush: 2 }).subarray(0, -4);
    raw.send(frame({ opcode: OPCODES.text, rsv: 4, payload: bomb }));
    assert.equal(await raw.closeCode(), 1009);
    assert.ok(world.hub.residentBytes() - before < 8 * 1024 * 1024, 'memory did not follow the bomb');
    const place = await (await world.enter('ann')).join(channel('chat'));
    await place.publish('still here');
    await place.sees('still here');
  });
}, { config });

// Real clients of the official SDK, in both encodings, and what tests ask of them.

import assert from 'node:assert/strict';
import { constants, createHmac, randomUUID, sign } from 'node:crypto';
import { after, afterEach, before, describe } from 'node:test';

import { Centrifuge as JsonClient, UnauthorizedError as JsonUnauthorized } from 'centrifuge';
import { Centrifuge as ProtobufClient, UnauthorizedError as ProtobufUnauthorized } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

import { Hub, configure, hmacSecret, within } from './harness.mjs';

const SHARD_COUNTS = [1, 4];

/** How each encoding carries a payload: JSON clients see values, Protobuf clients see bytes. */
export const encodings = {
  json: { Client: JsonClient, UnauthorizedError: JsonUnauthorized, pack: (value) => value, unpack: (data) => data },
  protobuf: {
    Client: ProtobufClient,
    UnauthorizedError: ProtobufUnauthorized,
    pack: (value) => new TextEncoder().encode(JSON.stringify(value)),
    unpack: (data) => data && JSON.parse(new TextDecoder().decode(data)),
  },
};

/** A signed token. `key` is the HMAC secret, or a private key for the other algorithms. */
export function token(claims, { alg = 'HS256', key = hmacSecret, kid } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg, typ: 'JWT', kid })}.${part(claims)}`;
  return `${text}.${signatureOf(Buffer.from(text), alg, key).toString('base64url')}`;
}

function signatureOf(text, alg, key) {
  const hash = `sha${alg.slice(2)}`;
  const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_DIGEST: saltLength } = constants;
  switch (alg.slice(0, 2)) {
    case 'HS':
      return createHmac(hash, key).update(text).digest();
    case 'RS':
      return sign(hash, text, key);
    case 'PS':
      return sign(hash, text, { key, padding, saltLength });
    case 'ES':
      return sign(hash, text, { key, dsaEncoding: 'ieee-p1363' });
    default:
      return sign(null, text, key);
  }
}

export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/** Resolves with the next `event` of an SDK object. */
export function next(emitter, event, ms) {
  return within(new Promise((resolve) => emitter.once(event, resolve)), `the event '${event}'`, ms);
}

/** One person at one hub. */
export class Person {
  /** `watch` is given the client before it connects. */
  constructor(url, encoding, { watch = () => {}, ...options } = {}) {
    const { Client, pack, unpack } = encodings[encoding];
    this.pack = pack;
    this.unpack = unpack;
    this.client = new Client(url, {
      websocket: WebSocket,
      minReconnectDelay: 20,
      maxReconnectDelay: 200,
      ...options,
    });
    this.connected = next(this.client, 'connected');
    // Tests of refused connections never look at it.
    this.connected.catch(() => {});
    this.client.on('connected', ({ client }) => (this.id = client));
    watch(this.client);
    this.client.connect();
  }

  /** Subscribes, and waits until the hub has said yes. */
  async join(channel, options = {}) {
    const place = this.place(channel, options);
    place.sub.subscribe();
    await within(place.sub.ready(), `the subscription to ${channel}`);
    return place;
  }

  /** A subscription that is not asked for yet. */
  place(channel, options = {}) {
    return new Place(this, this.client.newSubscription(channel, options));
  }

  publish(channel, value) {
    return this.client.publish(channel, this.pack(value));
  }

  leave() {
    this.client.disconnect();
  }
}

/** One subscription, with everything that came through it, in order. */
export class Place {
  /** `{value, offset, publisher}` of each publication. */
  received = [];
  joins = [];
  leaves = [];
  #waiting = new Set();

  constructor(person, sub) {
    this.sub = sub;
    this.person = person;
    const note = (list) => (value) => {
      list.push(value);
      for (const look of this.#waiting) look();
    };
    const publication = note(this.received);
    sub.on('publication', ({ data, offset, info, tags }) =>
      publication({ value: person.unpack(data), offset, publisher: info?.client, tags }),
    );
    sub.on('join', note(this.joins));
    sub.on('leave', note(this.leaves));
  }

  get values() {
    return this.received.map(({ value }) => value);
  }

  /** Resolves once `condition` holds; it is asked again whenever something arrives. */
  until(condition, what) {
    const arrived = new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
    return within(arrived, what).catch((error) => {
      throw new Error(`${error.message}; so far: ${JSON.stringify(this.values).slice(0, 2000)}`);
    });
  }

  /** Resolves once `value` has arrived: then nothing sent before it is still on the way. */
  sees(value) {
    return this.until(() => this.values.includes(value), `'${value}' in ${this.sub.channel}`);
  }

  publish(value) {
    return this.sub.publish(this.person.pack(value));
  }

  /** Offsets are consecutive: nothing lost, doubled or out of order. */
  assertNoGap() {
    const offsets = this.received.map(({ offset }) => offset);
    assert.deepEqual(offsets, offsets.map((_, index) => offsets[0] + index), 'offsets have a gap');
  }
}

/** A channel that no other test uses. */
export const channel = (namespace) => `${namespace}:${randomUUID()}`;

/** What an SDK promise was refused with. */
export async function refusal(promise) {
  try {
    await within(promise, 'a refusal');
  } catch (error) {
    if (error.code === undefined) throw error;
    return error.code;
  }
  throw new Error('it was allowed');
}

/**
 * Runs `tests` for one and four shards, and for both encodings, each time against a hub of its own.
 * They are given a world: `hub`, `encoding` and its `pack`, and `enter(user)`, which connects a person.
 */
export function everywhere(title, tests, { config = configure() } = {}) {
  for (const shards of SHARD_COUNTS) {
    describe(`${title}, shards: ${shards}`, { timeout: 180_000 }, () => {
      const world = { shards };
      before(async () => {
        world.hub = await Hub.start({ config, shards });
      });
      after(() => world.hub?.stop());
      for (const encoding of Object.keys(encodings)) {
        describe(encoding, () => {
          let people = [];
          afterEach(() => {
            for (const person of people) person.leave();
            people = [];
          });
          const enter = async (user, { url, ...options } = {}) => {
            const person = new Person(url ?? world.hub.socketUrl, encoding, {
              token: token({ sub: user }),
              ...options,
            });
            people.push(person);
            await person.connected;
            return person;
          };
          const { pack } = encodings[encoding];
          tests(Object.create(world, { encoding: { value: encoding }, enter: { value: enter }, pack: { value: pack } }));
        });
      }
    });
  }
}

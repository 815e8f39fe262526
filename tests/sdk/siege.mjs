// A hub under attack, and the judgement on it, the same for every case: what it may take of memory
// and descriptors, that it gives them back, that a bystander misses nothing, and that a healthy client
// is served at once afterwards.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';

import { Person, token } from './clients.mjs';
import { Hub, within } from './harness.mjs';
import { RawSocket, frame } from './raw.mjs';

export const MIB = 1024 * 1024;

/** A newcomer connects, subscribes, publishes and receives within this. */
export const HEALTHY_MS = 1_500;

/** How often memory and descriptors are looked at, and the bystander is published to. */
const LOOK_MS = 20;

/**
 * For what the hub holds after a flood to become what it held before. The allocator gives back what has
 * lain idle for ten seconds.
 */
const CALM_MS = 15_000;

/** Connections to the server API that our own HTTP client keeps for a while. */
const KEPT_ALIVE = 12;

/** For a silent peer to be gone: a ping, its pong, and the close that it does not answer (3, 2 and 5 s). */
const SETTLE_MS = 20_000;

/** Memory that the process may keep over what it began with: its allocator's, and grown tables. */
const KEPT_BYTES = 24 * MIB;

export const connect = { id: 1, connect: { token: token({ sub: 'mallory' }) } };

export class Siege {
  #numbers = 0;
  #confirmed = [];
  #words = 0;
  #open = new Set();
  /** How those who behave were cut off, if they were. */
  #cuts = [];

  static async lay({ config, shards = 2 }) {
    const siege = new Siege();
    siege.hub = await Hub.start({ config, shards });
    const enter = async (sub) => {
      const person = new Person(siege.hub.socketUrl, 'json', { token: token({ sub }) });
      await person.connected;
      person.client.on('connecting', ({ code, reason }) => siege.#cuts.push(`${sub}: ${code} ${reason}`));
      return person;
    };
    siege.bystander = await enter('bystander');
    siege.publisher = await enter('publisher');
    siege.place = await siege.bystander.join('plain:square');
    // Before anything is measured, everything has happened once.
    await siege.serve();
    siege.base = siege.hub.residentBytes();
    return siege;
  }

  async lift() {
    this.bystander.leave();
    this.publisher.leave();
    await this.hub.stop();
  }

  /**
   * Lets `attack` run and judges the hub. `memory` bounds what it may take meanwhile, `keeps` what it
   * may hold on to on purpose (histories, say), `descriptors` the sockets open at a time.
   */
  async endure(attack, { memory = 48 * MIB, keeps = 0, descriptors = 1_000 } = {}) {
    const quiet = this.descriptors() + KEPT_ALIVE;
    const peak = { memory: 0, descriptors: 0 };
    const look = setInterval(() => {
      peak.memory = Math.max(peak.memory, this.hub.residentBytes() - this.base);
      peak.descriptors = Math.max(peak.descriptors, this.descriptors() - quiet);
      this.#tellBystander();
    }, LOOK_MS);
    try {
      await attack();
    } finally {
      clearInterval(look);
    }
    await within(this.serve(), 'a healthy client to be served', HEALTHY_MS);
    for (const raw of this.#open) raw.destroy();
    this.#open.clear();

    assert.ok(peak.memory < memory + keeps, `it took ${peak.memory / MIB} MiB`);
    assert.ok(peak.descriptors < descriptors, `it took ${peak.descriptors} descriptors`);
    await this.#until(() => this.descriptors() <= quiet, () => `${this.descriptors()} descriptors, before ${quiet}`);
    const kept = () => this.hub.residentBytes() - this.base;
    await this.#until(() => kept() < KEPT_BYTES + keeps, () => `${kept() / MIB} MiB are kept`);
    await this.#bystanderHeardAll();
    return peak;
  }

  /** Somebody new is served in full, and the bystander hears of it. */
  async serve() {
    const newcomer = new Person(this.hub.socketUrl, 'protobuf', { token: token({ sub: 'newcomer' }) });
    await newcomer.connected;
    const place = await newcomer.join('plain:square');
    const word = `word ${(this.#words += 1)}`;
    await place.publish(word);
    await Promise.all([place.sees(word), this.place.sees(word)]);
    newcomer.leave();
  }

  // --- the bystander -----------------------------------------------------------------------------

  #tellBystander() {
    const number = (this.#numbers += 1);
    const confirmed = this.publisher.publish('plain:square', number).then(() => number);
    // It is looked at when the attack is over.
    confirmed.catch(() => {});
    this.#confirmed.push(confirmed);
  }

  async #bystanderHeardAll() {
    const publishing = Promise.all(this.#confirmed.splice(0));
    const confirmed = await within(publishing, 'every publication to be confirmed').catch((error) => error);
    assert.deepEqual(this.#cuts.splice(0), [], 'who behaves was cut off');
    if (!Array.isArray(confirmed)) throw new Error(`a publication was refused: ${JSON.stringify(confirmed)}`);
    if (confirmed.length > 0) await this.place.sees(confirmed.at(-1));
    const heard = this.place.values.filter((value) => typeof value === 'number');
    assert.deepEqual(heard, confirmed, 'the bystander missed something');
    this.place.received.length = 0;
  }

  // --- the hub -------------------------------------------------------------------------------------

  descriptors() {
    return readdirSync(`/proc/${this.hub.pid}/fd`).length;
  }

  /** Milliseconds of CPU that the hub has used. */
  cpuMs() {
    const fields = readFileSync(`/proc/${this.hub.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    // utime and stime, in hundredths of a second.
    return (Number(fields[11]) + Number(fields[12])) * 10;
  }

  async #until(condition, describe) {
    const deadline = Date.now() + CALM_MS;
    while (!condition()) {
      assert.ok(Date.now() < deadline, describe());
      this.#tellBystander();
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Resolves when `metric` of the hub is at most `most`. */
  async settles(metric, most, labels) {
    const value = await within(
      (async () => {
        for (;;) {
          const value = await this.hub.metric(metric, labels);
          if (value <= most) return value;
          await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        }
      })(),
      `${metric} to be ${most} at most`,
      SETTLE_MS,
    );
    return value;
  }

  // --- the attackers -----------------------------------------------------------------------------

  async #note(opening) {
    const raw = await opening;
    this.#open.add(raw);
    return raw;
  }

  /** A TCP connection; it is closed when the hub has been judged. */
  dial() {
    return this.#note(RawSocket.open(this.hub.port));
  }

  upgraded(options) {
    return this.#note(RawSocket.upgraded(this.hub.port, options));
  }

  /** Past its connect command. */
  async connected(options) {
    const raw = await this.upgraded(options);
    raw.command(connect);
    assert.equal((await raw.reply()).id, 1);
    return raw;
  }

  /** `count` of what `open` opens. */
  many(count, open) {
    return Promise.all(Array.from({ length: count }, (_, n) => open(n)));
  }
}

/** Writes `bytes` `times` times, as fast as the hub reads, until it closes. */
export async function pump(raw, bytes, times) {
  for (let n = 0; n < times && !raw.ended && !raw.socket.destroyed; n++) {
    if (raw.socket.write(bytes)) continue;
    await new Promise((resolve) => {
      const go = () => {
        for (const event of ['drain', 'close']) raw.socket.off(event, go);
        resolve();
      };
      for (const event of ['drain', 'close']) raw.socket.on(event, go);
    });
  }
}

/** The code that a socket was closed with; `undefined` when a reset was faster. */
export async function endOf(raw, ms) {
  try {
    return await raw.closeCode(ms);
  } catch (error) {
    if (!error.message.startsWith('the hub closed')) throw error;
    return undefined;
  }
}

/** Commands with ids from `first` on, packed into frames below the message limit. */
export function* packed(commands, first = 2) {
  let lines = [];
  let bytes = 0;
  let id = first;
  for (const command of commands) {
    const line = JSON.stringify({ id: id++, ...command });
    if (bytes + line.length > 60_000) {
      yield frame({ payload: lines.join('\n') });
      [lines, bytes] = [[], 0];
    }
    lines.push(line);
    bytes += line.length + 1;
  }
  if (lines.length > 0) yield frame({ payload: lines.join('\n') });
}

// Starts the real hub, and what stands between it and its clients.
//
// Nothing here sleeps: the hub is ready when /readyz says so, and gone when its process has ended.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const binary = process.env.FANFARE_BIN ?? join(root, 'target/release/fanfare');

/** Milliseconds that anything awaited may take before a test calls it lost. */
export const PATIENCE_MS = 10_000;

export const apiKey = 'the key of the tests';
export const hmacSecret = 'a secret that only tests know';

const allowed = {
  allow_subscribe_for_client: true,
  allow_publish_for_client: true,
  allow_presence_for_client: true,
  allow_history_for_client: true,
};

/** Namespaces of the tests, by what they are for. */
const namespaces = [
  // Everything on.
  {
    name: 'chat',
    ...allowed,
    presence: true,
    join_leave: true,
    history_size: 300,
    history_ttl: '300s',
    allow_recovery: true,
    allow_positioning: true,
  },
  // A history that ten publications outgrow.
  { name: 'short', ...allowed, history_size: 5, history_ttl: '300s', allow_recovery: true },
  // Neither history nor presence.
  { name: 'plain', ...allowed },
  // Subscribe, and nothing else.
  { name: 'listen', allow_subscribe_for_client: true, presence: true, history_size: 5, history_ttl: '300s' },
  // Nothing at all.
  { name: 'locked' },
];

/** A configuration file of the hub; `client` adds to its section. */
export function configure({ client = {}, token = {}, ...sections } = {}) {
  return {
    http_server: { address: '127.0.0.1' },
    client: { token: { hmac_secret_key: hmacSecret, ...token }, ...client },
    channel: { namespaces },
    http_api: { key: apiKey },
    prometheus: { enabled: true },
    health: { enabled: true },
    ...sections,
  };
}

/** Resolves like `promise`, or fails and says what was waited for. */
export async function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    // A test that is over need not wait for what it no longer waits for.
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms).unref();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** One running hub. */
export class Hub {
  #process;
  #folder;
  #ended;

  log = '';

  /**
   * Starts a hub and waits until it is ready.
   * Without `config` it runs in dev mode; `args` are more flags. `ca` is the certificate that a hub
   * which speaks TLS is known by; `operatorPort` is where all but the socket is, if that is another port.
   */
  static async start({ config, shards = 1, args = [], port, ca, operatorPort, operatorScheme } = {}) {
    const hub = new Hub();
    hub.ca = ca;
    hub.operatorPort = operatorPort;
    hub.operatorScheme = operatorScheme ?? (ca ? 'https' : 'http');
    hub.port = port ?? (await freePort());
    hub.#folder = mkdtempSync(join(tmpdir(), 'fanfare-test-'));
    const flags = ['--port', `${hub.port}`, '--shards', `${shards}`, ...args];
    if (config) {
      const file = join(hub.#folder, 'config.json');
      writeFileSync(file, JSON.stringify(config, null, 2));
      flags.unshift('-c', file);
    }
    hub.#process = spawn(binary, flags, { cwd: hub.#folder, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [hub.#process.stdout, hub.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (hub.log += text));
    }
    hub.#ended = new Promise((resolve, reject) => {
      hub.#process.once('error', reject);
      hub.#process.once('close', (code, signal) => resolve({ code, signal }));
    });
    try {
      await within(Promise.race([hub.#endedEarly(), hub.#ready()]), 'the hub to be ready');
    } catch (error) {
      hub.#process.kill('SIGKILL');
      rmSync(hub.#folder, { recursive: true, force: true });
      throw new Error(`${error.message}\n${binary} ${flags.join(' ')}\n${hub.log}`);
    }
    return hub;
  }

  get pid() {
    return this.#process.pid;
  }

  get socketUrl() {
    return `ws${this.ca ? 's' : ''}://127.0.0.1:${this.port}/connection/websocket`;
  }

  url(path) {
    return `${this.operatorScheme}://127.0.0.1:${this.operatorPort ?? this.port}${path}`;
  }

  /** Like `fetch`, which can't be told whom to trust. */
  #fetch(path, { method = 'GET', headers, body } = {}) {
    if (this.operatorScheme === 'http') return fetch(this.url(path), { method, headers, body });
    return new Promise((resolve, reject) => {
      const request = https.request(this.url(path), { method, headers, ca: this.ca, agent: false }, async (answer) => {
        try {
          resolve(new Response(Buffer.concat(await answer.toArray()), { status: answer.statusCode }));
        } catch (error) {
          reject(error);
        }
      });
      request.on('error', reject).end(body);
    });
  }

  /** Resolves with `{code, signal}` when the process has ended. */
  get ended() {
    return this.#ended;
  }

  signal(name) {
    this.#process.kill(name);
  }

  async #ready() {
    // The port opens within milliseconds; asking again is how a balancer learns it, too.
    while (this.#process.exitCode === null) {
      const answer = await this.#fetch('/readyz').catch(() => null);
      await answer?.arrayBuffer();
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #endedEarly() {
    const { code, signal } = await this.#ended;
    throw new Error(`the hub ended before it was ready: code ${code}, signal ${signal}`);
  }

  /** Calls the server API and returns `{status, body}`. */
  async call(method, request, { headers = { 'X-API-Key': apiKey }, text } = {}) {
    const answer = await this.#fetch(`/api/${method}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: text ?? JSON.stringify(request),
    });
    const body = await answer.text();
    return { status: answer.status, body: body.startsWith('{') ? JSON.parse(body) : body };
  }

  /** Calls the server API and returns its result; an error fails the test. */
  async ask(method, request = {}) {
    const { status, body } = await this.call(method, request);
    assert.equal(status, 200, `${method}: ${JSON.stringify(body)}`);
    assert.equal(body.error, undefined, `${method}: ${JSON.stringify(body)}`);
    return body.result;
  }

  /** The sum of a metric over its labels that hold `labels`; `undefined` when there is none. */
  async metric(name, labels = '') {
    const text = await (await this.#fetch('/metrics')).text();
    const lines = text.split('\n').filter((line) => line.startsWith(name) && line.includes(labels));
    const own = lines.filter((line) => '{ '.includes(line[name.length]));
    return own.length ? own.reduce((sum, line) => sum + Number(line.split(' ').pop()), 0) : undefined;
  }

  /** Bytes of the process in memory. */
  residentBytes() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  /** Ends the hub as an operator does; whatever it counted as a bug of ours fails the test. */
  async stop() {
    const bugs = await this.metric('fanfare_bugs_total');
    this.signal('SIGTERM');
    const end = await within(this.#ended, 'the hub to end', 40_000).catch(async (error) => {
      this.signal('SIGKILL');
      await this.#ended;
      throw new Error(`${error.message}\n${this.log}`);
    });
    rmSync(this.#folder, { recursive: true, force: true });
    assert.deepEqual(end, { code: 0, signal: null }, this.log);
    assert.equal(bugs, 0, `fanfare_bugs_total\n${this.log}`);
  }
}

/** A TCP cable between a client and a port, which can be cut, frozen and mended. */
export class Cable {
  #server;
  #pairs = new Set();
  #whole = true;

  static async to(port) {
    const cable = new Cable();
    cable.target = port;
    cable.#server = net.createServer((near) => cable.#join(near)).listen(0, '127.0.0.1');
    await once(cable.#server, 'listening');
    cable.port = cable.#server.address().port;
    return cable;
  }

  get socketUrl() {
    return `ws://127.0.0.1:${this.port}/connection/websocket`;
  }

  #join(near) {
    near.on('error', () => {});
    if (!this.#whole) {
      near.resetAndDestroy();
      return;
    }
    const far = net.connect(this.target, '127.0.0.1');
    const pair = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
      from.on('error', () => {});
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
      from.pipe(to);
    }
  }

  /** Resets every connection in the middle of whatever it carries, and refuses new ones. */
  cut() {
    this.#whole = false;
    for (const pair of this.#pairs) for (const end of pair) end.resetAndDestroy();
  }

  mend() {
    this.#whole = true;
  }

  /** Carries nothing more, and ends nothing. */
  freeze() {
    for (const pair of this.#pairs) for (const end of pair) end.unpipe().pause();
  }

  async remove() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

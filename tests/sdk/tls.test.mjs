// wss:// and https:// at one port, and certificates that are renewed under connected clients.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import tls from 'node:tls';

import WebSocket from 'ws';

import { Person, channel, encodings, token } from './clients.mjs';
import { Hub, configure, freePort, within } from './harness.mjs';

const folder = mkdtempSync(join(tmpdir(), 'fanfare-tls-'));
const certificateFile = join(folder, 'certificate.pem');
const keyFile = join(folder, 'key.pem');

after(() => rmSync(folder, { recursive: true, force: true }));

/** A new pair for this machine, as `{certificate, key}` in PEM. */
function pair() {
  const [certificate, key] = [join(folder, 'new.pem'), join(folder, 'new.key')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', key, '-out', certificate], { stdio: 'pipe' });
  return { certificate: readFileSync(certificate, 'utf8'), key: readFileSync(key, 'utf8') };
}

/** Puts a pair in the place of the hub's, each file at once. */
function install({ certificate, key }) {
  for (const [file, text] of [
    [certificateFile, certificate],
    [keyFile, key],
  ]) {
    writeFileSync(`${file}.next`, text);
    renameSync(`${file}.next`, file);
  }
}

/** A WebSocket that trusts the hub's certificate. */
const trusting = (hub) =>
  class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { ca: hub.ca });
    }
  };

/** The certificate that a handshake meets now, in PEM. */
async function offered(hub) {
  const socket = tls.connect({ port: hub.port, host: '127.0.0.1', rejectUnauthorized: false });
  await within(once(socket, 'secureConnect'), 'a handshake');
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return raw.toString('base64');
}

const bare = (pem) => pem.replace(/-----[^-]+-----|\s/g, '');

/** Asks until a metric has this value. */
const becomes = (hub, name, labels, value) =>
  within(
    (async () => {
      while ((await hub.metric(name, labels)) !== value);
    })(),
    `${name} ${labels} to be ${value}`,
  );

for (const shards of [1, 4]) {
  describe(`tls, shards: ${shards}`, { timeout: 120_000 }, () => {
    let hub;
    let people = [];
    let current;

    before(async () => {
      current = pair();
      install(current);
      const http_server = { address: '127.0.0.1', tls: { enabled: true, cert_pem: certificateFile, key_pem: keyFile } };
      hub = await Hub.start({ config: configure({ http_server }), shards, ca: current.certificate });
    });
    after(() => hub?.stop());
    afterEach(() => {
      for (const person of people) person.leave();
      people = [];
    });

    const enter = async (user, encoding = 'json') => {
      const person = new Person(hub.socketUrl, encoding, { token: token({ sub: user }), websocket: trusting(hub) });
      people.push(person);
      await person.connected;
      return person;
    };

    for (const encoding of Object.keys(encodings)) {
      test(`a room hears what is said in it, in order: ${encoding}`, async () => {
        const room = channel('chat');
        const [ann, ben] = [await enter('ann', encoding), await enter('ben', encoding)];
        const [here, there] = [await ann.join(room), await ben.join(room)];
        const long = 'x'.repeat(50_000);
        const said = Array.from({ length: 200 }, (_, number) => (number % 50 === 0 ? `${number}${long}` : `${number}`));
        for (const text of said) here.publish(text).catch(() => {});
        await there.sees(said.at(-1));
        assert.deepEqual(there.values, said);
        there.assertNoGap();
      });
    }

    test('the server API and the metrics are at the same port', async () => {
      const room = channel('chat');
      const place = await (await enter('ann')).join(room);
      await hub.ask('publish', { channel: room, data: 'from the backend' });
      await place.sees('from the backend');
      assert.ok((await hub.metric('fanfare_tls_handshakes_total', 'succeeded')) > 0);
    });

    test('three hundred at once get in', async () => {
      const all = await Promise.all(Array.from({ length: 300 }, (_, number) => enter(`user ${number}`)));
      assert.equal(new Set(all.map(({ id }) => id)).size, 300);
    });

    test('whoever does not trust the certificate stays outside, and is counted', async () => {
      const failed = await hub.metric('fanfare_tls_handshakes_total', 'failed');
      const stranger = new WebSocket(hub.socketUrl);
      const [error] = await within(once(stranger, 'error'), 'a refusal');
      assert.match(error.code, /CERT|SIGNED/);
      await becomes(hub, 'fanfare_tls_handshakes_total', 'failed', failed + 1);
    });

    test('a new certificate is taken under connected clients, a broken pair is refused', async () => {
      const taken = (await hub.metric('fanfare_tls_reloads_total', 'port="clients",outcome="succeeded"')) ?? 0;
      const room = channel('chat');
      const old = await enter('ann');
      const place = await old.join(room);
      assert.equal(await offered(hub), bare(current.certificate));

      // Without a signal: the files are looked at.
      current = pair();
      install(current);
      await within(
        (async () => {
          while ((await offered(hub)) !== bare(current.certificate));
        })(),
        'the new certificate',
      );
      hub.ca = current.certificate;
      await becomes(hub, 'fanfare_tls_reloads_total', 'outcome="succeeded"', taken + 1);

      // A key of another certificate, and a signal.
      const other = pair();
      install({ certificate: current.certificate, key: other.key });
      hub.signal('SIGHUP');
      await within(
        (async () => {
          while (!(await hub.metric('fanfare_tls_reloads_total', 'outcome="failed"')));
        })(),
        'the broken pair to be refused',
      );
      assert.match(hub.log, /refused a new certificate; the old one stays/);
      assert.ok(hub.log.includes(`${keyFile}: is not the key of the certificate in ${certificateFile}`), hub.log);
      assert.equal(await offered(hub), bare(current.certificate));

      // Made good, and a signal.
      current = other;
      install(current);
      hub.signal('SIGHUP');
      await within(
        (async () => {
          while ((await offered(hub)) !== bare(current.certificate));
        })(),
        'the next certificate',
      );
      hub.ca = current.certificate;

      // Who was there before all this has noticed nothing, and talks to newcomers.
      const newcomer = await (await enter('ben')).join(room);
      await newcomer.publish('still here?');
      await place.sees('still here?');
      assert.equal(old.client.state, 'connected');
      const days = ((await hub.metric('fanfare_tls_certificate_expiry_seconds')) - Date.now() / 1000) / 86_400;
      assert.ok(days > 1.9 && days <= 2, `valid for ${days} days`);
    });
  });
}

test('the internal port speaks what its keys say', { timeout: 60_000 }, async () => {
  const files = pair();
  install(files);
  for (const [keys, scheme] of [
    [{}, 'https'],
    [{ tls_external: true }, 'http'],
    [{ tls_external: true, internal_tls: { enabled: true, cert_pem: files.certificate, key_pem: files.key } }, 'https'],
  ]) {
    const internal = await freePort();
    const http_server = {
      address: '127.0.0.1',
      internal_port: internal,
      tls: { enabled: true, cert_pem: certificateFile, key_pem: keyFile },
      ...keys,
    };
    const operator = { operatorPort: internal, operatorScheme: scheme };
    const hub = await Hub.start({ config: configure({ http_server }), ca: files.certificate, ...operator });
    assert.equal(await offered(hub), bare(files.certificate));
    await hub.stop();
  }
});

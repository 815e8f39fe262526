// Who somebody is: HMAC on the shard, public keys on the workers, keys that an issuer publishes.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { after, describe, test } from 'node:test';

import { Person, channel, everywhere, inSeconds, next, token } from './clients.mjs';
import { Hub, configure, within } from './harness.mjs';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = (namedCurve) => generateKeyPairSync('ec', { namedCurve });
const p256 = ec('P-256');
const ed25519 = generateKeyPairSync('ed25519');
const pem = ({ publicKey }) => publicKey.export({ type: 'spki', format: 'pem' });
const publicPem = pem(rsa);

const config = configure({
  token: { rsa_public_key: publicPem, ecdsa_public_key: pem(p256), ed25519_public_key: pem(ed25519) },
  client: { expired_close_delay: '1s' },
});
const rs256 = (claims, key = rsa.privateKey) => token(claims, { alg: 'RS256', key });

everywhere(
  'tokens',
  (world) => {
    const userOf = async (person) => {
      const place = await person.join(channel('chat'));
      const { clients } = await place.sub.presence();
      return clients[person.id].user;
    };

    /** The code with which the hub closes a connection of these options for good. */
    const refused = async (options) => {
      const person = new Person(world.hub.socketUrl, world.encoding, options);
      try {
        return (await next(person.client, 'disconnected')).code;
      } finally {
        person.leave();
      }
    };

    test('HS256 says who it is [connect with a token]', async () => {
      const ann = await world.enter('ann', { token: token({ sub: 'ann', exp: inSeconds(60) }) });
      assert.equal(await userOf(ann), 'ann');
    });

    test('RS256 says who it is', async () => {
      const ann = await world.enter('ann', { token: rs256({ sub: 'ann', exp: inSeconds(60) }) });
      assert.equal(await userOf(ann), 'ann');
    });

    test('PS256, ES256 and EdDSA say who it is', async () => {
      for (const [alg, key] of [
        ['PS256', rsa.privateKey],
        ['ES256', p256.privateKey],
        ['EdDSA', ed25519.privateKey],
      ]) {
        const ann = await world.enter('ann', { token: token({ sub: `ann ${alg}`, exp: inSeconds(60) }, { alg, key }) });
        assert.equal(await userOf(ann), `ann ${alg}`);
      }
    });

    test('a hundred RS256 tokens at once are all verified, each for its own connection', async () => {
      const names = Array.from({ length: 100 }, (_, n) => `person ${n}`);
      const people = await Promise.all(names.map((sub) => world.enter(sub, { token: rs256({ sub }) })));
      assert.deepEqual(await Promise.all(people.map(userOf)), names);
    });

    test('an expired token makes the client fetch another [expired token is fetched again]', async () => {
      for (const make of [token, rs256]) {
        let fetched = 0;
        const ann = await world.enter('ann', {
          token: make({ sub: 'ann', exp: inSeconds(-60) }),
          getToken: async () => {
            fetched += 1;
            return make({ sub: 'ann', exp: inSeconds(60) });
          },
        });
        assert.equal(fetched, 1);
        assert.equal(await userOf(ann), 'ann');
      }
    });

    test('a token that ends is refreshed on the way, and the connection lives [token is refreshed on the way]', async () => {
      let refreshing;
      const refreshed = new Promise((resolve) => (refreshing = resolve));
      const ann = await world.enter('ann', {
        token: token({ sub: 'ann', exp: inSeconds(2) }),
        getToken: async () => {
          refreshing();
          return token({ sub: 'ann', exp: inSeconds(60) });
        },
      });
      const before = ann.id;
      await within(refreshed, 'a refresh');
      const place = await ann.join(channel('chat'));
      await place.publish('alive');
      await place.sees('alive');
      assert.equal(ann.id, before);
    });

    test('an invalid token is refused for good [refused token]', async () => {
      const claims = { sub: 'ann', exp: inSeconds(60) };
      const invalid = {
        'another secret': token(claims, { key: 'another secret' }),
        'another private key': rs256(claims, stranger.privateKey),
        'the public key taken for a secret': token(claims, { key: publicPem }),
        'the EC public key taken for a secret': token(claims, { key: pem(p256) }),
        'a key of another curve': token(claims, { alg: 'ES384', key: ec('P-384').privateKey }),
        'the algorithm of another curve': token(claims, { alg: 'ES512', key: p256.privateKey }),
        'no algorithm': `${Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')}.${token(claims).split('.')[1]}.`,
        'a signature cut short': token(claims).slice(0, -4),
        'no token at all': 'not.a.token',
        'one word': 'token',
        'a token for a channel': token({ ...claims, channel: 'chat:x' }),
      };
      for (const [what, wrong] of Object.entries(invalid)) {
        assert.equal(await refused({ token: wrong }), 3500, what);
      }
    });

    test('nobody without a token comes in [connect without a token]', async () => {
      assert.equal(await refused({}), 3501);
    });
  },
  { config },
);

/** An issuer that publishes its keys, by their names. */
class Issuer {
  keys = {
    RS256: rsa,
    PS256: rsa,
    ES256: p256,
    ES384: ec('P-384'),
    ES512: ec('P-521'),
    EdDSA: ed25519,
  };
  requests = 0;
  isDown = false;

  constructor() {
    this.server = createServer((request, response) => {
      this.requests += 1;
      const keys = Object.entries(this.keys).map(([alg, { publicKey }]) => ({
        ...publicKey.export({ format: 'jwk' }),
        kid: `key of ${alg}`,
        use: 'sig',
      }));
      response.writeHead(this.isDown ? 503 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ keys }));
    });
  }

  /** Its URL, in which `{{realm}}` stands for what the hub's pattern finds in a token's issuer. */
  async listen() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${this.server.address().port}/{{realm}}/jwks`;
  }

  token(claims, alg = 'ES256', kid = `key of ${alg}`) {
    return token({ iss: 'https://id/users', ...claims }, { alg, key: this.keys[alg].privateKey, kid });
  }
}

const issuer = new Issuer();
const published = (url) =>
  configure({
    token: { hmac_secret_key: '', jwks_public_endpoint: url, issuer_regex: '^https://id/(?P<realm>[a-z]+)$' },
  });

everywhere(
  'published keys',
  (world) => {
    test('keys of all kinds are found by their names', async () => {
      for (const alg of Object.keys(issuer.keys)) {
        const ann = await world.enter('ann', { token: issuer.token({ sub: `ann ${alg}` }, alg) });
        const place = await ann.join(channel('chat'));
        const { clients } = await place.sub.presence();
        assert.equal(clients[ann.id].user, `ann ${alg}`);
      }
    });

    test('a hundred at once ask for the keys once at most', async () => {
      const before = issuer.requests;
      const names = Array.from({ length: 100 }, (_, n) => `person ${n}`);
      await Promise.all(names.map((sub) => world.enter(sub, { token: issuer.token({ sub }) })));
      assert.ok(issuer.requests - before <= 1, `${issuer.requests - before} requests`);
    });

    test('what no published key has signed is refused for good', async () => {
      const claims = { sub: 'ann' };
      const invalid = {
        'a name that no key has': issuer.token(claims, 'ES256', 'another'),
        'the name of another key': issuer.token(claims, 'ES256', 'key of ES384'),
        'no name': token({ iss: 'https://id/users', ...claims }, { alg: 'ES256', key: p256.privateKey }),
        'another issuer': issuer.token({ ...claims, iss: 'https://evil/users' }),
        'a path for an issuer': issuer.token({ ...claims, iss: 'https://id/../admin' }),
        'a secret': token({ ...claims, iss: 'https://id/users' }, { kid: 'key of ES256' }),
      };
      for (const [what, wrong] of Object.entries(invalid)) {
        const person = new Person(world.hub.socketUrl, world.encoding, { token: wrong });
        try {
          assert.equal((await next(person.client, 'disconnected')).code, 3500, what);
        } finally {
          person.leave();
        }
      }
    });
  },
  { config: published(await issuer.listen()) },
);

describe('an issuer that is down', () => {
  const late = new Issuer();
  late.isDown = true;
  after(() => {
    late.server.close();
    issuer.server.close();
  });

  test('clients come in once it is back', async () => {
    const url = await late.listen();
    const hub = await Hub.start({ config: published(url), shards: 1 });
    const ann = new Person(hub.socketUrl, 'json', { token: late.token({ sub: 'ann' }) });
    try {
      const { error } = await next(ann.client, 'error');
      assert.equal(error.code, 100);
      late.isDown = false;
      await within(ann.connected, 'the connection');
    } finally {
      ann.leave();
      await hub.stop();
    }
  });
});

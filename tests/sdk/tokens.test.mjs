// Who somebody is: HS256 on the shard, RS256 on the workers.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';

import { Person, channel, everywhere, inSeconds, next, token } from './clients.mjs';
import { configure, within } from './harness.mjs';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const publicPem = rsa.publicKey.export({ type: 'spki', format: 'pem' });

const config = configure({ token: { rsa_public_key: publicPem }, client: { expired_close_delay: '1s' } });
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

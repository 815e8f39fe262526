// Channels that a token of their own opens.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, encodings, everywhere, inSeconds, next, token } from './clients.mjs';
import { configure, within } from './harness.mjs';

const config = configure({ client: { expired_sub_close_delay: '1s' } });

const ticket = (user, name, claims = {}) => token({ sub: user, channel: name, ...claims });

everywhere(
  'subscription tokens',
  (world) => {
    const secret = () => `$${channel('chat')}`;

    /** Asks for a subscription; resolves with the code with which it is refused. */
    const refused = async (person, name, options) => {
      const { sub } = person.place(name, options);
      const ended = next(sub, 'unsubscribed');
      sub.subscribe();
      const { code } = await ended;
      person.client.removeSubscription(sub);
      return code;
    };

    test('a token opens a channel, and says who sits there [subscription token]', async () => {
      const ann = await world.enter('ann');
      const room = secret();
      const place = await ann.join(room, { token: ticket('ann', room, { info: { seat: 7 } }) });
      await world.hub.ask('publish', { channel: room, data: 'hello' });
      await place.sees('hello');
      const { clients } = await place.sub.presence();
      assert.deepEqual(ann.unpack(clients[ann.id].chanInfo), { seat: 7 });
      const locked = channel('locked');
      await ann.join(locked, { token: ticket('ann', locked) });
    });

    test('a callback brings the token [subscription token from a callback]', async () => {
      const ann = await world.enter('ann');
      const room = secret();
      const asked = [];
      const getToken = async (context) => {
        asked.push(context);
        return ticket('ann', room);
      };
      await ann.join(room, { getToken });
      assert.deepEqual(asked, [{ channel: room }]);
    });

    test('an expired token is fetched again [expired subscription token is fetched again]', async () => {
      const ann = await world.enter('ann');
      const room = secret();
      const getToken = async () => ticket('ann', room, { exp: inSeconds(60) });
      await ann.join(room, { token: ticket('ann', room, { exp: inSeconds(-60) }), getToken, minResubscribeDelay: 20 });
    });

    test('tokens that end are refreshed, or their subscriptions end [subscription token is refreshed on the way]', async () => {
      const ann = await world.enter('ann');
      const [kept, ended] = [secret(), secret()];
      const soon = (room) => ticket('ann', room, { exp: inSeconds(2) });
      const place = await ann.join(kept, { getToken: async () => soon(kept) });
      let lost = false;
      place.sub.on('subscribing', () => (lost = true));
      let fetched = 0;
      const getToken = () => {
        fetched += 1;
        // The backend does not answer the first time.
        return fetched === 1 ? new Promise(() => {}) : Promise.resolve(ticket('ann', ended, { exp: inSeconds(60) }));
      };
      const { sub } = await ann.join(ended, { token: soon(ended), getToken });
      assert.equal((await next(sub, 'subscribing')).code, 2501);
      // The other one's first token ended no later.
      await place.publish('alive');
      await place.sees('alive');
      assert.equal(lost, false);
      await sub.ready();
    });

    test('an invalid token is refused [refused subscription token]', async () => {
      const ann = await world.enter('ann');
      const room = secret();
      const claims = { sub: 'ann', channel: room };
      for (const wrong of [token(claims, { key: 'another' }), 'not.a.token', token(claims).slice(0, -4)]) {
        assert.equal(await refused(ann, room, { token: wrong }), 103);
      }
      assert.equal(ann.client.state, 'connected');
    });

    test('a token for something else ends the connection [refused subscription token]', async () => {
      const room = secret();
      for (const wrong of [ticket('ann', secret()), ticket('bob', room), ticket('ann', room, { client: 'another' })]) {
        const ann = await world.enter('ann');
        const ended = next(ann.client, 'disconnected');
        ann.place(room, { token: wrong }).sub.subscribe();
        assert.equal((await ended).code, 3500);
      }
    });

    test('a callback may give up [unauthorized by the callback of a subscription]', async () => {
      const ann = await world.enter('ann');
      const { UnauthorizedError } = encodings[world.encoding];
      const getToken = () => Promise.reject(new UnauthorizedError('not today'));
      assert.equal(await refused(ann, secret(), { getToken }), 1);
      assert.equal(ann.client.state, 'connected');
    });
  },
  { config },
);

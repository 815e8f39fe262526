// Who is here: presence, its counts, joins and leaves.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { channel, everywhere, next, token } from './clients.mjs';
import { Cable } from './harness.mjs';

everywhere('presence', (world) => {
  let cable;
  before(async () => {
    cable = await Cable.to(world.hub.port);
  });
  after(() => cable?.remove());

  test('presence names each connection, with what its token says [presence] [presence stats]', async () => {
    const info = { name: 'Ann', colour: '#c62' };
    const ann = await world.enter('ann', { token: token({ sub: 'ann', info }) });
    const [bob, bobToo] = [await world.enter('bob'), await world.enter('bob')];
    const room = channel('chat');
    const place = await ann.join(room);
    await bob.join(room);
    await bobToo.join(room);

    const { clients } = await place.sub.presence();
    assert.deepEqual(Object.keys(clients).sort(), [ann.id, bob.id, bobToo.id].sort());
    assert.equal(clients[ann.id].user, 'ann');
    assert.equal(clients[ann.id].client, ann.id);
    assert.deepEqual(ann.unpack(clients[ann.id].connInfo), info);
    assert.equal(clients[bob.id].user, 'bob');

    const counts = await place.sub.presenceStats();
    assert.deepEqual([counts.numClients, counts.numUsers], [3, 2]);
  });

  test('who unsubscribes or disconnects is no longer here [join and leave]', async () => {
    const [ann, bob, cay] = [await world.enter('ann'), await world.enter('bob'), await world.enter('cay')];
    const room = channel('chat');
    const place = await ann.join(room, { joinLeave: true });
    const his = await bob.join(room);
    await cay.join(room);
    his.sub.unsubscribe();
    await place.until(() => place.leaves.length === 1, 'that Bob leaves');
    cay.leave();
    await place.until(() => place.leaves.length === 2, 'that Cay leaves');
    assert.deepEqual(place.leaves.map(({ info }) => info.user), ['bob', 'cay']);
    const { clients } = await place.sub.presence();
    assert.deepEqual(Object.keys(clients), [ann.id]);
  });

  test('joins are seen by who is there, also by who joins [join and leave]', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('chat');
    const hers = await ann.join(room, { joinLeave: true });
    await hers.until(() => hers.joins.length === 1, 'her own join');
    const his = await bob.join(room, { joinLeave: true });
    await Promise.all([
      hers.until(() => hers.joins.length === 2, 'his join'),
      his.until(() => his.joins.length === 1, 'his own join'),
    ]);
    assert.deepEqual(hers.joins.map(({ info }) => info.client), [ann.id, bob.id]);
    assert.deepEqual(his.joins.map(({ info }) => info.client), [bob.id]);
  });

  test('who did not ask hears of no joins', async () => {
    const [ann, bob] = [await world.enter('ann'), await world.enter('bob')];
    const room = channel('chat');
    const quiet = await ann.join(room);
    const his = await bob.join(room, { joinLeave: true });
    await his.until(() => his.joins.length === 1, 'his own join');
    await his.publish('end');
    await quiet.sees('end');
    assert.deepEqual(quiet.joins, []);
  });

  test('a cut is a leave, and coming back is a join', async () => {
    const ann = await world.enter('ann', { url: cable.socketUrl });
    const bob = await world.enter('bob');
    const room = channel('chat');
    const her = await ann.join(room);
    const his = await bob.join(room, { joinLeave: true });
    const before = ann.id;
    const back = next(her.sub, 'subscribing').then(() => next(her.sub, 'subscribed'));
    cable.cut();
    await his.until(() => his.leaves.length === 1, 'that Ann is cut off');
    cable.mend();
    await back;
    await his.until(() => his.joins.some(({ info }) => info.client === ann.id), 'that Ann is back');
    assert.equal(his.leaves[0].info.client, before);
    const { clients } = await his.sub.presence();
    assert.deepEqual(Object.keys(clients).sort(), [ann.id, bob.id].sort());
  });
});

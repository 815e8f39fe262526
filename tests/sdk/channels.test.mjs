// Channels by their names and options.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { channel, everywhere, next, refusal } from './clients.mjs';
import { configure } from './harness.mjs';

const open = { allow_subscribe_for_client: true, allow_publish_for_client: true };
const namespaces = [
  // For those whose ids stand in the name.
  { name: 'club', allow_user_limited_channels: true, channel_regex: '^[a-z]+(#|$)' },
  // Objects only.
  { name: 'forms', ...open, publication_data_format: 'json_object' },
];

everywhere(
  'channels',
  (world) => {
    /** Asks for a subscription; resolves with the code with which it is refused. */
    const refused = async (person, name) => {
      const { sub } = person.place(name);
      const ended = next(sub, 'unsubscribed');
      sub.subscribe();
      return (await ended).code;
    };

    test('a channel that names its users is for them [user-limited channels]', async () => {
      const [ann, eve] = [await world.enter('ann'), await world.enter('eve')];
      await ann.join('club:lobby#ann,bob');
      assert.equal(await refused(eve, 'club:lobby#ann,bob'), 103);
    });

    test('a name that the pattern refuses is refused [names of channels are checked]', async () => {
      assert.equal(await refused(await world.enter('ann'), 'club:Lobby7#ann'), 107);
    });

    test('what is no object is refused where objects are wanted [formats of publications are checked]', async () => {
      const place = await (await world.enter('ann')).join(channel('forms'));
      assert.equal(await refusal(place.publish([1, 2])), 107);
      await place.publish({ name: 'Ann' });
      await place.until(() => place.values.length > 0, 'the object');
      assert.deepEqual(place.values, [{ name: 'Ann' }]);
    });
  },
  { config: configure({ channel: { namespaces } }) },
);

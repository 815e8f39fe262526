// The page of dev mode in a real browser: two people chat, one is cut off and catches up.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';

import { launch } from '../sdk/browser.mjs';
import { Hub, root } from '../sdk/harness.mjs';

const pictures = join(root, 'target/page');
const pageFolder = join(root, 'src/console/page');
const packageFolder = join(root, 'tests/sdk/node_modules/centrifuge');

test('the SDK on the page is the installed package, byte for byte', () => {
  const { version } = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8'));
  assert.match(readFileSync(join(pageFolder, 'vendor/VERSION'), 'utf8'), new RegExp(`^centrifuge ${version},`));
  for (const [vendored, original] of [['centrifuge.js', 'dist/centrifuge.js'], ['LICENSE', 'LICENSE']]) {
    const [ours, theirs] = [join(pageFolder, 'vendor', vendored), join(packageFolder, original)];
    assert.ok(readFileSync(ours).equals(readFileSync(theirs)), `${vendored} differs: copy ${original} again`);
  }
});

describe('the page', { timeout: 120_000 }, () => {
  let hub;
  let browser;
  let contexts = [];
  let troubles = [];

  before(async () => {
    mkdirSync(pictures, { recursive: true });
    hub = await Hub.start({ shards: 2 });
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await hub?.stop();
  });
  afterEach(async () => {
    for (const context of contexts) await context.close();
    contexts = [];
    assert.deepEqual(troubles, []);
  });

  /** Opens the page as one person; whatever the browser complains about fails the test. */
  const visit = async (name, look = {}) => {
    const context = await browser.newContext({ viewport: { width: 1180, height: 820 }, ...look });
    contexts.push(context);
    const page = await context.newPage();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) troubles.push(`${name}: ${message.text()}`);
    });
    page.on('pageerror', (error) => troubles.push(`${name}: ${error.message}`));
    page.on('requestfailed', (request) => troubles.push(`${name}: ${request.url()} failed`));
    const own = [`http://127.0.0.1:${hub.port}`, `ws://127.0.0.1:${hub.port}`];
    const foreign = (url) => !own.includes(new URL(url).origin);
    page.on('request', (request) => foreign(request.url()) && troubles.push(`${name} asked ${request.url()}`));
    page.on('websocket', (socket) => foreign(socket.url()) && troubles.push(`${name} asked ${socket.url()}`));
    const answer = await page.goto(hub.url('/'));
    assert.equal(answer.status(), 200);
    await page.locator('#state[data-state=connected]').waitFor();
    await page.getByLabel('You are').fill(name);
    await page.getByLabel('You are').blur();
    return page;
  };

  const say = async (page, text) => {
    await page.getByLabel('Message', { exact: true }).fill(text);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
  };
  const saying = (page, text) => page.locator('.message .said', { hasText: new RegExp(`^${text}$`) });
  const said = (page) => page.locator('.message .said').allTextContents();
  const here = (page, name) => page.locator('#people .called', { hasText: name });

  test('two people chat, and each sees who is here', async () => {
    const [ann, bob] = [await visit('Ann'), await visit('Bob')];
    for (const page of [ann, bob]) for (const name of ['Ann', 'Bob']) await here(page, name).waitFor();
    assert.equal(await ann.locator('#here-count').textContent(), '2');

    await say(ann, 'Good morning, Bob');
    await saying(bob, 'Good morning, Bob').waitFor();
    await say(bob, '<b>Good</b> morning & so on');
    await ann.locator('.message', { hasText: '<b>Good</b> morning & so on' }).waitFor();
    assert.equal(await ann.locator('.said b').count(), 0, 'what others wrote is text, never HTML');
    await saying(ann, 'Good morning, Bob').waitFor();
    assert.deepEqual(await said(ann), await said(bob));
    assert.equal(await ann.locator('.message.mine').count(), 1);
    assert.match(await ann.locator('#latency').textContent(), /^\d+(\.\d)? ms$/);

    await contexts.pop().close();
    await here(ann, 'Bob').waitFor({ state: 'detached' });
    assert.equal(await ann.locator('#here-count').textContent(), '1');
  });

  test('a cut fills its gap, in order', async () => {
    const [ann, bob] = [await visit('Ann'), await visit('Bob')];
    await say(ann, 'before');
    await saying(bob, 'before').waitFor();

    await ann.getByRole('button', { name: 'Cut the socket' }).click();
    await ann.locator('#state[data-state=cut]').waitFor();
    await here(bob, 'Ann').waitFor({ state: 'detached' });
    const missed = ['one', 'two', 'three', 'four'];
    for (const text of missed) {
      await say(bob, text);
      await saying(bob, text).waitFor();
    }
    assert.equal(await saying(ann, 'one').count(), 0, 'the cut is real');
    await ann.screenshot({ path: join(pictures, 'cut.png') });

    await ann.getByText('recovered 4 messages', { exact: true }).waitFor();
    assert.equal(await ann.locator('.message.recovered').count(), missed.length);
    await here(bob, 'Ann').waitFor();
    await say(bob, 'after');
    await saying(ann, 'after').waitFor();
    assert.deepEqual((await said(ann)).slice(-6), ['before', ...missed, 'after']);
    await ann.screenshot({ path: join(pictures, 'recovered.png') });
  });

  test('who comes later reads what was said, once', async () => {
    const ann = await visit('Ann');
    for (const text of ['first', 'second', 'third']) {
      await say(ann, text);
      await saying(ann, text).waitFor();
    }
    const bob = await visit('Bob');
    await saying(bob, 'third').waitFor();
    assert.deepEqual((await said(bob)).slice(-3), ['first', 'second', 'third']);
    await bob.reload();
    await saying(bob, 'third').waitFor();
    assert.equal(await saying(bob, 'third').count(), 1);
    assert.equal(await bob.getByLabel('You are').inputValue(), 'Bob', 'a reload keeps the name');
  });

  test('a burst shows in the plot', async () => {
    const ann = await visit('Ann');
    await ann.getByRole('button', { name: 'Send a burst of 200' }).click();
    await ann.waitForFunction(() => Number(document.getElementById('received').textContent) >= 200);
    const inked = await ann.evaluate(() => {
      const canvas = document.getElementById('plot');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height / 2);
      return data.some((value) => value > 0);
    });
    assert.ok(inked, 'no bar reaches the upper half');
  });

  test('"Open a second person" opens another', async () => {
    const ann = await visit('Ann');
    const [second] = await Promise.all([
      contexts.at(-1).waitForEvent('page'),
      ann.getByRole('link', { name: 'Open a second person' }).click(),
    ]);
    await second.locator('#state[data-state=connected]').waitFor();
    const name = await second.getByLabel('You are').inputValue();
    assert.notEqual(name, 'Ann');
    await here(ann, name).waitFor();
  });

  const looks = {
    light: { colorScheme: 'light' },
    dark: { colorScheme: 'dark' },
    'phone-light': { colorScheme: 'light', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
    'phone-dark': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 },
  };
  for (const [look, options] of Object.entries(looks)) {
    test(`it fits and reads well: ${look}`, async () => {
      const [ann, bob] = [await visit('Ann', options), await visit('Bob')];
      await say(bob, 'Is the picture straight');
      await saying(ann, 'Is the picture straight').last().waitFor();
      await say(ann, `As straight as a ${look} one can be, even with a_very_long_word_${'that_does_not_end_'.repeat(4)}`);
      await ann.getByRole('button', { name: 'Send a burst of 200' }).click();
      await ann.waitForFunction(() => Number(document.getElementById('received').textContent) >= 200);
      const overflow = await ann.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
      await ann.screenshot({ path: join(pictures, `${look}.png`), fullPage: true });
    });
  }
});

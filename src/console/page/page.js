// One person at this hub: the official SDK, three channels, and a socket that can be cut.
//
// Everything that others wrote is shown with textContent, never as HTML.

import { Figures } from './figures.js';
import { People, asName, drawFace, hueOf, randomName } from './people.js';
import { CuttableSocket, cutSockets } from './socket.js';

const CUT_MS = 3_000;
const BURST = 200;
const HISTORY_SHOWN = 20;
const MESSAGES_SHOWN_MAX = 500;
const PROBLEM_SHOWN_MS = 6_000;

const part = (id) => document.getElementById(id);
const messages = part('messages');

// --- the hub ---------------------------------------------------------------------------------------

const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
const hub = new window.Centrifuge(`${scheme}://${location.host}/connection/websocket`, {
  websocket: CuttableSocket,
  name: 'fanfare-page',
  minReconnectDelay: 100,
  maxReconnectDelay: 1_000,
});

const chat = hub.newSubscription('chat', { recoverable: true, positioned: true, joinLeave: true });
const names = hub.newSubscription('names', { recoverable: true, positioned: true });
const bursts = hub.newSubscription('bursts');

const people = new People(part('people'), part('here-count'));
const figures = new Figures({
  canvas: part('plot'),
  rate: part('rate'),
  received: part('received'),
  latency: part('latency'),
  median: part('latency-median'),
});

// --- the connection --------------------------------------------------------------------------------

let cut = false;

function showState() {
  const state = cut ? 'cut' : hub.state;
  part('state').dataset.state = state;
  part('state-text').textContent = state;
}

hub.on('state', showState);
hub.on('connected', ({ client }) => {
  people.own = client;
  people.call(client, name());
  attempt(names.publish({ name: name() }));
});
hub.on('disconnected', ({ code, reason }) => showProblem(`The hub said goodbye: ${code} ${reason}`));

part('cut').addEventListener('click', async () => {
  if (cut) return;
  cut = true;
  const button = part('cut');
  button.style.setProperty('--cut-for', `${CUT_MS}ms`);
  button.classList.add('running');
  button.setAttribute('aria-disabled', 'true');
  part('cut-text').textContent = 'Cut. The others go on …';
  showRecovered('');
  showNote('the socket is cut', 'bad');
  const mended = cutSockets(CUT_MS);
  showState();
  await mended;
  cut = false;
  button.classList.remove('running');
  button.removeAttribute('aria-disabled');
  part('cut-text').textContent = 'Cut the socket';
  showState();
});

// --- names -----------------------------------------------------------------------------------------

const nameField = part('name');
nameField.value = asName(sessionStorage.getItem('name')) ?? randomName();
const name = () => asName(nameField.value) ?? 'Nobody';

nameField.addEventListener('change', () => {
  nameField.value = name();
  sessionStorage.setItem('name', name());
  people.call(people.own, name());
  attempt(names.publish({ name: name() }));
});
sessionStorage.setItem('name', name());

const hearName = ({ data, info }) => people.call(info?.client, data?.name);
names.on('publication', hearName);
names.on('subscribed', async ({ recovered }) => {
  if (recovered) return;
  const page = await attempt(names.history({ limit: 100, reverse: true }));
  // Newest first: an older name of the same connection must not win.
  const known = new Set();
  for (const said of page?.publications ?? []) {
    if (known.has(said.info?.client)) continue;
    known.add(said.info?.client);
    hearName(said);
  }
});

// --- who is here -----------------------------------------------------------------------------------

chat.on('join', ({ info }) => {
  people.join(info.client);
});
chat.on('leave', ({ info }) => people.leave(info.client));

async function askWhoIsHere() {
  const presence = await attempt(chat.presence());
  if (presence) people.replace(Object.keys(presence.clients));
}

// --- the chat --------------------------------------------------------------------------------------

/** Publications that arrive while this is an object came out of a recovery. */
let recovery = null;

chat.on('subscribed', ({ wasRecovering, recovered, streamPosition }) => {
  epoch = streamPosition?.epoch ?? '';
  askWhoIsHere();
  if (!recovered) {
    if (wasRecovering) {
      showRecovered('The gap is too old to fill; this is what is kept.', 'bad');
      showNote('back, with a gap', 'bad');
    }
    loadHistory();
    return;
  }
  // The SDK hands out what was recovered before it returns to the event loop.
  recovery = { count: 0 };
  queueMicrotask(() => {
    const { count } = recovery;
    recovery = null;
    const what = count === 1 ? '1 message' : `${count} messages`;
    showRecovered(`recovered ${what}`);
    showNote(count ? `back, with ${what} that came meanwhile` : 'back, and nothing was missed', 'good');
  });
});

chat.on('publication', (publication) => {
  if (recovery) recovery.count += 1;
  figures.count();
  measure(publication);
  showMessage(publication, { recovered: recovery !== null });
});

bursts.on('publication', (publication) => {
  figures.count();
  measure(publication);
});

/** Offsets name the same publication only within one epoch: a restarted hub counts from 1 again. */
let epoch = '';

/** Shows what the hub still has and the page does not, each where its offset belongs. */
async function loadHistory() {
  const page = await attempt(chat.history({ limit: HISTORY_SHOWN, reverse: true }));
  for (const publication of page?.publications ?? []) {
    const ofEpoch = [...messages.children].filter(({ dataset }) => dataset.epoch === epoch);
    if (ofEpoch.some(({ dataset }) => Number(dataset.offset) === publication.offset)) continue;
    const before = ofEpoch.find(({ dataset }) => Number(dataset.offset) > publication.offset) ?? null;
    showMessage(publication, { before });
  }
}

part('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = part('text');
  const text = field.value.trim();
  if (!text) return;
  field.value = '';
  send(chat, { text, name: name() });
});

part('burst').addEventListener('click', () => {
  for (let n = 0; n < BURST; n++) send(bursts, {});
});

// --- there and back --------------------------------------------------------------------------------

const sentAt = new Map();
let sendings = 0;

function send(room, data) {
  const key = `${Math.random().toString(36).slice(2)} ${(sendings += 1)}`;
  sentAt.set(key, performance.now());
  attempt(room.publish({ ...data, key, at: Date.now() })).then((answer) => {
    if (!answer) sentAt.delete(key);
  });
}

function measure({ data }) {
  const start = sentAt.get(data?.key);
  if (start === undefined) return;
  sentAt.delete(data.key);
  figures.cameBack(performance.now() - start);
}

// --- showing ---------------------------------------------------------------------------------------

/** What a publication says, whoever made it: the page, another client, or `curl`. */
function read({ data, info }) {
  const isObject = typeof data === 'object' && data !== null;
  const text = isObject && typeof data.text === 'string' ? data.text : undefined;
  return {
    text: text ?? (typeof data === 'string' ? data : JSON.stringify(data)),
    from: asName(isObject ? data.name : undefined) ?? (info ? people.nameOf(info.client) : 'The backend'),
    at: isObject && Number.isFinite(data.at) ? new Date(data.at) : new Date(),
    mine: info?.client === people.own || (isObject && sentBefore.has(data.key)),
  };
}

/** Keys of what this page has shown as its own: after a reconnect its connection has another id. */
const sentBefore = new Set();

function showMessage(publication, { recovered = false, before = null } = {}) {
  const { text, from, at, mine } = read(publication);
  if (mine && publication.data?.key) sentBefore.add(publication.data.key);
  const item = document.createElement('li');
  item.className = 'message';
  item.classList.toggle('mine', mine);
  item.classList.toggle('recovered', recovered);
  item.dataset.from = from;
  item.dataset.epoch = epoch;
  item.dataset.offset = publication.offset;
  item.style.setProperty('--hue', hueOf(from));

  const who = document.createElement('p');
  who.className = 'who';
  const called = document.createElement('strong');
  called.textContent = from;
  const time = document.createElement('time');
  time.dateTime = at.toISOString();
  time.textContent = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  who.append(called, time);
  if (recovered) {
    const tag = document.createElement('span');
    tag.className = 'tag';
    tag.textContent = 'recovered';
    who.append(tag);
  }

  const said = document.createElement('p');
  said.className = 'said';
  said.textContent = text;
  item.append(drawFace(from), who, said);

  const previous = before ? before.previousElementSibling : messages.lastElementChild;
  joinTo(item, previous);
  place(item, before);
  if (before) joinTo(before, item);
}

/** Messages of one person in a row share a face and a name. */
function joinTo(item, previous) {
  const same = previous?.dataset.from === item.dataset.from && previous.matches('.mine') === item.matches('.mine');
  item.classList.toggle('same', same);
}

function showNote(text, kind) {
  const item = document.createElement('li');
  item.className = `note ${kind}`;
  item.textContent = text;
  place(item, null);
}

/** Puts an item in its place; who reads further up is not moved. */
function place(item, before) {
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  messages.insertBefore(item, before);
  part('empty').hidden = true;
  while (messages.children.length > MESSAGES_SHOWN_MAX) messages.firstElementChild.remove();
  if (atEnd) messages.scrollTop = messages.scrollHeight;
}

function showRecovered(text, kind = 'good') {
  part('recovered').textContent = text;
  part('recovered').className = `result ${kind}`;
}

let problemTimer;
function showProblem(text) {
  const problem = part('problem');
  problem.textContent = text;
  problem.hidden = false;
  clearTimeout(problemTimer);
  problemTimer = setTimeout(() => (problem.hidden = true), PROBLEM_SHOWN_MS);
}

/** Resolves like `promise`, or says on the page why not and resolves with `undefined`. */
async function attempt(promise) {
  try {
    return (await promise) ?? {};
  } catch ({ code, message }) {
    showProblem(`Not done: ${message} (${code})`);
    return undefined;
  }
}

for (const subscription of [chat, names, bursts]) {
  subscription.on('unsubscribed', ({ code, reason }) => showProblem(`${subscription.channel}: ${reason} (${code})`));
  subscription.subscribe();
}
showState();
hub.connect();
// On a phone it would raise the keyboard over the page.
if (matchMedia('(hover: hover)').matches) part('text').focus();

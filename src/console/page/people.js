// Who is here, and what they are called.
//
// Presence knows connections; names are published into a channel of their own, and belong to the
// connection that the hub says published them.

const ADJECTIVES = ['Brave', 'Bright', 'Calm', 'Clever', 'Gentle', 'Happy', 'Kind', 'Lively', 'Mellow', 'Quick', 'Quiet', 'Sunny'];
const ANIMALS = ['Badger', 'Crane', 'Finch', 'Fox', 'Hare', 'Heron', 'Lark', 'Lynx', 'Marten', 'Otter', 'Owl', 'Wren'];

/** Names kept of connections that may be gone; more would grow for as long as the page is open. */
const NAMES_MAX = 1_000;
const NAME_LENGTH_MAX = 40;

const pick = (list) => list[Math.floor(Math.random() * list.length)];

export const randomName = () => `${pick(ADJECTIVES)} ${pick(ANIMALS)}`;

/** A name as it may be shown, or `undefined` when it is none. */
export function asName(value) {
  const name = typeof value === 'string' ? value.trim().slice(0, NAME_LENGTH_MAX) : '';
  return name || undefined;
}

/** The same colour for the same name, everywhere. */
export function hueOf(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 3_600;
  return hash % 360;
}

export const initialsOf = (name) => name.split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? '').join('').toUpperCase();

/** A round picture of a name. */
export function drawFace(name) {
  const face = document.createElement('span');
  face.className = 'face';
  face.setAttribute('aria-hidden', 'true');
  face.style.setProperty('--hue', hueOf(name));
  face.textContent = initialsOf(name);
  return face;
}

/** The list of who is here. */
export class People {
  #here = new Set();
  #names = new Map();
  #list;
  #count;
  own = '';

  constructor(list, count) {
    this.#list = list;
    this.#count = count;
  }

  nameOf(client) {
    return this.#names.get(client) ?? `Guest ${client.slice(0, 4)}`;
  }

  call(client, value) {
    const name = asName(value);
    if (!client || !name) return;
    this.#names.delete(client);
    this.#names.set(client, name);
    for (const [oldest] of this.#names) {
      if (this.#names.size <= NAMES_MAX) break;
      if (!this.#here.has(oldest)) this.#names.delete(oldest);
      else break;
    }
    if (this.#here.has(client)) this.draw();
  }

  replace(clients) {
    this.#here = new Set(clients);
    this.draw();
  }

  join(client) {
    this.#here.add(client);
    this.draw();
  }

  leave(client) {
    this.#here.delete(client);
    this.draw();
  }

  draw() {
    const clients = [...this.#here].sort((a, b) => {
      return (b === this.own) - (a === this.own) || this.nameOf(a).localeCompare(this.nameOf(b));
    });
    this.#list.replaceChildren(...clients.map((client) => this.#drawPerson(client)));
    this.#count.textContent = clients.length;
  }

  #drawPerson(client) {
    const name = this.nameOf(client);
    const item = document.createElement('li');
    const called = document.createElement('span');
    called.className = 'called';
    called.textContent = name;
    item.append(drawFace(name), called);
    if (client === this.own) {
      const you = document.createElement('span');
      you.className = 'you';
      you.textContent = 'you';
      item.append(you);
    }
    return item;
  }
}

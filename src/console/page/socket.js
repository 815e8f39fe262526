// A WebSocket that can be cut: what the SDK takes for the browser's own.

let mended = Promise.resolve();
const sockets = new Set();

/**
 * Cuts every socket as a lost network does: nothing more arrives, no goodbye reaches the SDK, and
 * new sockets stay on the way until `milliseconds` have passed.
 */
export function cutSockets(milliseconds) {
  mended = new Promise((resolve) => setTimeout(resolve, milliseconds));
  for (const socket of sockets) socket.lose();
  return mended;
}

/** The part of WebSocket's interface that the SDK uses. */
export class CuttableSocket {
  binaryType = 'blob';
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  #socket = null;
  #over = false;

  constructor(...address) {
    sockets.add(this);
    mended.then(() => this.#open(address));
  }

  #open(address) {
    if (this.#over) return;
    const socket = new WebSocket(...address);
    socket.binaryType = this.binaryType;
    // After a cut the browser's socket still closes with manners; the SDK no longer hears it.
    const unlessOver = (hear) => (event) => this.#over || hear(event);
    socket.onopen = unlessOver((event) => this.onopen?.(event));
    socket.onmessage = unlessOver((event) => this.onmessage?.(event));
    socket.onerror = unlessOver((event) => this.onerror?.(event));
    socket.onclose = unlessOver((event) => this.#end(event));
    this.#socket = socket;
  }

  send(data) {
    this.#socket?.send(data);
  }

  /** Closes as the SDK asks; without a socket yet, there is nothing to wait for. */
  close(...reason) {
    if (this.#socket) this.#socket.close(...reason);
    else this.lose();
  }

  /** The line is dead: 1006, as the browser reports it. */
  lose() {
    if (this.#over) return;
    const socket = this.#socket;
    this.#end(new CloseEvent('close', { code: 1006, wasClean: false }));
    socket?.close();
  }

  #end(event) {
    this.#over = true;
    sockets.delete(this);
    this.onclose?.(event);
  }
}

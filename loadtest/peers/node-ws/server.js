// A minimal room server on `ws`: what a team writes in an afternoon, without a mistake in it.
//
// It speaks as much of Centrifugo's JSON protocol as the load scenarios use: connect, subscribe,
// publish. No history, no presence, no limits. A publication's message is built once; each member
// gets it by one `send`. `bufferutil` and `utf-8-validate` are installed, as its README recommends.
//
// PORT     where it listens on 127.0.0.1; 0: a free port
// SECRET   when set, a connect command needs an HS256 token signed with it
// DEFLATE  when set, messages are compressed (level 1, no context taken over, as in the hub)
// FAULT    drop:N, duplicate:N or reorder:N does that to every Nth delivery; the checker of the load
//          generator is tested with it

import { randomUUID } from "node:crypto";
import { WebSocketServer } from "ws";
import { userOf } from "../tokens.js";

const { PORT = "8001", SECRET, DEFLATE, FAULT } = process.env;

/** Members of each channel. @type {Map<string, Set<import("ws").WebSocket>>} */
const rooms = new Map();

const deliver = FAULT ? faultyDelivery(FAULT) : (socket, message) => socket.send(message);

const perMessageDeflate = DEFLATE
  ? { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0, zlibDeflateOptions: { level: 1 } }
  : false;
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(PORT), perMessageDeflate });
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  socket.channels = new Set();
  socket.on("message", (message) => {
    for (const line of message.toString().split("\n")) handle(socket, JSON.parse(line));
  });
  socket.on("close", () => {
    for (const channel of socket.channels) rooms.get(channel).delete(socket);
  });
  // The close event follows.
  socket.on("error", () => {});
});

function handle(socket, command) {
  const reply = (fields) => socket.send(JSON.stringify({ id: command.id, ...fields }));
  if (command.connect) {
    socket.user = SECRET ? userOf(command.connect.token, SECRET) : "";
    if (socket.user === undefined) return socket.close(3500, "invalid token");
    reply({ connect: { client: randomUUID(), version: "node-ws" } });
  } else if (socket.user === undefined) {
    socket.close(3501, "bad request");
  } else if (command.subscribe) {
    const { channel } = command.subscribe;
    if (!rooms.has(channel)) rooms.set(channel, new Set());
    rooms.get(channel).add(socket);
    socket.channels.add(channel);
    reply({ subscribe: {} });
  } else if (command.publish) {
    const { channel, data } = command.publish;
    reply({ publish: {} });
    const message = JSON.stringify({ push: { channel, pub: { data } } });
    for (const member of rooms.get(channel) ?? []) deliver(member, message);
  } else if (command.id) {
    reply({ error: { code: 104, message: "method not found" } });
  }
}

/** `send` with a fault at every Nth delivery. */
function faultyDelivery(fault) {
  const [kind, every] = fault.split(":");
  let count = 0;
  // Messages held back until the next one to the same member has gone.
  const held = new Map();
  return (socket, message) => {
    count += 1;
    const strikes = count % Number(every) === 0;
    if (strikes && kind === "drop") return;
    if (strikes && kind === "reorder" && !held.has(socket)) return held.set(socket, message);
    socket.send(message);
    if (strikes && kind === "duplicate") socket.send(message);
    if (held.has(socket)) {
      socket.send(held.get(socket));
      held.delete(socket);
    }
  };
}

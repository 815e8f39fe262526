// A minimal room server on uWebSockets.js: what a team writes in an afternoon, without a mistake in it.
//
// Speaks the same part of Centrifugo's JSON protocol as the `ws` peer: connect, subscribe, publish.
// Rooms are topics of the library, so that its own batching works: what is published in one turn of
// its loop goes to each member in one write. No history, no presence, no metrics.
//
// PORT     where it listens on 127.0.0.1
// SECRET   when set, a connect command needs an HS256 token signed with it
// DEFLATE  when set, messages are compressed, each publication once for each member's socket

import { randomUUID } from "node:crypto";
import uws from "@trufflesuite/uws-js-unofficial";
import { userOf } from "../tokens.js";

const { PORT = "8002", SECRET, DEFLATE } = process.env;
const compress = Boolean(DEFLATE);

const app = uws.App();
app.ws("/*", {
  compression: compress ? uws.SHARED_COMPRESSOR : uws.DISABLED,
  maxPayloadLength: 4 * 1024 * 1024,
  // Beyond it the library drops messages. Wide enough that no healthy member ever loses one.
  maxBackpressure: 16 * 1024 * 1024,
  // Nothing is sent to idle connections, as in the `ws` peer.
  idleTimeout: 0,
  message(socket, message) {
    for (const line of Buffer.from(message).toString().split("\n")) handle(socket, JSON.parse(line));
  },
});
app.listen("127.0.0.1", Number(PORT), (listening) => {
  if (!listening) process.exit(1);
  console.log(`listening on 127.0.0.1:${PORT}`);
});

function handle(socket, command) {
  const reply = (fields) => socket.send(JSON.stringify({ id: command.id, ...fields }), false, compress);
  if (command.connect) {
    socket.user = SECRET ? userOf(command.connect.token, SECRET) : "";
    if (socket.user === undefined) return socket.end(3500, "invalid token");
    reply({ connect: { client: randomUUID(), version: "uws" } });
  } else if (socket.user === undefined) {
    socket.end(3501, "bad request");
  } else if (command.subscribe) {
    socket.subscribe(command.subscribe.channel);
    reply({ subscribe: {} });
  } else if (command.publish) {
    const { channel, data } = command.publish;
    reply({ publish: {} });
    app.publish(channel, JSON.stringify({ push: { channel, pub: { data } } }), false, compress);
  } else if (command.id) {
    reply({ error: { code: 104, message: "method not found" } });
  }
}

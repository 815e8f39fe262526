// A minimal room server on socket.io: what a team writes in an afternoon, without a mistake in it.
//
// socket.io's own protocol over its WebSocket transport, with the add-ons that its documentation
// recommends for speed (`bufferutil`, `utf-8-validate`). Rooms are its rooms; subscribe and publish
// are acknowledged. No history, no presence, no metrics.
//
// PORT     where it listens on 127.0.0.1
// SECRET   when set, a connection needs an HS256 token signed with it
// DEFLATE  when set, messages are compressed (level 1, no context taken over, as in the hub)

import { createServer } from "node:http";
import { Server } from "socket.io";
import { userOf } from "../tokens.js";

const { PORT = "8003", SECRET, DEFLATE } = process.env;

const perMessageDeflate = DEFLATE
  ? { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0, zlibDeflateOptions: { level: 1 } }
  : false;
const options = { transports: ["websocket"], serveClient: false, maxHttpBufferSize: 4 * 1024 * 1024, perMessageDeflate };

const server = createServer();
const io = new Server(server, options);
io.use((socket, next) => {
  socket.data.user = SECRET ? userOf(socket.handshake.auth.token, SECRET) : "";
  next(socket.data.user === undefined ? new Error("invalid token") : undefined);
});
io.on("connection", (socket) => {
  socket.on("subscribe", (channel, acknowledge) => {
    socket.join(channel);
    acknowledge();
  });
  socket.on("publish", (channel, data, acknowledge) => {
    acknowledge();
    io.to(channel).emit("publication", { channel, data });
  });
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on 127.0.0.1:${server.address().port}`));

// ws on Node, used the way its manual recommends and no further: its broadcast is a loop that sends
// the received buffer to every open member. bufferutil is installed beside it, as the manual says for
// Node before 26.12. No compression (its default); TCP_NODELAY is set by ws.
//
// It speaks the raw protocol of `throng bench`: `join 0 1 2` makes the sender a member of these rooms
// and is answered `joined`; any other text `ROOM PAYLOAD` reaches all members of that room as it is,
// the sender too.
//
// PORT (environment, default 0: any free one). Prints `ready PORT PID` once it listens.
// Node raises its limit of descriptors to the hard one by itself.

import { WebSocket, WebSocketServer } from "ws";

// Bytes that wait for one member before it counts as too slow and is ended.
const WAITING_BYTES_MAX = 1024 * 1024;
// Room by number: the set of its members.
const rooms = new Map();

// Rooms are the only sets of members; the one of all clients that ws would keep is not needed.
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.PORT ?? 0),
  backlog: 4096,
  clientTracking: false,
});

server.on("connection", (member) => {
  member.on("error", () => member.terminate());
  member.on("close", () => {
    for (const members of rooms.values()) members.delete(member);
  });
  member.on("message", (data) => {
    const space = data.indexOf(" ");
    const first = data.toString("latin1", 0, space < 0 ? data.length : space);
    if (first === "join") {
      for (const room of data.toString("latin1").split(" ").slice(1)) {
        if (!rooms.has(room)) rooms.set(room, new Set());
        rooms.get(room).add(member);
      }
      member.send("joined");
      return;
    }
    for (const one of rooms.get(first) ?? []) {
      if (one.bufferedAmount > WAITING_BYTES_MAX) one.terminate();
      else if (one.readyState === WebSocket.OPEN) one.send(data, { binary: false });
    }
  });
});

server.on("listening", () => console.log(`ready ${server.address().port} ${process.pid}`));

// Bun's WebSocket server (uWebSockets inside), used the way its manual recommends and no further:
// a native topic per room, one `server.publish` per message, no compression, no per-socket data.
//
// It speaks the raw protocol of `throng bench`: `join 0 1 2` makes the sender a member of these rooms
// and is answered `joined`; any other text `ROOM PAYLOAD` reaches all members of that room as it is,
// the sender too.
//
// PORT (environment, default 0: any free one); REUSE_PORT=1 lets several processes share it. Prints `ready PORT PID` once it listens.
// Bun raises its limit of descriptors to the hard one by itself.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT ?? 0),
  reusePort: process.env.REUSE_PORT === "1",
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response("this server speaks WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 960, // Seconds; the longest that Bun takes.
    closeOnBackpressureLimit: true, // A member that is too slow is ended, not skipped.
    message(member, text) {
      if (typeof text !== "string") return;
      const space = text.indexOf(" ");
      if (text === "join" || text.startsWith("join ")) {
        for (const room of text.split(" ").slice(1)) member.subscribe(`room-${room}`);
        member.send("joined");
        return;
      }
      server.publish(`room-${text.slice(0, space)}`, text);
    },
  },
});

console.log(`ready ${server.port} ${process.pid}`);

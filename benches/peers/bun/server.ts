// Bun's WebSocket server (uWebSockets inside), used the way its manual recommends and no further:
// a native topic per room, one `server.publish` per message, no compression, no data per socket.
// It speaks the raw dialect of `throng bench` (dialects/raw.toml): `join 0 1 2` makes the sender a
// member of rooms 0, 1 and 2 and is answered `joined`; every other text is `ROOM PAYLOAD` and is
// delivered verbatim to all members of that room, the sender too.
//
// Options: PORT (environment, default 0: any free one). Prints `ready PORT PID` once it listens.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT ?? 0),
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response("this server speaks WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 960, // Seconds; the longest that Bun takes.
    message(member, text: string) {
      // A room's number is followed by a space, so `join` is told by its first letter.
      if (text.startsWith("j")) {
        for (const room of text.split(" ").slice(1)) member.subscribe(room);
        member.send("joined");
        return;
      }
      server.publish(text.slice(0, text.indexOf(" ")), text);
    },
  },
});

console.log(`ready ${server.port} ${process.pid}`);

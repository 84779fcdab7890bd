// Bun's WebSocket server (uWebSockets inside), used the way its manual recommends and no further:
// a native topic per room, one `server.publish` per message, no compression, no per-socket data
// beyond a counter. What it answers is what `throng bench fanout --dialect raw` expects:
// `join` makes the sender a member and is answered `joined`; every other text frame that a member
// sends reaches all members of the room, the sender too.
//
// `?rooms=R` joins a socket to R rooms; its messages then go to those rooms in turn.
// Options: PORT (environment, default 0: any free one). Prints `ready PORT PID` once it listens.

type Member = { rooms: number; sent: number };

const server = Bun.serve<Member>({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT ?? 0),
  fetch(request, server) {
    const rooms = Number(new URL(request.url).searchParams.get("rooms") ?? 1);
    if (server.upgrade(request, { data: { rooms, sent: 0 } })) return;
    return new Response("this server speaks WebSocket only\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 960, // Seconds; the longest that Bun takes.
    message(member, text) {
      if (text === "join") {
        for (let room = 0; room < member.data.rooms; room++) member.subscribe(`room-${room}`);
        member.send("joined");
        return;
      }
      server.publish(`room-${member.data.sent++ % member.data.rooms}`, text);
    },
  },
});

console.log(`ready ${server.port} ${process.pid}`);

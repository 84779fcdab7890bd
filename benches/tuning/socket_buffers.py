"""SO_SNDBUF and SO_RCVBUF against kernel memory: idle, with readers that stall, with senders that flood."""

import socket
import time

import linux

QUESTION = "What do SO_SNDBUF and SO_RCVBUF cost: idle, with stalled readers, with flooding senders?"
ROOT = "reads /proc/slabinfo and makes a network namespace"
THRONG = False
SECONDS = 25

SIZES = [0, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20]
IDLE = 4000
FULL = 100
MESSAGE = 4096
SMALL = 200


def measure(_):
    idle = [[linux.size(size), *linux.apart(idle_cost, size)] for size in SIZES]
    stalled = [[linux.size(size), *linux.apart(stalled_reader, size, MESSAGE), *linux.apart(stalled_reader, size, SMALL)]
               for size in SIZES]
    for lowat in (4 << 10, 16 << 10, 64 << 10):
        stalled.append([f"auto, TCP_NOTSENT_LOWAT {linux.size(lowat)}", *linux.apart(stalled_reader, 0, MESSAGE, lowat),
                        *linux.apart(stalled_reader, 0, SMALL, lowat)])
    flood = [[linux.size(size), *linux.apart(flooding_sender, size, MESSAGE), *linux.apart(flooding_sender, size, SMALL)]
             for size in SIZES]
    return [
        linux.table(f"{IDLE} idle connections, both sizes on both ends", ["size asked for", "SO_SNDBUF then",
                    "SO_RCVBUF then", "TCP pages in all", "slab bytes per pair"], idle,
                    "Linux doubles what is asked for; net.core.wmem_max and rmem_max bound it before that."),
        linux.table(f"Stalled readers ({FULL}): the server writes until the socket takes no more; clients have SO_RCVBUF "
                    "4 KiB and read nothing", ["SO_SNDBUF asked for", f"bytes taken of {MESSAGE} B messages",
                    "memory charged", "pages per pair", f"bytes taken of {SMALL} B messages", "memory charged",
                    "pages per pair"], stalled, "Charged: SO_MEMINFO of the server's socket. Pages: of "
                    "/proc/net/sockstat, both ends, 4 KiB each."),
        linux.table(f"Flooding senders ({FULL}): clients write until their socket takes no more (SO_SNDBUF 4 KiB); the "
                    "server reads nothing", ["SO_RCVBUF asked for", f"bytes taken of {MESSAGE} B messages",
                    "memory charged", "pages per pair", f"bytes taken of {SMALL} B messages", "memory charged",
                    "pages per pair"], flood, "Charged: received and not read, SO_MEMINFO of the server's socket."),
    ]


def sized(size, *names):
    """Socket options that set these buffers, none for the kernel's own."""
    return [(socket.SOL_SOCKET, name, size) for name in names] if size else []


def idle_cost(size):
    linux.raise_descriptors()
    both = sized(size, socket.SO_SNDBUF, socket.SO_RCVBUF)
    linux.closing(end for pair in linux.pairs(200) for end in pair)
    pages, slab = linux.sockstat()["mem"], sum(linux.slabs().values())
    made = linux.pairs(IDLE, both, both)
    for server, client in made:
        client.send(b"x")
        server.recv(1)
    server = made[0][0]
    got = [server.getsockopt(socket.SOL_SOCKET, name) for name in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
    return [*got, linux.sockstat()["mem"] - pages, round((sum(linux.slabs().values()) - slab) / IDLE)]


def stalled_reader(size, message, lowat=0):
    marked = [(socket.IPPROTO_TCP, linux.TCP_NOTSENT_LOWAT, lowat)] if lowat else []
    made = linux.pairs(FULL, sized(size, socket.SO_SNDBUF) + marked, sized(4096, socket.SO_RCVBUF))
    pages = linux.sockstat()["mem"]
    taken = [linux.send_until_full(server, b"x" * message) for server, _ in made]
    time.sleep(0.3)
    taken = [first + linux.send_until_full(server, b"x" * message) for first, (server, _) in zip(taken, made)]
    charged = [linux.memory_of(server)["queued"] for server, _ in made]
    return [round(linux.median(taken)), round(linux.median(charged)),
            round((linux.sockstat()["mem"] - pages) / FULL, 1)]


def flooding_sender(size, message):
    made = linux.pairs(FULL, sized(size, socket.SO_RCVBUF), sized(4096, socket.SO_SNDBUF))
    pages = linux.sockstat()["mem"]
    taken = [linux.send_until_full(client, b"x" * message) for _, client in made]
    for _ in range(20):
        time.sleep(0.05)
        taken = [first + linux.send_until_full(client, b"x" * message) for first, (_, client) in zip(taken, made)]
    charged = [linux.memory_of(server)["received"] for server, _ in made]
    return [round(linux.median(taken)), round(linux.median(charged)),
            round((linux.sockstat()["mem"] - pages) / FULL, 1)]

"""TCP_NOTSENT_LOWAT and SO_SNDBUF on a long path: how old is what a reader gets, what the kernel holds, what gets through."""

import select
import socket
import struct
import time

import linux
import long_path

QUESTION = "On a long path: what do TCP_NOTSENT_LOWAT and SO_SNDBUF do to throughput, to the age of messages, and to memory?"
ROOT = "makes network namespaces and TUN devices"
THRONG = False
SECONDS = 70

# 100 ms there and back at 20 Mbit/s: 250 KB are under way when the path is full.
DELAY_MS = 50
BYTES_PER_SECOND = 2_500_000
QUEUE_BYTES = 500_000
SECONDS_EACH = 7
WARM_UP_S = 3
MESSAGE = 1000

CASES = [("SO_SNDBUF auto", 0, 0), ("SO_SNDBUF auto", 0, 0, "bbr"), ("auto, TCP_NOTSENT_LOWAT 128 KiB", 0, 131072),
         ("auto, TCP_NOTSENT_LOWAT 16 KiB", 0, 16384),
         ("SO_SNDBUF 64 KiB (throng's default)", 65536, 0), ("SO_SNDBUF 64 KiB (throng's default)", 65536, 0, "bbr"),
         ("64 KiB, TCP_NOTSENT_LOWAT 16 KiB", 65536, 16384),
         ("SO_SNDBUF 256 KiB", 262144, 0), ("SO_SNDBUF 1 MiB", 1 << 20, 0)]


def measure(_):
    rows = []
    known = linux.read_setting("net.ipv4.tcp_available_congestion_control").split()
    for title, size, lowat, *control in CASES:
        control = control[0] if control else "cubic"
        if control in known:
            rows.append([title, control, *linux.apart(stream, size, lowat, control, namespace=False)])
    return [linux.table("A server that writes the newest state, 1,000 B, until the socket takes no more, and again when it is "
                        "writable; the path is 20 Mbit/s "
                        "and 100 ms there and back", ["server's socket", "congestion control", "Mbit/s received",
                        "age at the reader p50, ms",
                        "p99, ms", "queued at the server p50, bytes (SO_MEMINFO)", "of it not sent, p50 bytes (TCP_INFO)"], rows,
                        f"After {WARM_UP_S} s of warm-up. The least possible age is 50 ms. The queue of the path holds "
                        f"{QUEUE_BYTES:,} bytes.")]


def stream(size, lowat, control):
    path = long_path.Path(DELAY_MS, BYTES_PER_SECOND, QUEUE_BYTES)
    try:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                   (socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())]
        options += [(socket.SOL_SOCKET, socket.SO_SNDBUF, size)] if size else []
        options += [(socket.IPPROTO_TCP, linux.TCP_NOTSENT_LOWAT, lowat)] if lowat else []
        with linux.inside(path.server):
            door = linux.listener(host=path.SERVER, options=options)
        with linux.inside(path.client):
            client = socket.create_connection(door.getsockname(), 10)
        select.select([door], [], [], 5)
        server, _ = door.accept()
        reader = linux.Worker(read, client)
        server.setblocking(False)
        started, rest, queued, unsent, look_at = time.monotonic(), b"", [], [], 0
        while time.monotonic() - started < SECONDS_EACH:
            select.select([], [server], [], 0.1)
            try:
                while True:
                    rest = rest or struct.pack("d", time.monotonic()).ljust(MESSAGE, b".")
                    rest = rest[server.send(rest):]
            except BlockingIOError:
                pass
            now = time.monotonic()
            if now - started > WARM_UP_S and now > look_at:
                look_at = now + 0.02
                queued.append(linux.memory_of(server)["queued"])
                info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                unsent.append(struct.unpack_from("I", info, 144)[0])
        told = reader.ask()
        reader.stop()
        return [*told, round(linux.median(queued)), round(linux.median(unsent))]
    finally:
        path.close()


def read(pipe, client):
    """Reads until told to stop; answers with Mbit/s and the age of messages after the warm-up."""
    client.setblocking(True)
    started, buffer, ages, got = time.monotonic(), b"", [], 0
    while not select.select([pipe], [], [], 0)[0]:
        if not select.select([client], [], [], 0.1)[0]:
            continue
        buffer += client.recv(65536)
        now = time.monotonic()
        while len(buffer) >= MESSAGE:
            if now - started > WARM_UP_S:
                ages.append(now - struct.unpack_from("d", buffer)[0])
                got += MESSAGE
            buffer = buffer[MESSAGE:]
    pipe.recv(100)
    seconds = time.monotonic() - started - WARM_UP_S
    told = [got * 8 / seconds / 1e6, linux.median(ages) * 1e3, linux.part(ages, 0.99) * 1e3]
    pipe.send(str(told).encode())

"""The accept queue and the SYN queue: what clients of a burst see when a server does not accept soon enough."""

import os
import select
import socket
import struct
import time

import linux

QUESTION = "A burst of connects against a small backlog: who waits how long, and which counters tell of it?"
ROOT = "makes network namespaces with net.ipv4.tcp_syncookies and others"
THRONG = False
SECONDS = 30

BURST = 400
BUSY_S = 0.3
WAIT_S = 8


def measure(_):
    rows = []
    for title, backlog, keys in (
            ("backlog 4096", 4096, {}),
            ("backlog 4096, somaxconn 64", 4096, {"net.core.somaxconn": 64}),
            ("backlog 64", 64, {}),
            ("backlog 64, tcp_syncookies 0", 64, {"net.ipv4.tcp_syncookies": 0}),
            ("backlog 64, tcp_syncookies 2", 64, {"net.ipv4.tcp_syncookies": 2}),
            ("backlog 64, tcp_abort_on_overflow 1", 64, {"net.ipv4.tcp_abort_on_overflow": 1})):
        rows.append([title, *linux.apart(burst, backlog, keys)])
    return [
        linux.table(f"{BURST} connects at once, each with a request; the server accepts nothing for {BUSY_S} s, then "
                    "everything, and answers", ["listener", "answered within 1 s", "1 to 2 s", "2 to 4 s", "4 to 8 s",
                    "reset", "no answer in 8 s", "connect() done within 1 s", "ListenOverflows", "ListenDrops",
                    "SYNs repeated"], rows,
                    "ListenDrops counts ListenOverflows too. The first SYN is repeated after 1 s, then after 2 and 4 s more."),
        syn_queue(),
    ]


def burst(backlog, keys):
    linux.raise_descriptors()
    for key, value in keys.items():
        linux.write_setting(key, value)
    door = linux.listener(backlog)
    started = time.monotonic()
    clients, connected, answered, reset = {}, [], [], 0
    poll = select.epoll()
    for _ in range(BURST):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(door.getsockname())
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLOUT)
    served = {}
    while time.monotonic() < started + WAIT_S and len(answered) + reset < BURST:
        if time.monotonic() > started + BUSY_S:
            while select.select([door], [], [], 0)[0]:
                server, _ = door.accept()
                server.setblocking(False)
                served[server.fileno()] = server
                poll.register(server, select.EPOLLIN)
        for number, event in poll.poll(0.01):
            try:
                if number in served:
                    served[number].send(served[number].recv(10))
                    poll.unregister(number)
                elif event & select.EPOLLIN or event & select.EPOLLERR:
                    clients[number].recv(10)
                    answered.append(time.monotonic() - started)
                    poll.unregister(number)
                else:
                    connected.append(time.monotonic() - started)
                    clients[number].send(b"x")
                    poll.modify(number, select.EPOLLIN)
            except OSError:
                reset += 1
                poll.unregister(number)
    count = linux.counters()
    between = [sum(low <= one < high for one in answered) for low, high in ((0, 1), (1, 2), (2, 4), (4, 8))]
    return [*between, reset, BURST - reset - len(answered), sum(one < 1 for one in connected), count["ListenOverflows"],
            count["ListenDrops"], count["TCPSynRetrans"]]


def syn_queue():
    """SYNs whose senders never answer: the SYN queue fills, and a real client comes."""
    rows = []
    for cookies, backlog, syns in ((1, 128, 2048), (1, 4096, 2048), (1, 4096, 256), (0, 128, 2048), (0, 4096, 2048),
                                   (0, 4096, 256)):
        rows.append([cookies, backlog, syns, *linux.apart(half_open, cookies, backlog, syns)])
    return linux.table("1,000 half-open connections (SYN-ACKs are lost), then 50 clients that are real",
                       ["tcp_syncookies", "backlog", "tcp_max_syn_backlog", "held in SYN-RECV", "slab bytes of each",
                        "real clients connected in 1 s", "cookies sent", "TCPReqQFullDrop", "ListenDrops"], rows,
                       "The SYN queue of a listener is bounded by its backlog; tcp_max_syn_backlog is looked at only without cookies.")


def half_open(cookies, backlog, syns):
    linux.write_setting("net.ipv4.tcp_max_syn_backlog", syns)
    linux.write_setting("net.ipv4.tcp_syncookies", cookies)
    # A source whose answers go nowhere: raw SYNs from 127.0.9.x, and a rule that loses what goes there.
    linux.nft("table ip t { chain o { type filter hook output priority 0; ip daddr 127.0.9.0/24 drop; }; }\n")
    door = linux.listener(backlog)
    port = door.getsockname()[1]
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    for index in range(1000):
        source = f"127.0.9.{1 + index % 250}"
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        raw.sendto(syn(source, 10000 + index, "127.0.0.1", port), ("127.0.0.1", 0))
    time.sleep(0.1)
    held = sum(line.split()[3] == "03" for line in open("/proc/thread-self/net/tcp").read().splitlines()[1:])
    clients = [socket.socket() for _ in range(50)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    time.sleep(0.9)
    done = len(select.select([], clients, [], 0)[1])
    count = linux.counters()
    _, each = linux.slab_objects("request_sock_TCP")
    return [held, each, done, count["SyncookiesSent"], count["TCPReqQFullDrop"], count["ListenDrops"]]


def syn(source, source_port, target, target_port):
    """A SYN with its IP header."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    segment = struct.pack("!HHIIBBHHH", source_port, target_port, source_port, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, 6, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), os.getpid() & 0xffff, 0, 64, 6, 0) + addresses
    return header + segment


def checksum(data):
    total = sum(int.from_bytes(data[index:index + 2], "big") for index in range(0, len(data), 2))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff

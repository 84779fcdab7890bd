"""TCP_DEFER_ACCEPT: what a client costs that connects and says nothing, and when the server gets to know of it."""

import select
import socket
import time

import linux
import serving

QUESTION = "What does TCP_DEFER_ACCEPT do with clients that connect and say nothing?"
ROOT = "reads /proc/slabinfo and makes network namespaces"
THRONG = True
SECONDS = 160

SILENT = 3000
CONNECTIONS = 15000
PAIRS = 5


def measure(throng):
    held = [[name, *linux.apart(silent, seconds)] for name, seconds in (("off", 0), ("60 s", 60))]
    handed = [[seconds, *linux.apart(handed_over, seconds)] for seconds in (1, 2, 4)]
    crowd = [[backlog, *linux.apart(crowded, backlog)] for backlog in (128, 4096)]
    names = ("server_cpu_us_per_connect", "connects_per_second")
    found = {(seconds, name): [] for seconds in (0, 1) for name in names}
    for _ in range(PAIRS):
        for seconds in (0, 1):
            for name, value in linux.apart(connects, throng, seconds).items():
                found[seconds, name].append(value)
    rows = [[name, linux.median(found[0, name]), linux.median(found[1, name]), linux.ratio(found[0, name], found[1, name])]
            for name in names]
    return [
        linux.table(f"{SILENT:,} clients that connect and say nothing, 0.5 s after", ["TCP_DEFER_ACCEPT", "accepted",
                    "in SYN-RECV at the server", "established for the client", "slab bytes of a client, both ends",
                    "of it request_sock_TCP", "of it TCP"], held, "A server whose clients are elsewhere has a half of TCP "
                    "without it, and only the request with it."),
        linux.table("When a silent client is handed to accept()", ["TCP_DEFER_ACCEPT, s", "accepted after, s",
                    "SYN-ACKs repeated"], handed, "The kernel counts time-outs (1, 2, 4 s apart), not seconds, and "
                    "repeats the SYN-ACK after the last one."),
        linux.table("1,000 silent clients at a listener with TCP_DEFER_ACCEPT 60 s, then 50 that speak at once",
                    ["backlog", "in SYN-RECV", "of the 50 accepted in 1 s", "cookies sent"], crowd,
                    "Silent clients wait in the SYN queue, whose length is the backlog."),
        linux.table(f"throng bench idle --connections {CONNECTIONS} --hold 1, defer_accept_s 0 and 1, {PAIRS} pairs in turn",
                    ["figure", "0", "1", "ratio"], rows),
    ]


def deferring(seconds, backlog=4096):
    options = [(socket.IPPROTO_TCP, linux.TCP_DEFER_ACCEPT, seconds)] if seconds else []
    return linux.listener(backlog, options=options)


def states():
    """How many sockets of this namespace are in each state, by its number in /proc/net/tcp."""
    found = {}
    for line in open("/proc/thread-self/net/tcp").read().splitlines()[1:]:
        state = line.split()[3]
        found[state] = found.get(state, 0) + 1
    return found


def silent(seconds):
    linux.raise_descriptors()
    door = deferring(seconds)
    before = linux.slabs()
    clients = [socket.create_connection(door.getsockname()) for _ in range(SILENT)]
    time.sleep(0.5)
    accepted = []
    while select.select([door], [], [], 0)[0]:
        accepted.append(door.accept()[0])
    now = states()
    after = linux.slabs()
    grown = {name: (after[name] - before.get(name, 0)) / SILENT for name in after}
    return [len(accepted), now.get("03", 0), now.get("01", 0) - len(accepted), round(sum(grown.values())),
            round(grown.get("request_sock_TCP", 0)), round(grown.get("TCP", 0))]


def handed_over(seconds):
    door = deferring(seconds)
    client = socket.create_connection(door.getsockname())
    started = time.monotonic()
    is_in = bool(select.select([door], [], [], 25)[0])
    after = time.monotonic() - started
    client.close()
    return [round(after, 2) if is_in else "not in 25 s", linux.counters()["TCPSynRetrans"]]


def crowded(backlog):
    linux.raise_descriptors()
    door = deferring(60, backlog)
    quiet = []
    for _ in range(1000):
        quiet.append(socket.socket())
        quiet[-1].setblocking(False)
        quiet[-1].connect_ex(door.getsockname())
    time.sleep(0.2)
    held = states().get("03", 0)
    while select.select([door], [], [], 0)[0]:
        quiet.append(door.accept()[0])
    speaking = []
    for _ in range(50):
        client = socket.socket()
        client.settimeout(0.02)
        try:
            client.connect(door.getsockname())
            client.send(b"x")
        except OSError:
            pass
        speaking.append(client)
    time.sleep(0.5)
    done = 0
    ours = {client.getsockname() for client in speaking}
    while select.select([door], [], [], 0)[0]:
        server, peer = door.accept()
        done += peer in ours
        quiet.append(server)
    return [held, done, linux.counters()["SyncookiesSent"]]


def connects(throng, seconds):
    report = serving.bench(throng, "idle", "--connections", str(CONNECTIONS), "--hold", "1", serve="--shards 2",
                         configuration=f"[socket]\ndefer_accept_s = {seconds}\n")
    return {name: serving.figure(report, name) for name in ("server_cpu_us_per_connect", "connects_per_second")}

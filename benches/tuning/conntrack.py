"""nf_conntrack: what tracking costs per connection, per connect and per delivery, and what a full table does."""

import contextlib
import select
import socket
import subprocess
import time

import linux

QUESTION = "What does connection tracking cost, and what does a full table do to clients?"
ROOT = "makes network namespaces with nftables rules"
THRONG = True
SECONDS = 60

CONNECTIONS = 10000
TRACKED = 8000
PAIRS = 5
# The smallest rule set that makes the kernel track: one that asks for the state of a connection.
TRACK = "table inet t { chain i { type filter hook input priority 0; ct state invalid drop; }; }\n"
UNTRACKED = ("table inet t { chain p { type filter hook prerouting priority raw; tcp dport 1-65535 notrack; };\n"
             " chain o { type filter hook output priority raw; tcp dport 1-65535 notrack; };\n"
             " chain i { type filter hook input priority 0; ct state invalid drop; }; }\n")
RULES = {"no rule": "", "tracked": TRACK, "tracked, notrack for the port": UNTRACKED}


def measure(throng):
    memory = [[name, *linux.apart(bytes_of_entry, rules)] for name, rules in RULES.items()]
    figures = ("server_cpu_us_per_connect", "connects_per_second", "server_cpu_ns_per_delivery")
    found = {(name, one): [] for name in RULES for one in figures}
    for _ in range(PAIRS):
        for name, rules in RULES.items():
            for one, value in linux.apart(loaded, throng, rules).items():
                found[name, one].append(value)
    rows = [[name, *(cell for one in figures for cell in
                     (linux.median(found[name, one]), linux.ratio(found["no rule", one], found[name, one])))]
            for name in RULES]
    return [
        linux.table(f"{TRACKED:,} connections over loopback", ["rules", "entries", "bytes of an entry (slab)",
                    "all slab bytes of a connection, both ends"], memory),
        linux.table(f"throng bench idle --connections {CONNECTIONS} --hold 1; fanout --members 1000 --seconds 2 --spin: "
                    f"medians of {PAIRS} in turn", ["rules", "server CPU µs per connect", "ratio", "connects per second",
                    "ratio", "server CPU ns per delivery", "ratio"], rows,
                    "Over loopback each segment passes the hooks of both ends, in the sender's context: a server whose "
                    "clients are elsewhere pays about half."),
        full_table(),
    ]


def bytes_of_entry(rules):
    linux.raise_descriptors()
    if rules:
        linux.nft(rules)
    linux.closing(end for pair in linux.pairs(200) for end in pair)
    before, entries = linux.slabs(), count()
    objects, each = linux.slab_objects("nf_conntrack")
    made = linux.pairs(TRACKED)
    after = linux.slabs()
    ours = {name: after[name] - before.get(name, 0) for name in after if name.startswith("nf_")}
    total = sum(after.values()) - sum(before.values())
    held = len(made)
    return [count() - entries, each if ours.get("nf_conntrack") else 0, round(total / held)]


def count():
    return int(linux.read_setting("net.netfilter.nf_conntrack_count") or 0)


def loaded(throng, rules):
    if rules:
        linux.nft(rules)
    idle = linux.bench(throng, "idle", "--connections", str(CONNECTIONS), "--hold", "1", serve="--shards 2")
    fan = linux.bench(throng, "fanout", "--members", "1000", "--seconds", "2", "--spin", serve="--shards 1")
    return {"server_cpu_us_per_connect": linux.figure(idle, "server_cpu_us_per_connect"),
            "connects_per_second": linux.figure(idle, "connects_per_second"),
            "server_cpu_ns_per_delivery": linux.figure(fan, "server_cpu_ns_per_delivery")}


def full_table():
    """Connects beyond a table of 1,000, for 10 s."""
    limit = 1000
    key = "net.netfilter.nf_conntrack_max"
    with contextlib.ExitStack() as stack:
        mine = linux.apart(may_write, key)
        if not mine:
            stack.enter_context(linux.setting(key, limit))
        found = linux.apart(beyond, key if mine else None, limit)
        told = subprocess.run(["dmesg"], capture_output=True, text=True).stdout
        line = next((line.split("] ", 1)[-1] for line in reversed(told.splitlines()) if "nf_conntrack" in line), "nothing")
    rows = [[name, value] for name, value in found.items()] + [["the kernel's log", line]]
    return linux.table(f"{limit + 200:,} connects to a server that accepts, {key} = {limit:,}", ["what", "found"], rows,
                       "The key belongs to each namespace here." if mine else "The key belongs to the whole machine here; it was put back.")


def may_write(key):
    with contextlib.suppress(linux.Cannot):
        linux.write_setting(key, 1234)
        return linux.read_setting(key) == "1234"
    return False


def beyond(key, limit):
    linux.raise_descriptors()
    if key:
        linux.write_setting(key, limit)
    linux.nft(TRACK)
    door = linux.listener()
    clients = {}
    poll = select.epoll()
    for _ in range(limit + 200):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(door.getsockname())
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLOUT)
    done, errors, until = 0, {}, time.monotonic() + 10
    while time.monotonic() < until:
        for number, _ in poll.poll(0.2):
            error = clients[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            done += not error
            if error:
                errors[error] = errors.get(error, 0) + 1
            poll.unregister(number)
    # One that was let in goes on: its entry is there.
    held, _ = door.accept()
    first = next(one for one in clients.values() if one.getsockname() == held.getpeername())
    first.send(b"x")
    time.sleep(0.1)
    stat = open("/proc/thread-self/net/stat/nf_conntrack").read().splitlines()
    names = stat[0].split()
    total = {name: sum(int(line.split()[index], 16) for line in stat[1:]) for index, name in enumerate(names)}
    return {"connected after 10 s": done, "errors": str(errors or "none"),
            "still waiting (SYN sent, no answer)": len(clients) - done - sum(errors.values()),
            "an old connection still delivers": held.recv(1) == b"x",
            "nf_conntrack_count": count(), "drop, of /proc/net/stat/nf_conntrack": total["drop"],
            "early_drop": total["early_drop"], "TCPSynRetrans": linux.counters()["TCPSynRetrans"],
            "ListenDrops": linux.counters()["ListenDrops"]}

"""nf_conntrack: what tracking costs per connection, per connect and per delivery, and what a full table does."""

import json
import contextlib
import select
import socket
import subprocess
import time

import linux

QUESTION = "What does connection tracking cost, and what does a full table do to clients?"
ROOT = "makes network namespaces with nftables rules"
THRONG = False
SECONDS = 30

TRACKED = 8000
ROUNDS = 80
# The smallest rule set that makes the kernel track: one that asks for the state of a connection.
TRACK = "table inet t { chain i { type filter hook input priority 0; ct state invalid drop; }; }\n"
UNTRACKED = ("table inet t { chain p { type filter hook prerouting priority raw; tcp dport 1-65535 notrack; };\n"
             " chain o { type filter hook output priority raw; tcp dport 1-65535 notrack; };\n"
             " chain i { type filter hook input priority 0; ct state invalid drop; }; }\n")
RULES = {"no rule": "", "tracked": TRACK, "tracked, notrack for the port": UNTRACKED}


def measure(_):
    memory = [[name, *linux.apart(bytes_of_entry, rules)] for name, rules in RULES.items()]
    return [
        linux.table(f"{TRACKED:,} connections over loopback", ["rules", "entries", "bytes of an entry (slab)",
                    "all slab bytes of a connection, both ends"], memory),
        cpu(),
        full_table(),
    ]


def cpu():
    """All namespaces are held at once and asked in turn, so that the machine's drift meets all of them alike."""
    workers, found = {}, {(name, word): [] for name in RULES for word in ("trip", "connect")}
    try:
        for name, rules in RULES.items():
            workers[name] = linux.Worker(work, rules)
            told = workers[name].ask("open")
            if told is not True:
                raise linux.Cannot(told)
        for _ in range(ROUNDS):
            for name in RULES:
                for word in ("trip", "connect"):
                    found[name, word].append(workers[name].ask(word))
    finally:
        for worker in workers.values():
            worker.stop()
    base = {word: linux.part(found["no rule", word], 0.1) for word in ("trip", "connect")}
    rows = [[name, *(cell for word in ("trip", "connect") for cell in
                     (linux.median(found[name, word]) * 1e6, linux.part(found[name, word], 0.1) * 1e6,
                      round(linux.part(found[name, word], 0.1) / base[word], 2)))] for name in RULES]
    return linux.table(f"CPU of both ends over loopback, {ROUNDS} rounds in turn", ["rules", "a byte there and back, µs: median",
                       "fastest tenth", "its ratio", "connect, accept, reset, µs: median", "fastest tenth", "its ratio"], rows,
                       "Neighbours can only lengthen a round, so the fastest tenth is compared. "
                       "Each segment passes the hooks of both ends here: a server whose clients are elsewhere pays about half.")


def work(pipe, rules):
    """Opens some connections when told; then answers `trip` and `connect` with the CPU seconds of one."""
    linux.raise_descriptors()
    pipe.recv(100)
    try:
        linux.new_namespace()
        if rules:
            linux.nft(rules)
    except linux.Cannot as why:
        pipe.send(json.dumps(str(why)).encode())
        return
    made = linux.pairs(500, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)])
    for pair in made:
        for end in pair:
            end.setblocking(True)
    door = linux.listener()
    door.setblocking(True)
    pipe.send(b"true")
    while word := pipe.recv(100):
        times = 1000 if word == b"trip" else 150
        started = time.process_time()
        for index in range(times):
            if word == b"trip":
                server, client = made[index % len(made)]
                client.send(b"x")
                server.recv(1)
                server.send(b"x")
                client.recv(1)
            else:
                client = socket.create_connection(door.getsockname())
                linux.closing([door.accept()[0], client])
        pipe.send(str((time.process_time() - started) / times).encode())


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

"""The established hash: what a segment costs when each bucket holds many sockets."""

import json
import random
import resource
import socket

import linux
import serving

QUESTION = "What does the load factor of the established hash cost per round trip and per delivery?"
ROOT = "makes network namespaces with net.ipv4.tcp_child_ehash_entries"
THRONG = True
SECONDS = 130

PAIRS = 9000
TRIPS = 2000
BUCKETS = [65536, 16384, 4096, 2048, 1024, 512]
ROUNDS = 40
MEMBERS = 15000
FANOUT_BUCKETS = [262144, 16384, 4096, 2048]
FANOUT_ROUNDS = 5


def measure(throng):
    return [trips(), deliveries(throng)]


def trips():
    """All namespaces are held at once and asked in turn, so that the machine's drift meets all of them alike."""
    workers = {}
    cpu = {buckets: [] for buckets in BUCKETS}
    try:
        for buckets in BUCKETS:
            workers[buckets] = linux.Worker(hold_and_trip, buckets)
            told = workers[buckets].ask("open")
            if told is not True:
                raise linux.Cannot(told)
        for _ in range(ROUNDS):
            for buckets in BUCKETS:
                cpu[buckets].append(workers[buckets].ask("trip"))
    finally:
        for worker in workers.values():
            worker.stop()
    fastest = {buckets: linux.part(cpu[buckets], 0.1) for buckets in BUCKETS}
    first = fastest[BUCKETS[0]]
    rows = [[f"{buckets:,}", round(2 * PAIRS / buckets, 2), linux.median(cpu[buckets]), fastest[buckets],
             round(fastest[buckets] / first, 2), fastest[buckets] - first] for buckets in BUCKETS]
    return linux.table(f"{2 * PAIRS:,} sockets in each namespace ({PAIRS:,} connections, both ends), one byte there and back over "
                       f"a connection taken by chance, {ROUNDS} rounds in turn",
                       ["buckets", "sockets per bucket", "CPU of a round trip, ns: median", "fastest tenth", "its ratio",
                        "more, ns"], rows, "Neighbours can only lengthen a round, so the fastest tenth is compared. "
                       "A round trip is four system calls and at least two segments, each of which is looked up once.")


def within(buckets):
    """Moves this process into a namespace whose established hash has so many buckets of its own."""
    linux.new_namespace()
    linux.write_setting("net.ipv4.tcp_child_ehash_entries", buckets)
    linux.new_namespace()
    found = int(linux.read_setting("net.ipv4.tcp_ehash_entries"))
    if found != buckets:
        raise linux.Cannot(f"the namespace's established hash has {found} buckets instead of {buckets}")


def hold_and_trip(pipe, buckets):
    """Opens its pairs when told, then answers each word with the CPU of a round trip in ns."""
    linux.raise_descriptors()
    pipe.recv(100)
    try:
        within(buckets)
    except linux.Cannot as why:
        pipe.send(json.dumps(str(why)).encode())
        return
    made = linux.pairs(PAIRS, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)], sources=4)
    for pair in made:
        for end in pair:
            end.setblocking(True)
    chance = random.Random(1)
    pipe.send(b"true")
    while pipe.recv(100):
        order = [chance.choice(made) for _ in range(TRIPS)]
        for pair in order[:100]:
            trip(*pair)
        started = resource.getrusage(resource.RUSAGE_SELF)
        for pair in order:
            trip(*pair)
        ended = resource.getrusage(resource.RUSAGE_SELF)
        spent = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
        pipe.send(str(spent / TRIPS * 1e9).encode())


def trip(server, client):
    client.send(b"x")
    server.recv(1)
    server.send(b"x")
    client.recv(1)


def deliveries(throng):
    cpu = {buckets: [] for buckets in FANOUT_BUCKETS}
    for _ in range(FANOUT_ROUNDS):
        for buckets in FANOUT_BUCKETS:
            cpu[buckets].append(linux.apart(fanout, throng, buckets, namespace=False))
    first = FANOUT_BUCKETS[0]
    rows = [[f"{buckets:,}", round(2 * MEMBERS / buckets, 2), linux.median(cpu[buckets]), min(cpu[buckets]),
             round(min(cpu[buckets]) / min(cpu[first]), 2)] for buckets in FANOUT_BUCKETS]
    return linux.table(f"throng bench fanout --members {MEMBERS} --in-flight 1 --seconds 2 --serve-args '--shards 1', "
                       f"{FANOUT_ROUNDS} rounds in turn",
                       ["buckets", "sockets per bucket", "server CPU of a delivery, ns: median", "least", "its ratio"], rows)


def fanout(throng, buckets):
    within(buckets)
    report = serving.bench(throng, "fanout", "--members", str(MEMBERS), "--in-flight", "1", "--seconds", "2",
                         serve="--shards 1")
    return serving.figure(report, "server_cpu_ns_per_delivery")

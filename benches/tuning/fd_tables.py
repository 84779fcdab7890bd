"""Private descriptor tables: one for each shard, against one for the process."""

import select
import socket
import time

import linux
import serving

QUESTION = "What do private descriptor tables change: accepts, and how many connections a process holds?"
ROOT = "makes network namespaces, and gives both sides as many descriptors as they may have"
THRONG = True
SECONDS = 190

PAIRS = 7
CONNECTIONS = 15000


def measure(throng):
    names = ("server_cpu_us_per_connect", "connects_per_second")
    found = {(kind, name): [] for kind in ("", " --shared-fd-table") for name in names}
    for _ in range(PAIRS):
        for kind in ("", " --shared-fd-table"):
            report = linux.apart(loaded, throng, kind)
            for name in names:
                found[kind, name].append(serving.figure(report, name))
    rows = [[name, linux.median(found["", name]), linux.median(found[" --shared-fd-table", name]),
             linux.ratio(found["", name], found[" --shared-fd-table", name])] for name in names]
    held = [[title, *linux.apart(holds, throng, arguments)]
            for title, arguments in (("private", []), ("shared", ["--shared-fd-table"]))]
    return [
        linux.table(f"throng bench idle --connections {CONNECTIONS} --hold 1, 2 shards, {PAIRS} pairs in turn",
                    ["figure", "private", "--shared-fd-table", "ratio"], rows),
        linux.table("What a server of 4 shards with RLIMIT_NOFILE 1,000 says that it can hold, and holds of 5,000 connects",
                    ["tables", "upgraded", "not"], held),
    ]


def loaded(throng, kind):
    return serving.bench(throng, "idle", "--connections", str(CONNECTIONS), "--hold", "1", serve="--shards 2" + kind)


def holds(throng, arguments):
    linux.raise_descriptors()
    server = serving.Throng(throng, "shards = 4\n", arguments, descriptors=(1000, 1000))
    poll, clients, upgraded, failed = select.epoll(), {}, 0, 0
    try:
        for index in range(5000):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLOUT)
            if index % 100 == 99:
                time.sleep(0.005)
        until = time.monotonic() + 3
        while time.monotonic() < until and upgraded + failed < 5000:
            for number, event in poll.poll(0.2):
                client = clients[number]
                try:
                    if event & select.EPOLLIN:
                        upgraded += client.recv(300).startswith(b"HTTP/1.1 101")
                        poll.unregister(number)
                    else:
                        client.send(serving.UPGRADE)
                        poll.modify(number, select.EPOLLIN)
                except OSError:
                    failed += 1
                    poll.unregister(number)
        return [upgraded, 5000 - upgraded]
    finally:
        server.stop()

"""tcp_migrate_req: what becomes of connections in the queue of a listener that is closed while others share its port."""

import contextlib
import os
import select
import signal
import socket
import time

import linux
import serving

QUESTION = "A listener of a SO_REUSEPORT group closes with connections in its queue: how many clients are reset?"
ROOT = "makes a network namespace and sets net.ipv4.tcp_migrate_req in it"
THRONG = True
SECONDS = 4

CONNECTS = 400
SHARD = 1000
BURST = 2950


def measure(throng):
    rows, served = [], []
    for value in (0, 1):
        rows.append([value, *linux.apart(queue_closed, value)])
        for _ in range(3):
            served.append([value, *linux.apart(full_shard, throng, value)])
    return [
        linux.table(f"Two listeners, {CONNECTS} connects that nobody accepts yet, then one listener is closed and the "
                    "other accepts", ["tcp_migrate_req", "in the closed queue", "clients reset", "accepted by the other",
                    "TCPMigrateReqSuccess"], rows),
        linux.table(f"throng, 3 shards of {SHARD} places (connections_max {3 * SHARD}), {BURST} connects while it "
                    "is stopped (SIGSTOP), then it goes on", ["tcp_migrate_req", "upgraded", "reset or refused", "no answer in 4 s",
                    "TCPMigrateReqSuccess", "TCPMigrateReqFailure"], served,
                    "A shard that is full suspends its listener; the kernel's hash fills one before the others."),
    ]


def queue_closed(value):
    linux.write_setting("net.ipv4.tcp_migrate_req", value)
    first = linux.listener(reuse_port=True)
    port = first.getsockname()[1]
    second = linux.listener(reuse_port=True, port=port)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTS)]
    taken = []
    before = linux.counters()
    # The queue's length is TCP_INFO's tcpi_unacked of a listener (tcp_get_info).
    waiting = int.from_bytes(first.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[24:28], "little")
    first.close()
    with contextlib.suppress(BlockingIOError):
        while True:
            taken.append(second.accept()[0])
    reset = 0
    for client in clients:
        client.setblocking(False)
        try:
            client.recv(1)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            reset += 1
    return [waiting, reset, len(taken), linux.grown(before, linux.counters()).get("TCPMigrateReqSuccess", 0)]


def full_shard(throng, value):
    linux.raise_descriptors()
    linux.write_setting("net.ipv4.tcp_migrate_req", value)
    server = serving.Throng(throng, f"shards = 3\n[limits]\nconnections_max = {3 * SHARD}\n")
    before = linux.counters()
    try:
        clients, refused, upgraded = {}, 0, 0
        poll = select.epoll()
        os.kill(server.pid, signal.SIGSTOP)
        for _ in range(BURST):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", server.port))
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLOUT | select.EPOLLERR | select.EPOLLHUP)
        os.kill(server.pid, signal.SIGCONT)
        until = time.monotonic() + 4
        open_ = dict(clients)
        while open_ and time.monotonic() < until:
            for number, event in poll.poll(0.2):
                client = clients[number]
                try:
                    if event & select.EPOLLOUT and not event & (select.EPOLLERR | select.EPOLLHUP) and number in open_:
                        if event & select.EPOLLIN == 0:
                            client.send(serving.UPGRADE)
                            poll.modify(number, select.EPOLLIN)
                            continue
                    if client.recv(200).startswith(b"HTTP/1.1 101"):
                        upgraded += 1
                    else:
                        refused += 1
                except OSError:
                    refused += 1
                poll.unregister(number)
                open_.pop(number)
        grown = linux.grown(before, linux.counters())
        return [upgraded, refused, len(open_), grown.get("TCPMigrateReqSuccess", 0), grown.get("TCPMigrateReqFailure", 0)]
    finally:
        server.stop()

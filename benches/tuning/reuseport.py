"""One listener for each worker (SO_REUSEPORT) against one listener that all share: spread, wake-ups, a worker that stalls."""

import contextlib
import json
import os
import select
import signal
import socket
import time

import linux

QUESTION = "One listener per worker or one for all: how even is the spread, how many wake-ups, and what if a worker stalls?"
ROOT = "makes network namespaces"
THRONG = False
SECONDS = 6

WORKERS = 4
CONNECTS = 4000
KINDS = ["SO_REUSEPORT", "shared, epoll", "shared, EPOLLEXCLUSIVE"]


def measure(_):
    rows = [[kind, title, *linux.apart(spread, kind, is_burst)]
            for title, is_burst in (("one after another", False), ("bursts of 200", True)) for kind in KINDS]
    stall = [[kind, *linux.apart(one_stalls, kind)] for kind in KINDS]
    return [
        linux.table(f"{WORKERS} workers, {CONNECTS:,} connections that stay, each answered with a byte",
                    ["listener", "arrival", "least of a worker", "most of a worker", "wake-ups", "of them for nothing",
                     "CPU of all workers, µs per connection"], rows,
                    "A wake-up: epoll_wait returned. For nothing: accept() then found nobody. A worker accepts until there is "
                    "nobody."),
        linux.table(f"One of {WORKERS} workers is stopped for 1 s (SIGSTOP); 400 connects over that second",
                    ["listener", "answered within 50 ms", "later"], stall,
                    "With SO_REUSEPORT the kernel goes on giving a stopped worker its share."),
    ]


def start(kind):
    reuse = kind == "SO_REUSEPORT"
    first = linux.listener(reuse_port=reuse)
    port = first.getsockname()[1]
    doors = [first] + [linux.listener(reuse_port=True, port=port) if reuse else first for _ in range(WORKERS - 1)]
    flag = select.EPOLLEXCLUSIVE if kind.endswith("EXCLUSIVE") else 0
    workers = [linux.Worker(serve, door, flag) for door in doors]
    for worker in workers:
        worker.pipe.recv(10)
    return port, workers


def serve(pipe, door, flag):
    """Accepts until told to say what it did."""
    linux.raise_descriptors()
    poll = select.epoll()
    poll.register(door, select.EPOLLIN | flag)
    poll.register(pipe, select.EPOLLIN)
    held, wakes, nothing = [], 0, 0
    pipe.send(b"ready")
    while True:
        events = poll.poll()
        if any(number == pipe.fileno() for number, _ in events):
            if not pipe.recv(100):
                return
            pipe.send(json.dumps([len(held), wakes, nothing]).encode())
            continue
        wakes += 1
        got = len(held)
        with contextlib.suppress(BlockingIOError):
            while True:
                held.append(door.accept()[0])
                held[-1].send(b"x")
        nothing += got == len(held)


def spread(kind, is_burst):
    linux.raise_descriptors()
    port, workers = start(kind)
    try:
        before = [linux.cpu_seconds(worker.pid) for worker in workers]
        clients = []
        while len(clients) < CONNECTS:
            for _ in range(200 if is_burst else 1):
                client = socket.socket()
                client.setblocking(not is_burst)
                client.connect_ex(("127.0.0.1", port))
                clients.append(client)
            for client in clients[-200 if is_burst else -1:]:
                client.setblocking(True)
                client.recv(1)
        spent = sum(linux.cpu_seconds(worker.pid) - first for worker, first in zip(workers, before))
        told = [worker.ask() for worker in workers]
        return [min(one[0] for one in told), max(one[0] for one in told), sum(one[1] for one in told),
                sum(one[2] for one in told), spent / CONNECTS * 1e6]
    finally:
        for worker in workers:
            worker.stop()


def one_stalls(kind):
    port, workers = start(kind)
    poll = select.epoll()
    try:
        for _ in range(40):
            socket.create_connection(("127.0.0.1", port)).recv(1)
        os.kill(workers[0].pid, signal.SIGSTOP)
        started, clients, soon, late = time.monotonic(), {}, 0, 0
        while soon + late < 400:
            now = time.monotonic()
            if len(clients) < 400 and now - started > len(clients) / 400:
                client = socket.create_connection(("127.0.0.1", port))
                clients[client.fileno()] = (client, now)
                poll.register(client, select.EPOLLIN)
            if now - started > 1:
                os.kill(workers[0].pid, signal.SIGCONT)
            for number, _ in poll.poll(0.001):
                delay = time.monotonic() - clients[number][1]
                soon += delay < 0.05
                late += delay >= 0.05
                poll.unregister(number)
        return [soon, late]
    finally:
        os.kill(workers[0].pid, signal.SIGCONT)
        for worker in workers:
            worker.stop()

"""TCP_NODELAY: what Nagle's algorithm and the other side's delayed acknowledgement make of small messages."""

import socket
import time

import linux

QUESTION = "What does TCP_NODELAY change for small messages: their delay, and the segments sent?"
ROOT = "makes a network namespace, so that the segments counted are its own"
THRONG = False
SECONDS = 20

EXCHANGES = 60
PUSHES = 60


def measure(_):
    rows = []
    for title, function, words in (
            ("request, one write as the answer", exchanges, (1,)),
            ("request, two writes as the answer", exchanges, (2,)),
            ("pushes, one every 20 ms", pushes, (1, 0.0)),
            ("pushes, two at once every 20 ms", pushes, (2, 0.0)),
            ("pushes, two 1 ms apart every 100 ms", pushes, (2, 0.001))):
        for is_on in (True, False):
            rows.append([title, "on" if is_on else "off", *linux.apart(function, is_on, *words)])
    return [linux.table("Messages of 100 B over loopback", ["pattern", "TCP_NODELAY", "delay p50, ms", "p90, ms",
                        "max, ms", "segments per exchange, both directions"], rows,
                        "Delay: from the write of the request (or of the push) until the last byte is read.")]


def connected(is_on):
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)] if is_on else []
    (server, client), = linux.pairs(1, options)
    # Linux acknowledges the first 16 segments at once; what is measured is what comes after.
    server.setblocking(True)
    client.setblocking(True)
    for _ in range(40):
        client.send(b"x" * 100)
        read(server, 100)
        server.send(b"x" * 100)
        read(client, 100)
    return server, client


def read(connection, count):
    while count:
        count -= len(connection.recv(count))


def told(delays, before, exchanges_):
    segments = linux.grown(before, linux.counters()).get("OutSegs", 0)
    return [linux.median(delays) * 1e3, linux.part(delays, 0.9) * 1e3, max(delays) * 1e3,
            round(segments / exchanges_, 2)]


def exchanges(is_on, writes):
    server, client = connected(is_on)
    before, delays = linux.counters(), []
    for _ in range(EXCHANGES):
        started = time.monotonic()
        client.send(b"x" * 100)
        read(server, 100)
        for _ in range(writes):
            server.send(b"x" * 100)
        read(client, 100 * writes)
        delays.append(time.monotonic() - started)
    return told(delays, before, EXCHANGES)


def pushes(is_on, writes, gap_s):
    server, client = connected(is_on)
    before, delays = linux.counters(), []
    for _ in range(PUSHES):
        started = time.monotonic()
        for index in range(writes):
            if index and gap_s:
                time.sleep(gap_s)
            server.send(b"x" * 100)
        read(client, 100 * writes)
        delays.append(time.monotonic() - started)
        time.sleep(0.1 if gap_s else 0.02)
    return told(delays, before, PUSHES)

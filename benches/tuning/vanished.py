"""A peer that is gone without a word: how long until the server notices, by each of the ways there are."""

import json
import select
import socket
import time

import linux
import long_path
import serving

QUESTION = "A client's network is gone without a word: when does the server notice?"
ROOT = "makes network namespaces and TUN devices"
THRONG = True
SECONDS = 25

WAIT_S = 20
IDLE, SENDING = "nothing under way", "bytes under way"
TCP = socket.IPPROTO_TCP
KEEP = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (TCP, socket.TCP_KEEPIDLE, 2)]
PROBES = [(TCP, socket.TCP_KEEPINTVL, 1), (TCP, socket.TCP_KEEPCNT, 3)]
USER = [(TCP, linux.TCP_USER_TIMEOUT, 3000)]

CASES = [
    ("no option", IDLE, [], {}),
    ("no option", SENDING, [], {}),
    ("no option, tcp_retries2 = 3", SENDING, [], {"net.ipv4.tcp_retries2": 3}),
    ("TCP_USER_TIMEOUT 3 s", IDLE, USER, {}),
    ("TCP_USER_TIMEOUT 3 s", SENDING, USER, {}),
    ("SO_KEEPALIVE, TCP_KEEPIDLE 2 s alone", IDLE, KEEP, {}),
    ("the same, tcp_keepalive_intvl = 1, tcp_keepalive_probes = 3", IDLE, KEEP,
     {"net.ipv4.tcp_keepalive_intvl": 1, "net.ipv4.tcp_keepalive_probes": 3}),
    ("TCP_KEEPIDLE 2 s, TCP_KEEPINTVL 1 s, TCP_KEEPCNT 3", IDLE, KEEP + PROBES, {}),
    ("the same", SENDING, KEEP + PROBES, {}),
    ("TCP_KEEPIDLE 2 s, TCP_KEEPINTVL 1 s, TCP_USER_TIMEOUT 3 s", IDLE, KEEP + PROBES[:1] + USER, {}),
]
SERVED = [("throng, pings every 2 s, 1 s to answer", "[client]\nping_interval_ms = 2000\npong_timeout_ms = 1000\n"),
          ("the same, close_timeout_ms = 500",
           "[client]\nping_interval_ms = 2000\npong_timeout_ms = 1000\n[limits]\nclose_timeout_ms = 500\n"),
          ("throng, pings every 2 s, 1 s to answer, user_timeout_ms = 1000",
           "[client]\nping_interval_ms = 2000\npong_timeout_ms = 1000\n[socket]\nuser_timeout_ms = 1000\n"),
          ("throng, no pings", "[client]\nping_interval_ms = 0\n"),
          ("throng, no pings, keepalive_s = 2", "[client]\nping_interval_ms = 0\n[socket]\nkeepalive_s = 2\n"),
          ("throng, no pings, user_timeout_ms = 3000", "[client]\nping_interval_ms = 0\n[socket]\nuser_timeout_ms = 3000\n")]


def measure(throng):
    # All at once: they wait, and cost nothing meanwhile.
    waiting = [linux.Worker(tell, bare, options, state, keys) for _, state, options, keys in CASES]
    waiting += [linux.Worker(tell, served, throng, configuration) for _, configuration in SERVED]
    try:
        for worker in waiting:
            worker.say()
        told = [worker.hear(WAIT_S + 20) for worker in waiting]
    finally:
        for worker in waiting:
            worker.stop()
    for answer in told:
        if "cannot" in answer:
            raise linux.Cannot(answer["cannot"])
    names = [(name, state) for name, state, _, _ in CASES] + [(name, IDLE) for name, _ in SERVED]
    rows = [[name, state, answer["after"], answer["how"]] for (name, state), answer in zip(names, told)]
    return [linux.table(f"The path loses everything from second 0; watched for {WAIT_S} s", ["server", "when it is cut",
                        "noticed after, s", "how"], rows,
                        "A path of 10 ms there and back. The kernel's own: tcp_keepalive_time 7200, intvl 75, probes 9; "
                        "tcp_retries2 15. throng: until it counts the "
                        "connection no more (throng_connections).")]


def tell(pipe, function, *words):
    pipe.recv(10)
    try:
        after, how = function(*words)
        answer = {"after": after, "how": how}
    except linux.Cannot as why:
        answer = {"cannot": str(why)}
    pipe.send(json.dumps(answer).encode())


def bare(options, state, keys):
    path = long_path.Path(5, 1_000_000, 500_000)
    try:
        with linux.inside(path.server):
            for key, value in keys.items():
                linux.write_setting(key, value)
            door = linux.listener(host=path.SERVER, options=options)
        with linux.inside(path.client):
            client = socket.create_connection(door.getsockname(), 10)
        select.select([door], [], [], 5)
        server, _ = door.accept()
        server.send(b"x")
        client.recv(1)
        time.sleep(0.3)
        path.cut()
        started = time.monotonic()
        if state == SENDING:
            server.send(b"x" * 1000)
        if select.select([server], [], [], WAIT_S)[0]:
            after = round(time.monotonic() - started, 1)
            try:
                server.recv(1)
            except OSError as error:
                return after, error.strerror
        return f"not in {WAIT_S} s", "still ESTABLISHED"
    finally:
        path.close()


def served(throng, configuration):
    path = long_path.Path(5, 1_000_000, 500_000)
    try:
        with linux.inside(path.server):
            linux.ip("link", "set", "lo", "up")
            server = serving.Throng(throng, "insecure = true\n" + configuration, host=path.SERVER, arguments=["--shards", "1"])
        try:
            with linux.inside(path.client):
                client = socket.create_connection((path.SERVER, server.port), 10)
            client.settimeout(5)
            client.sendall(serving.UPGRADE)
            client.recv(1000)
            client.sendall(masked(b'{"id":1,"connect":{}}'))
            client.recv(1000)
            time.sleep(0.3)
            path.cut()
            started = time.monotonic()
            with linux.inside(path.server):
                while time.monotonic() - started < WAIT_S:
                    if not server.metric("throng_connections"):
                        return round(time.monotonic() - started, 1), "connection closed"
                    time.sleep(0.05)
            return f"not in {WAIT_S} s", "still counted"
        finally:
            server.stop()
    finally:
        path.close()


def masked(payload):
    """A text frame of a client (mask of zeros)."""
    return bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload

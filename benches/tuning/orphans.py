"""What is left of closed connections: orphans whose last bytes are under way, and TIME-WAIT, above their limits."""

import socket
import subprocess
import time

import linux

QUESTION = "A server closes all connections at once: what do tcp_max_orphans and tcp_max_tw_buckets do to the clients?"
ROOT = "lowers net.ipv4.tcp_max_orphans of the machine for a second, and puts it back; makes network namespaces"
THRONG = False
SECONDS = 3

CONNECTIONS = 400
LIMIT = 100
QUEUED = 50_000
CLOSING_S = 1


def measure(_):
    usual = linux.apart(closed_with_bytes)
    with linux.setting("net.ipv4.tcp_max_orphans", LIMIT):
        low = linux.apart(closed_with_bytes)
    told = subprocess.run(["dmesg"], capture_output=True, text=True).stdout
    log = [line.split("] ", 1)[-1] for line in told.splitlines() if "orphan" in line]
    waits = [[limit, *linux.apart(closed_first, limit)] for limit in (131072, LIMIT)]
    return [
        linux.table(f"{CONNECTIONS} connections with {QUEUED:,} bytes on their way to readers that are slow; the server closes all "
                    f"over {CLOSING_S} s, then the readers go on", ["tcp_max_orphans", "orphans after the close",
                    "clients that got all bytes and the end", "reset", "TCPAbortOnMemory"], [["as it is", *usual], [LIMIT, *low]],
                    f"The kernel's log: {log[-1] if log else 'nothing'}"),
        linux.table(f"{CONNECTIONS} connections that the server closes first, all bytes acknowledged", ["tcp_max_tw_buckets",
                    "in TIME-WAIT", "TCPTimeWaitOverflow", "clients reset", "slab bytes of each"], waits),
    ]


def closed_with_bytes():
    linux.raise_descriptors()
    made = linux.pairs(CONNECTIONS, client_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    before = linux.counters()
    sent = [server.send(b"x" * QUEUED) for server, _ in made]
    # The kernel looks at a sum that is up to 100 ms old, so they are closed over a second, and after a pause.
    time.sleep(0.3)
    for server, _ in made:
        server.close()
        time.sleep(CLOSING_S / CONNECTIONS)
    orphans = linux.sockstat()["orphan"]
    got, ended, reset = [0] * CONNECTIONS, 0, 0
    left = set(range(CONNECTIONS))
    until = time.monotonic() + 5
    while left and time.monotonic() < until:
        for index in list(left):
            try:
                data = made[index][1].recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                reset += 1
                left.discard(index)
                continue
            got[index] += len(data)
            if not data:
                ended += got[index] == sent[index]
                left.discard(index)
    return [orphans, ended, reset, linux.grown(before, linux.counters()).get("TCPAbortOnMemory", 0)]


def closed_first(limit):
    linux.raise_descriptors()
    linux.write_setting("net.ipv4.tcp_max_tw_buckets", limit)
    made = linux.pairs(CONNECTIONS)
    before = linux.counters()
    for server, _ in made:
        server.close()
    reset = 0
    for _, client in made:
        try:
            client.setblocking(True)
            client.recv(1)
            client.close()
        except OSError:
            reset += 1
    time.sleep(0.1)
    _, each = linux.slab_objects("tw_sock_TCP")
    return [linux.sockstat()["tw"], linux.grown(before, linux.counters()).get("TCPTimeWaitOverflow", 0), reset, each]

"""net.ipv4.tcp_mem: what happens at its pressure mark and at its limit while readers stall."""

import select
import socket
import subprocess
import time

import linux

QUESTION = "tcp_mem is reached while readers stall: what do other connections notice, and which counters tell of it?"
ROOT = "lowers net.ipv4.tcp_mem of the machine for some seconds, and puts it back"
THRONG = False
SECONDS = 4

STALLED = 100
OTHERS = 20
# Of pages above what is in use when the run starts.
PRESSURE = 6000
LIMIT = 8000
WRITE = 16384


def measure(_):
    free = linux.apart(stalled, STALLED)
    in_use = linux.sockstat()["mem"]
    wanted = f"{in_use + PRESSURE // 2} {in_use + PRESSURE} {in_use + LIMIT}"
    with linux.setting("net.ipv4.tcp_mem", wanted):
        low = linux.apart(stalled, STALLED)
        bounded = linux.apart(stalled, STALLED, 65536)
        many = linux.apart(stalled, 4 * STALLED, 65536)
        orphans = linux.apart(orphaned)
    told = subprocess.run(["dmesg"], capture_output=True, text=True).stdout
    lines = [line.split("] ", 1)[-1] for line in told.splitlines() if "TCP:" in line]
    names = list(free)
    rows = [[name, free[name], low[name], bounded[name], many[name]] for name in names]
    return [
        linux.table(f"{STALLED} readers that stall, and {OTHERS} connections that go on (1 KiB there and back)",
                    ["", "tcp_mem as it is, SO_SNDBUF auto", f"limit {LIMIT:,} pages, auto",
                     f"limit {LIMIT:,} pages, SO_SNDBUF 64 KiB",
                     f"the same, {4 * STALLED} readers stall"], rows,
                    "The machine's limit counts every namespace; /proc/sys/net/ipv4/tcp_mem is there in the first only."),
        linux.table("At the limit the server closes all connections whose readers stall (a drain)", ["", "found"],
                    list(orphans.items()) + [["the kernel's log", lines[-1] if lines else "nothing"]]),
    ]


def stalled(readers, send_buffer=0):
    linux.raise_descriptors()
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)] if send_buffer else []
    others = linux.pairs(OTHERS)
    idle = [echo(*pair) for pair in others for _ in range(20)]
    made = linux.pairs(readers, options, [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    before, pages = linux.counters(), linux.sockstat()["mem"]
    fill(made)
    top = linux.sockstat()["mem"] - pages
    delays = [echo(*pair) for pair in others for _ in range(20)]
    fresh, error = connects()
    grown = linux.grown(before, linux.counters())
    queued = [linux.memory_of(server)["queued"] for server, _ in made]
    return {"TCP pages, growth": top, "queued for a stalled reader, median bytes": round(linux.median(queued)),
            "least": min(queued), "most": max(queued),
            "echo of the others, p50 µs, before": linux.median(idle) * 1e6,
            "p50 µs, then": linux.median(delays) * 1e6, "max ms, then": max(delays) * 1e3,
            "echoes without an answer in 2 s": sum(one >= 2 for one in delays),
            "of 20 new clients connected and answered": fresh, "their errors": error,
            **{name: grown.get(name, 0) for name in ("TCPMemoryPressures", "PruneCalled", "RcvPruned", "TCPRcvCollapsed",
                                                     "TCPRcvQDrop", "TCPZeroWindowDrop", "TCPBacklogDrop", "TCPAbortOnMemory",
                                                     "TCPOFODrop")}}


def fill(made):
    """Writes to every stalled reader until none takes more."""
    for _ in range(3):
        for server, _ in made:
            try:
                linux.send_until_full(server, b"x" * WRITE)
            except OSError:
                pass
        time.sleep(0.1)


def echo(server, client):
    """Seconds of 1 KiB there and back, 2 if there is no answer."""
    started = time.monotonic()
    for source, target in ((client, server), (server, client)):
        try:
            source.send(b"x" * 1024)
        except OSError:
            return 2.0
        got = 0
        while got < 1024:
            if not select.select([target], [], [], 2)[0]:
                return 2.0
            got += len(target.recv(4096))
    return time.monotonic() - started


def connects():
    """Of 20 new clients, how many got an answer; and what the others saw."""
    door = linux.listener()
    done, errors = 0, {}
    for _ in range(20):
        client = socket.socket()
        client.settimeout(1)
        try:
            client.connect(door.getsockname())
            server, _ = door.accept()
            client.send(b"x")
            server.settimeout(1)
            server.send(server.recv(1))
            done += len(client.recv(1))
        except OSError as error:
            errors[str(error)] = errors.get(str(error), 0) + 1
    return done, ", ".join(f"{count} × {name}" for name, count in errors.items()) or "none"


def orphaned():
    linux.raise_descriptors()
    made = linux.pairs(STALLED, client_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    before, pages = linux.counters(), linux.sockstat()["mem"]
    fill(made)
    full = linux.sockstat()["mem"] - pages
    for server, _ in made:
        server.close()
    time.sleep(0.5)
    reset = 0
    for _, client in made:
        try:
            while client.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        except OSError:
            reset += 1
    grown = linux.grown(before, linux.counters())
    return {"TCP pages, growth, when full": full, "0.5 s after the close": linux.sockstat()["mem"] - pages,
            "orphans (sockstat) 0.5 s after the close": linux.sockstat()["orphan"],
            "clients that were reset": reset, "TCPAbortOnMemory": grown.get("TCPAbortOnMemory", 0)}

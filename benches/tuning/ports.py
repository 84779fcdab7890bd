"""Ephemeral ports and descriptors: how many connects a load generator or a proxy has, and what it sees after the last."""

import errno
import os
import resource
import socket
import time

import linux

QUESTION = "How many connections can one source open, what is seen after the last, and what do the settings change?"
ROOT = "makes network namespaces; lowers fs.file-max of the machine for some milliseconds"
THRONG = False
SECONDS = 20

RANGE = 1000
LOW = 40000


def measure(_):
    rows = []
    for title, words in (
            ("connect() alone, one target", (1, 1, "none")),
            ("two target ports", (2, 1, "none")),
            ("bind() to the source first, one target", (1, 1, "bind")),
            ("bind() to the source first, two target ports", (2, 1, "bind")),
            ("the same with IP_BIND_ADDRESS_NO_PORT", (2, 1, "late")),
            ("three source addresses, IP_BIND_ADDRESS_NO_PORT", (1, 3, "late"))):
        rows.append([title, *linux.apart(until_none, *words)])
    return [
        linux.table(f"ip_local_port_range of {RANGE:,} ports; connects until one fails", ["how", "held", "then",
                    "µs per connect, first tenth", "sixth tenth", "last tenth"], rows),
        linux.table(f"{RANGE:,} ports of which all are in TIME-WAIT at the client; connects to the same target at once",
                    ["tcp_tw_reuse", "source", "of 500 connected, at once", "the others", "1.2 s later: of 500"],
                    [[value, where, *linux.apart(after_time_wait, value, address)] for value in (0, 1, 2)
                     for where, address in (("loopback", "127.0.0.1"), ("an address of its own", "198.18.0.1"))],
                    "2 is the default: loopback only. Reuse asks for TCP timestamps and a second since the last segment."),
        linux.table("16,000 ports, one source, one target", ["connections held", "client CPU µs per connect"], linux.apart(by_filling)),
        descriptors(),
    ]


def until_none(targets, sources, how):
    linux.raise_descriptors()
    linux.write_setting("net.ipv4.ip_local_port_range", f"{LOW} {LOW + RANGE - 1}")
    doors = [linux.listener(port=9000 + index) for index in range(targets)]
    held, times, failed = [], [], "none failed"
    for index in range(RANGE * 4):
        client = socket.socket()
        started = time.process_time()
        try:
            if how == "late":
                client.setsockopt(socket.IPPROTO_IP, linux.IP_BIND_ADDRESS_NO_PORT, 1)
            if how != "none":
                client.bind((f"127.0.0.{1 + index % sources}", 0))
            client.connect(doors[index % targets].getsockname())
        except OSError as error:
            failed = f"{errno.errorcode[error.errno]} ({'bind' if 'Address already' in str(error) else 'connect'})"
            break
        times.append((time.process_time() - started) * 1e6)
        held.append(client)
        doors[index % targets].accept()[0].detach()
    tenth = len(times) // 10
    return [len(held), failed, *(linux.median(times[tenth * part:tenth * (part + 1)]) for part in (0, 5, 9))]


def after_time_wait(value, address):
    linux.raise_descriptors()
    linux.write_setting("net.ipv4.tcp_tw_reuse", value)
    linux.write_setting("net.ipv4.ip_local_port_range", f"{LOW} {LOW + RANGE - 1}")
    if not address.startswith("127"):
        linux.ip("link", "add", "left", "type", "veth", "peer", "name", "right")
        linux.ip("address", "add", address + "/32", "dev", "left")
        linux.ip("link", "set", "left", "up")
    door = linux.listener(host=address, port=9000)
    for _ in range(RANGE):
        client = socket.create_connection(door.getsockname())
        server, _ = door.accept()
        client.close()  # who closes first has the TIME-WAIT
        server.close()
    first, error = some(door)
    time.sleep(1.2)
    second, _ = some(door)
    return [first, error, second]


def some(door):
    done, error = [], "none"
    for _ in range(500):
        client = socket.socket()
        try:
            client.connect(door.getsockname())
            done.append((client, door.accept()[0]))
        except OSError as failed:
            error = errno.errorcode[failed.errno]
    linux.closing(one for pair in done for one in pair)
    return len(done), error


def by_filling():
    """CPU of a connect while 16,000 ports fill: past the half the kernel searches."""
    linux.raise_descriptors()
    linux.write_setting("net.ipv4.ip_local_port_range", "40000 55999")
    # The other end is another process: a descriptor table holds fewer than both.
    door = linux.listener(port=9000)
    worker = linux.Worker(lambda pipe: accept_all(door))
    rows, held = [], []
    try:
        while len(held) < 16000:
            started = time.process_time()
            for _ in range(1600):
                held.append(socket.socket())
                held[-1].connect(door.getsockname())
            rows.append([f"{len(held) - 1600:,} to {len(held):,}", (time.process_time() - started) / 1600 * 1e6])
    finally:
        worker.stop()
    return rows


def accept_all(door):
    linux.raise_descriptors()
    door.setblocking(True)
    held = []
    while True:
        held.append(door.accept()[0])


def descriptors():
    rows = []
    rows.append(["RLIMIT_NOFILE 256, as root", *linux.apart(open_files, 400, (256, 256), 0, namespace=False)])
    rows.append(["setrlimit above fs.nr_open", "", linux.apart(over_nr_open, namespace=False)])
    used = int(linux.read_setting("fs.file-nr").split()[0])
    with linux.setting("fs.file-max", used + 300):
        rows.append(["fs.file-max 300 above what is open, as root (CAP_SYS_ADMIN)",
                     *linux.apart(open_files, 2000, None, 0, namespace=False)])
        rows.append(["the same, as another user", *linux.apart(open_files, 2000, None, 65534, namespace=False)])
    return linux.table("Descriptors: socket() until one fails", ["limit", "opened", "then"], rows)


def open_files(count, limit, user):
    if limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    if user:
        os.setgid(user)
        os.setuid(user)
    held = []
    for _ in range(count):
        try:
            held.append(socket.socket())
        except OSError as error:
            return [len(held), f"{errno.errorcode[error.errno]}: {error.strerror}"]
    return [len(held), "no error"]


def over_nr_open():
    most = int(linux.read_setting("fs.nr_open"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1))
    except (OSError, ValueError) as error:
        return f"{error}"
    return "no error"

"""What the questions share: counters of the kernel, settings that are put back, namespaces, children, sockets, tables.

Everything that a question changes goes away with it. Settings are written in network namespaces of the question's own
wherever the kernel lets them; the few that are the machine's (`Setting`) are put back on every exit but SIGKILL.
Namespaces have no names: a descriptor holds them, so they end with the process.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import platform
import resource
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import traceback

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CLONE_NEWNET = 0x40000000
# Constants that Python 3.11's socket module lacks; source: include/uapi/linux/tcp.h, include/uapi/asm-generic/socket.h.
TCP_NOTSENT_LOWAT = 25
TCP_USER_TIMEOUT = 18
TCP_DEFER_ACCEPT = 9
IP_BIND_ADDRESS_NO_PORT = 24
SO_MEMINFO = 55
LIBC = ctypes.CDLL(None, use_errno=True)


class Cannot(Exception):
    """What this machine does not let a question do, in one sentence for a person."""


def need_root(why):
    """Raises `Cannot` unless the process is root."""
    if os.geteuid() != 0:
        raise Cannot(f"needs root: {why}")


# What the kernel counts

def sockstat():
    """The line TCP of /proc/net/sockstat: inuse, orphan, tw, alloc (sockets), mem (pages)."""
    for line in pathlib.Path("/proc/thread-self/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()[1:]
            return {name: int(value) for name, value in zip(words[::2], words[1::2])}
    raise Cannot("/proc/net/sockstat has no line TCP")


def counters():
    """All counters of /proc/net/netstat and /proc/net/snmp of this namespace by name (TcpExt's and Tcp's)."""
    found = {}
    for file in ("netstat", "snmp"):
        lines = pathlib.Path("/proc/thread-self/net", file).read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            if names.split(":")[0] in ("TcpExt", "Tcp"):
                found |= {name: int(value) for name, value in zip(names.split()[1:], values.split()[1:])}
    return found


def grown(before, after):
    """What differs between two results of `counters` or `sockstat`: name and growth."""
    return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}


def slabs():
    """Name of each slab cache and the bytes of its objects in use; needs root."""
    need_root("/proc/slabinfo")
    found = {}
    for line in pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]:
        words = line.split()
        found[words[0]] = int(words[1]) * int(words[3])
    return found


def slab_objects(name):
    """Objects in use and bytes of each of one slab cache; (0, 0) if the kernel has none of this name."""
    need_root("/proc/slabinfo")
    for line in pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]:
        words = line.split()
        if words[0] == name:
            return int(words[1]), int(words[3])
    return 0, 0


def meminfo(name):
    """One figure of /proc/meminfo in bytes."""
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise Cannot(f"/proc/meminfo has no {name}")


def memory_of(connection):
    """SO_MEMINFO of a socket: bytes received and not read, its bound, bytes queued to send, its bound (truesize)."""
    raw = connection.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 9 * 4)
    rmem, rcvbuf, _, sndbuf, _, wmem_queued, _, _, _ = struct.unpack("9I", raw)
    return {"received": rmem, "rcvbuf": rcvbuf, "queued": wmem_queued, "sndbuf": sndbuf}


def cpu_seconds(pid):
    """User and system CPU of a process and all its threads, from its CPU clock in ns (clock_getcpuclockid(3))."""
    clock = (~pid << 3) | 2
    return time.clock_gettime(clock)


def cpu_model():
    """The processor's name."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


# Settings

def read_setting(key):
    """The value of a sysctl in this namespace, None if the kernel has none of this name here."""
    path = pathlib.Path("/proc/sys", key.replace(".", "/"))
    return " ".join(path.read_text().split()) if path.exists() else None


def write_setting(key, value):
    """Writes a sysctl, for a namespace of one's own: it ends with the namespace and nobody puts it back."""
    path = pathlib.Path("/proc/sys", key.replace(".", "/"))
    try:
        path.write_text(str(value))
    except OSError as error:
        raise Cannot(f"cannot write {key} = {value}: {error.strerror}") from error


@contextlib.contextmanager
def setting(key, value):
    """A sysctl of the whole machine for the length of a block; put back when it ends, by an error or a signal too."""
    need_root(f"writes {key}")
    before = read_setting(key)
    if before is None:
        raise Cannot(f"this kernel, or this namespace, has no {key}")
    old = {name: signal.signal(name, lambda *_: sys.exit(1)) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        write_setting(key, value)
        yield before
    finally:
        write_setting(key, before)
        for name, handler in old.items():
            signal.signal(name, handler)


# Namespaces and processes

def new_namespace():
    """Moves this process into a network namespace of its own, with loopback up; returns a descriptor that holds it."""
    need_root("makes a network namespace")
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Cannot(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    ip("link", "set", "lo", "up")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@contextlib.contextmanager
def inside(namespace):
    """This thread is in the namespace for the length of a block; sockets stay where they were made."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise Cannot(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        LIBC.setns(home, CLONE_NEWNET)
        os.close(home)


def ip(*words):
    """Runs iproute2's ip in this namespace."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Cannot("needs the program ip (package iproute2)") from error
    if done.returncode:
        raise Cannot(f"ip {' '.join(words)}: {done.stderr.strip()}")


def nft(rules):
    """Loads nftables rules in this namespace."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Cannot("needs the program nft (apt-get install nftables)") from error
    if done.returncode:
        raise Cannot(f"nft: {done.stderr.strip()}")


def apart(function, *words, namespace=True):
    """Runs a function in a child of its own, in a new network namespace if asked; its result comes back as JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        end_with_parent()
        os.close(reader)
        try:
            if namespace:
                new_namespace()
            answer = {"result": function(*words)}
        except Cannot as error:
            answer = {"cannot": str(error)}
        except BaseException as error:  # the child's only way to tell its parent
            answer = {"error": f"{type(error).__name__}: {error} (line {error.__traceback__.tb_next.tb_lineno})"}
        with os.fdopen(writer, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    answer = json.loads(text or '{"error": "the child ended without an answer"}')
    if "cannot" in answer:
        raise Cannot(answer["cannot"])
    if "error" in answer:
        raise RuntimeError(f"{function.__name__}{words}: {answer['error']}")
    return answer["result"]


def end_with_parent():
    """The kernel ends this process when its parent ends (PR_SET_PDEATHSIG), so that nothing stays behind."""
    LIBC.prctl(1, signal.SIGKILL)


class Worker:
    """A child that runs `function(pipe)`, where `pipe` is a socket to the parent; ended by its pid."""

    def __init__(self, function, *words):
        self.pipe, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            end_with_parent()
            self.pipe.close()
            try:
                function(theirs, *words)
            except BaseException:  # nobody else would say it
                traceback.print_exc()
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, word="go", timeout_s=60):
        """Sends a word and waits for the child's answer, a JSON value."""
        self.say(word)
        return self.hear(timeout_s)

    def say(self, word="go"):
        """Sends a word."""
        self.pipe.send(word.encode())

    def hear(self, timeout_s=60):
        """Waits for the child's answer, a JSON value."""
        self.pipe.settimeout(timeout_s)
        return json.loads(self.pipe.recv(1 << 20))

    def stop(self):
        """Ends the child."""
        self.pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def raise_descriptors():
    """Sets the soft limit of descriptors to the hard one and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# Sockets

def listener(backlog=4096, port=0, host="127.0.0.1", reuse_port=False, options=()):
    """A listening, non-blocking TCP socket with options as (level, name, value)."""
    socket_ = socket.socket()
    socket_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    for level, name, value in options:
        socket_.setsockopt(level, name, value)
    socket_.bind((host, port))
    socket_.listen(backlog)
    socket_.setblocking(False)
    return socket_


def pairs(count, server_options=(), client_options=(), sources=1):
    """`count` connections over loopback: a list of (server's end, client's end), both non-blocking."""
    door = listener(options=server_options)
    door.setblocking(True)
    address = door.getsockname()
    made = []
    for index in range(count):
        client = socket.socket()
        for level, name, value in client_options:
            client.setsockopt(level, name, value)
        if sources > 1:
            client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            client.bind((f"127.0.1.{1 + index % sources}", 0))
        client.connect(address)
        server, _ = door.accept()
        server.setblocking(False)
        client.setblocking(False)
        made.append((server, client))
    door.close()
    return made


def send_until_full(connection, message, quiet_s=0.0):
    """Writes messages until the socket takes no more; bytes that it took. With `quiet_s` it waits that long for more room."""
    taken = 0
    while True:
        try:
            taken += connection.send(message)
        except BlockingIOError:
            if not quiet_s or not select.select([], [connection], [], quiet_s)[1]:
                return taken


def closing(sockets):
    """Closes everything by reset, so that nothing stays in TIME-WAIT."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()


# Tables

def table(title, head, rows, note=""):
    """A table of a question: a title, names of columns, rows of strings and numbers, a sentence below."""
    return {"title": title, "head": list(head), "rows": [list(row) for row in rows], "note": note}


def median(values):
    """The median, 0 of nothing."""
    return statistics.median(values) if values else 0


def part(values, share):
    """The value below which a share of them is, 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


def ratio(before, after):
    """`after / before` of neighbours: the median and its range."""
    ratios = [b / a for a, b in zip(before, after) if a]
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def size(number):
    """A number of bytes as it is said: 0 is the kernel's own."""
    if number == 0:
        return "auto"
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"

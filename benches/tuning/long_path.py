"""A path between two network namespaces with a delay, a rate and a queue, where the kernel has no netem."""

import contextlib
import fcntl
import mmap
import os
import select
import signal
import struct
import time

import linux

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001


class Path:
    """Two namespaces with a path between them that has a delay, a rate and a queue; this kernel has no netem.

    A child carries packets from one TUN device to the other. `server` and `client` are the namespaces, 198.18.0.1 and
    198.18.0.2 (RFC 2544) their addresses. `cut` makes the path lose everything from then on, silently.
    """

    SERVER = "198.18.0.1"
    CLIENT = "198.18.0.2"

    def __init__(self, delay_ms, bytes_per_second, queue_bytes):
        if not os.path.exists("/dev/net/tun"):
            raise linux.Cannot("needs /dev/net/tun")
        self.shared = mmap.mmap(-1, linux.PAGE_BYTES)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        ends = []
        for mine, other in ((self.SERVER, self.CLIENT), (self.CLIENT, self.SERVER)):
            namespace = linux.new_namespace()
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"path", IFF_TUN_NO_PI))
            linux.ip("address", "add", mine, "peer", other, "dev", "path")
            linux.ip("link", "set", "path", "txqueuelen", "10000", "up")
            ends.append((namespace, device))
        linux.LIBC.setns(home, linux.CLONE_NEWNET)
        os.close(home)
        (self.server, left), (self.client, right) = ends
        self.pid = os.fork()
        if self.pid == 0:
            linux.end_with_parent()
            try:
                carry(left, right, delay_ms / 1000, bytes_per_second, queue_bytes, self.shared)
            finally:
                os._exit(0)
        os.close(left)
        os.close(right)

    def cut(self, is_cut=True):
        """Loses every packet in both directions from now on."""
        self.shared[0] = 1 if is_cut else 0

    def close(self):
        """Ends the carrier and lets the namespaces go."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.server)
        os.close(self.client)


def carry(left, right, delay_s, bytes_per_second, queue_bytes, shared):
    """Carries packets between two TUN devices; each direction has a link of the given rate, a queue, and a delay."""
    free_at = {left: 0.0, right: 0.0}
    under_way = {left: [], right: []}
    peer = {left: right, right: left}
    while True:
        now = time.monotonic()
        next_at = min((queue[0][0] for queue in under_way.values() if queue), default=now + 1)
        ready, _, _ = select.select([left, right], [], [], max(0.0, next_at - now))
        now = time.monotonic()
        for end in ready:
            for _ in range(64):
                try:
                    packet = os.read(end, 65536)
                except BlockingIOError:
                    break
                start = max(now, free_at[end])
                if shared[0] or (start - now) * bytes_per_second > queue_bytes:
                    continue
                free_at[end] = start + len(packet) / bytes_per_second
                under_way[end].append((free_at[end] + delay_s, packet))
        for end, queue in under_way.items():
            gone = 0
            while gone < len(queue) and queue[gone][0] <= now:
                if not shared[0]:
                    with contextlib.suppress(OSError):
                        os.write(peer[end], queue[gone][1])
                gone += 1
            del queue[:gone]

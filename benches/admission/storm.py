#!/usr/bin/env python3
"""What to do with connects above a rate: leave them to the kernel's queue, or answer 503?

    benches/admission/storm.py [--binary target/release/throng] [--clients 16000] [--rate 2000] [--seconds 20] [--rounds 1]

Each client connects by TCP and asks for an upgrade. One that fails (503, a reset, no answer in 10 s) tries again after
the official SDKs' backoff: full jitter over 500 ms doubling to 20 s, and 500 ms more. Beside it `throng bench fanout`
measures 100 members of a room at 100 publishes a second for --seconds; the storm begins in the fourth of them, and
is cut off before the last. --rate is for the whole server. As many descriptors as clients and 1,000 more are needed.

The table: seconds until all clients were in, by what part of them; tries that failed, as clients see it; the server's
CPU, less what it takes for the members alone, for each client that came in and for each try that was refused; what the
members noticed. The generator is Python and shares the machine: compare the rows, not the figures with others.
"""

import argparse
import collections
import errno
import heapq
import json
import os
import pathlib
import platform
import random
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches" / "tuning"))
import linux
import serving

PATIENCE_S = 10
DELAY_MIN_S, DELAY_MAX_S = 0.5, 20
SOURCES = 8
PROBE = ["--rate", "100", "--members", "100"]


class Storm:
    """All clients, and what became of their tries."""

    def __init__(self, port, clients, honours):
        self.port, self.honours = port, honours
        self.poll = select.epoll()
        self.open = {}                      # descriptor: (socket, client, tries so far, has asked, began at)
        self.held, self.back_s = [], []
        self.failures = collections.Counter()
        self.due = [(0.0, client, 0) for client in range(clients)]
        self.patience = collections.deque()

    def dial(self, client, tries, now):
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_IP, linux.IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.1.{client % SOURCES + 1}", 0))
        failed = connection.connect_ex(("127.0.0.1", self.port))
        if failed not in (0, errno.EINPROGRESS):
            connection.close()
            return self.fail(client, tries, errno.errorcode[failed], now)
        fd = connection.fileno()
        self.open[fd] = (connection, client, tries, False, now)
        self.patience.append((now + PATIENCE_S, fd, now))
        self.poll.register(fd, select.EPOLLOUT | select.EPOLLET)

    def fail(self, client, tries, why, now, after_s=None):
        self.failures[why] += 1
        jitter = random.uniform(0, min(DELAY_MAX_S, DELAY_MIN_S * 2 ** min(tries, 31)))
        delay_s = min(DELAY_MAX_S, DELAY_MIN_S + jitter) if after_s is None else after_s + random.random()
        heapq.heappush(self.due, (now + delay_s, client, tries + 1))

    def end(self, fd, why, now, after_s=None):
        connection, client, tries, _, _ = self.open.pop(fd)
        connection.close()
        self.fail(client, tries, why, now, after_s)

    def event(self, fd, now):
        connection, client, tries, has_asked, began = self.open[fd]
        try:
            if not has_asked:
                connection.send(serving.UPGRADE)
                self.open[fd] = (connection, client, tries, True, began)
                return self.poll.modify(fd, select.EPOLLIN | select.EPOLLET)
            answer = connection.recv(4096)
        except OSError as error:
            return self.end(fd, errno.errorcode[error.errno], now)
        if answer.startswith(b"HTTP/1.1 101"):
            del self.open[fd]
            self.poll.unregister(fd)
            self.held.append(connection)
            return self.back_s.append(now)
        after_s = None
        if self.honours and b"Retry-After: " in answer:
            after_s = int(answer.split(b"Retry-After: ")[1].split(b"\r\n")[0])
        self.end(fd, answer[9:12].decode() if answer else "closed", now, after_s)

    def ride_out(self, clients, give_up_s):
        began = time.monotonic()
        while len(self.back_s) < clients:
            now = time.monotonic() - began
            if now > give_up_s:
                break
            dialled = 0
            while self.due and self.due[0][0] <= now and dialled < 200:
                _, client, tries = heapq.heappop(self.due)
                self.dial(client, tries, now)
                dialled += 1
            while self.patience and self.patience[0][0] <= now:
                _, fd, since = self.patience.popleft()
                if fd in self.open and self.open[fd][4] == since:
                    self.end(fd, "no answer", now)
            wait = 0 if dialled else min(0.05, max(0.0, self.due[0][0] - now) if self.due else 0.05)
            for fd, _ in self.poll.poll(wait):
                if fd in self.open:
                    self.event(fd, time.monotonic() - began)


def run(binary, name, configuration, clients, seconds, honours=False):
    """One storm against a server of one configuration; a row."""
    server = serving.Throng(binary, "insecure = true\n" + configuration)
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "members.json")
        command = [binary, "bench", "fanout", "--target", f"ws://127.0.0.1:{server.port}/connection/websocket",
                   "--pid", str(server.pid), "--json", report, "--seconds", str(seconds), *PROBE]
        members = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2)
            quiet = linux.cpu_seconds(server.pid)
            time.sleep(2)
            idle = (linux.cpu_seconds(server.pid) - quiet) / 2
            refused = server.metric("throng_upgrades_refused_total")
            storm = Storm(server.port, clients, honours)
            before, began, dropped = linux.cpu_seconds(server.pid), time.monotonic(), linux.counters()
            storm.ride_out(clients, seconds - 5)
            took = time.monotonic() - began
            cpu = linux.cpu_seconds(server.pid) - before - idle * took
            dropped = linux.grown(dropped, linux.counters()).get("ListenDrops", 0)
            refused = server.metric("throng_upgrades_refused_total") - refused
            abandoned = server.metric("throng_upgrades_abandoned_total")
            pauses = server.metric("throng_accept_pauses_total")
            members.wait(120)
            delay = json.loads(report.read_text())["window"]["delay"]
        finally:
            if members.poll() is None:
                members.kill()
            members.wait()
            server.stop()
    for connection in storm.held:
        connection.close()
    back = sorted(storm.back_s)
    at = lambda part: back[min(len(back) - 1, int(part * len(back)))]
    return {
        "name": name, "in": len(back), "half_s": at(0.5), "p99_s": at(0.99), "all_s": back[-1],
        "tries": dict(storm.failures), "failed": sum(storm.failures.values()), "refused": int(refused),
        "abandoned": int(abandoned), "drops": dropped, "pauses": int(pauses), "cpu_s": cpu,
        "p50_us": delay["p50_us"], "p99_us": delay["p99_us"], "p999_us": delay["p999_us"], "max_us": delay["max_us"],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "throng"))
    parser.add_argument("--clients", type=int, default=16_000)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    hard = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], options.clients + 1_000)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except ValueError:
        sys.exit(f"{options.clients} clients need `ulimit -n {hard}`, which root may set")
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    print("command   ", "benches/admission/storm.py", *sys.argv[1:])
    print("commit    ", commit.strip(), " kernel", platform.release(), " cpu", linux.cpu_model(), " cores", os.cpu_count())
    print("somaxconn ", linux.read_setting("net.core.somaxconn"), " load before", os.getloadavg()[0])
    rate = options.rate
    rows = [
        ("no limit", "", False),
        (f"kernel, {rate}/s", f"[admission]\naccepts_per_second = {rate}\n", False),
        (f"503, {rate}/s", f"[admission]\nconnects_per_second = {rate}\n", False),
        (f"503, {rate}/s, Retry-After kept", f"[admission]\nconnects_per_second = {rate}\n", True),
    ]
    base = None
    for number in range(options.rounds):
        print(f"\nround {number + 1}: {options.clients} clients")
        heads = ["", "in", "half s", "99% s", "all s", "failed", "refused", "gone", "drops", "pauses", "CPU s",
                 "us/in", "us/refused", "p50", "p99", "p99.9", "max us"]
        print("{:30}{:>7}{:>8}{:>8}{:>8}{:>8}{:>8}{:>7}{:>7}{:>8}{:>7}{:>7}{:>11}{:>7}{:>8}{:>8}{:>9}".format(*heads))
        for name, configuration, honours in rows:
            row = run(options.binary, name, configuration, options.clients, options.seconds, honours)
            each_us = row["cpu_s"] / max(1, row["in"]) * 1e6
            base = each_us if not configuration else base
            more_us = (row["cpu_s"] - base * row["in"] / 1e6) / row["refused"] * 1e6 if row["refused"] else 0
            print("{name:30}{in:7}{half_s:8.1f}{p99_s:8.1f}{all_s:8.1f}{failed:8}{refused:8}{abandoned:7}{drops:7}"
                  "{pauses:8}{cpu_s:7.2f}".format(**row)
                  + f"{each_us:7.1f}{more_us:11.1f}"
                  + "{p50_us:7}{p99_us:8}{p999_us:8}{max_us:9}".format(**row), flush=True)
            print("   failed tries:", ", ".join(f"{count} {why}" for why, count in row["tries"].items()) or "none", flush=True)
    print("\nload after", os.getloadavg()[0])


if __name__ == "__main__":
    main()

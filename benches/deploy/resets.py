#!/usr/bin/env python3
"""Counts what clients see while one throng takes over a port from another.

Two throng processes share a port (--reuse-port). Clients connect all the while, 50 at a time: connect,
upgrade, read the answer, close. In the middle `throng drain` ends the old process. Every connection is
counted by what its client saw: 101 (served), 503 (answered by the server that ends), reset, refused.

    benches/deploy/resets.py target/release/throng        # as root: it makes a network namespace of its own

Each line is one value of net.ipv4.tcp_migrate_req, without and with handshakes that take time. Loopback
completes a handshake at once, so the second kind has TCP_DEFER_ACCEPT: until the request comes, 20 ms after the
connect, the kernel keeps what it keeps of a handshake under way.
"""

import argparse
import asyncio
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

AT_A_TIME = 50
UPGRADE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: throng\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def start(throng, listen, config, *more):
    """A server, its address for clients and that of its admin listener."""
    home = tempfile.mkdtemp(prefix="throng-deploy-")
    path = os.path.join(home, "throng.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    command = [throng, "serve", "--listen", listen, "--admin", "127.0.0.1:0", "--config", path, *more]
    log = open(os.path.join(home, "throng.log"), "w", encoding="utf-8")
    server = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=log, text=True)
    ready = server.stdout.readline()
    found = re.search(r"ws://([^/]+)/.* admin (http://\S+),", ready)
    if not found:
        sys.exit(f"no readiness line but {ready!r}; see {home}/throng.log")
    return server, found[1], found[2]


async def one(host, port, pause_s):
    """What one client sees."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(host, port)
        await asyncio.sleep(pause_s)
        writer.write(UPGRADE)
        line = await reader.readline()
        return line.split()[1].decode() if line else "end"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except BrokenPipeError:
        return "reset"
    finally:
        if writer:
            writer.close()


async def storm(address, count, pause_s, act):
    """What `count` clients see; `act` is called when a third of them have connected."""
    host, port = address.rsplit(":", 1)
    seen, left = collections.Counter(), iter(range(count))

    async def client():
        for index in left:
            if index == count // 3:
                act()
            seen[await one(host, int(port), pause_s)] += 1

    await asyncio.gather(*(client() for _ in range(AT_A_TIME)))
    return seen


def run(throng, count, rounds, migrate, pause_s):
    with open("/proc/sys/net/ipv4/tcp_migrate_req", "w", encoding="utf-8") as file:
        file.write(str(migrate))
    config = "drain_ms = 0\nlimits.close_timeout_ms = 200\n"
    config += "socket.defer_accept_s = 5\n" if pause_s else ""
    seen = collections.Counter()
    for _ in range(rounds):
        old, address, admin = start(throng, "127.0.0.1:0", config, "--shards", "2")
        new, _, _ = start(throng, address, config, "--shards", "2", "--reuse-port")

        def drain(admin=admin):
            request = urllib.request.Request(f"{admin}/api/drain", data=b"{}", method="POST")
            urllib.request.urlopen(request).read()

        try:
            seen += asyncio.run(storm(address, count, pause_s, drain))
            assert old.wait(timeout=30) == 0
        finally:
            for server in (old, new):
                server.terminate()
                server.wait()
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("throng")
    parser.add_argument("--connections", type=int, default=5000, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if os.environ.get("THRONG_DEPLOY") != "inside":
        os.environ["THRONG_DEPLOY"] = "inside"
        up = 'ip link set lo up && exec "$@"'
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", up, "sh", sys.executable, *sys.argv])
    for pause_s in (0, 0.02):
        for migrate in (0, 1):
            throng = os.path.abspath(options.throng)
            seen = run(throng, options.connections, options.rounds, migrate, pause_s)
            what = {"tcp_migrate_req": migrate, "handshake_ms": int(1000 * pause_s)}
            print(json.dumps({**what, "connections": sum(seen.values()), **dict(sorted(seen.items()))}), flush=True)


main()

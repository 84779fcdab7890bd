"""tcp_slow_start_after_idle: how long a large message takes on a long path when nothing was said for a while."""

import select
import socket
import time

import linux
import long_path

QUESTION = "On a path of 100 ms, how long does a message of 200 KB take after a pause, with tcp_slow_start_after_idle and without?"
ROOT = "makes network namespaces and TUN devices"
THRONG = False
SECONDS = 55

MESSAGE = 200_000
TIMES = 5


def measure(_):
    known = linux.read_setting("net.ipv4.tcp_available_congestion_control").split()
    rows = [[control, pause, value, *linux.apart(messages, value, pause, control, namespace=False)]
            for control in ("cubic", "bbr") if control in known for pause in (0.1, 2.0) for value in (1, 0)]
    return [linux.table(f"A message of {MESSAGE:,} B, {TIMES} times with a pause between; 100 ms there and back, 50 Mbit/s",
                        ["congestion control", "pause, s", "tcp_slow_start_after_idle", "first, ms", "the others p50, ms",
                         "congestion window at their start, segments"], rows,
                        "The window: tcpi_snd_cwnd of TCP_INFO just before the write; the kernel "
                        "shrinks it with the write itself.")]


def messages(value, pause, control):
    path = long_path.Path(50, 6_250_000, 1_000_000)
    try:
        with linux.inside(path.server):
            linux.write_setting("net.ipv4.tcp_slow_start_after_idle", value)
            door = linux.listener(host=path.SERVER, options=[
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())])
        with linux.inside(path.client):
            client = socket.create_connection(door.getsockname(), 10)
        select.select([door], [], [], 5)
        server, _ = door.accept()
        server.setblocking(True)
        times, windows = [], []
        for _ in range(TIMES):
            info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            windows.append(int.from_bytes(info[80:84], "little"))
            started = time.monotonic()
            reader = linux.Worker(read, client)
            reader.say()
            server.sendall(b"x" * MESSAGE)
            times.append(reader.hear() - started)
            reader.stop()
            time.sleep(pause)
        return [times[0] * 1e3, linux.median(times[1:]) * 1e3, round(linux.median(windows[1:]))]
    finally:
        path.close()


def read(pipe, client):
    """Reads one message; answers with the time at its end (CLOCK_MONOTONIC is the same in every process)."""
    pipe.recv(10)
    client.setblocking(True)
    left = MESSAGE
    while left:
        left -= len(client.recv(left))
    pipe.send(str(time.monotonic()).encode())

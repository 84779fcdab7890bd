"""A throng that serves, and one that loads: started with a configuration, asked for figures, ended by their pids."""

import json
import os
import pathlib
import resource
import select
import socket
import subprocess
import tempfile

import linux


class Throng:
    """A `throng serve` of one configuration on ports of its own, in this namespace; ended by its pid."""

    def __init__(self, binary, configuration="", arguments=(), host="127.0.0.1", descriptors=None):
        self.folder = tempfile.TemporaryDirectory(prefix="throng-tuning-")
        file = pathlib.Path(self.folder.name, "throng.toml")
        file.write_text(configuration)
        self.port, self.admin = free_port(host), free_port("127.0.0.1")
        command = [binary, "serve", "--config", file, "--listen", f"{host}:{self.port}",
                   "--admin", f"127.0.0.1:{self.admin}", "--data", f"{self.folder.name}/data", *arguments]

        def first():
            linux.end_with_parent()
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, descriptors)
        self.log = open(pathlib.Path(self.folder.name, "log"), "w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=first,
                                        env=os.environ | {"THRONG_LOG": os.environ.get("THRONG_LOG", "warn")})
        self.pid = self.process.pid
        if not select.select([self.process.stdout], [], [], 30)[0] or not self.process.stdout.readline():
            raise linux.Cannot(f"throng did not start: {self.said()[-400:]}")

    def metric(self, name):
        """One figure of /metrics, summed over its labels."""
        with socket.create_connection(("127.0.0.1", self.admin), 5) as admin:
            admin.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def said(self):
        """What it wrote to its log."""
        self.log.flush()
        return pathlib.Path(self.log.name).read_text()

    def stop(self):
        """Ends it at once."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()


UPGRADE = (b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")


def free_port(host):
    """A port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def bench(binary, *words, serve="", configuration=""):
    """Runs `throng bench` on a server with these arguments and this configuration, and returns its report."""
    with tempfile.TemporaryDirectory(prefix="throng-tuning-") as folder:
        file = pathlib.Path(folder, "report.json")
        # Without a drain the run ends at once instead of after 10 s.
        pathlib.Path(folder, "serve.toml").write_text("drain_ms = 0\n" + configuration)
        serve = f"--serve-args=--config {folder}/serve.toml {serve}"
        done = subprocess.run([binary, "bench", *words, serve, "--json", file], capture_output=True, text=True,
                              cwd=folder, preexec_fn=linux.end_with_parent, env=os.environ | {"THRONG_LOG": "error"})
        if done.returncode:
            raise linux.Cannot(f"throng bench {' '.join(words)}: {(done.stderr or done.stdout)[-300:]}")
        return json.loads(file.read_text())


def figure(report, name):
    """The first figure of this name in a report, the server's before others."""
    for key, value in report.items():
        if key == name and isinstance(value, (int, float)):
            return value
        if isinstance(value, dict) and key not in ("client", "both"):
            found = figure(value, name)
            if found is not None:
                return found
    return None

"""The servers that `run` compares: how each is installed, started and asked for its version.

A server is started by `Server.start` and ends with the ExitStack that it was given. What it prints goes
to a file in the run's temporary folder. The limit of descriptors is `run`'s own, raised to the hard one.
"""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUST_TARGET = ROOT / "target" / "peers"
NGINX_MODULES = pathlib.Path("/usr/lib/nginx/modules")
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 10


class Unavailable(Exception):
    """Why a server cannot be had here, as a sentence."""


@dataclasses.dataclass
class Running:
    """A server that listens: where, which process does the work, and which one is to be ended."""

    url: str
    pid: int
    process: subprocess.Popen


@dataclasses.dataclass
class Server:
    """One row of the table."""

    name: str
    dialect: str
    threads: str  # What serves connections, for people.
    install: typing.Callable[[], None]
    version: typing.Callable[[], str]
    launch: typing.Callable  # (server, stack, folder, pin) -> Running
    command: list = dataclasses.field(default_factory=list)

    def start(self, stack, folder, pin):
        """Starts the server; it ends with `stack`. Raises Unavailable if it does not come up."""
        place = folder / f"{self.name}-{time.monotonic_ns()}"
        place.mkdir()
        return self.launch(self, stack, place, pin)


def all_servers(throng, serve_args):
    """Every server by name; the first is what the others are compared with."""
    serve = [str(throng), "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *serve_args]
    nothing = lambda: None
    cores = len(os.sched_getaffinity(0))
    rust = lambda name: Server(name, "raw", f"{cores} tokio workers", cargo_build, lambda: crate_version(name),
                               prints_ready, [str(RUST_TARGET / "release" / name)])
    servers = [
        Server("throng", "centrifuge", "1 shard", nothing, lambda: said(str(throng), "--version"), throng_ready,
               [*serve, "--shards", "1"]),
        Server("throng-default", "centrifuge", f"{cores} shards, its default", nothing,
               lambda: said(str(throng), "--version"), throng_ready, serve),
        Server("bun", "raw", "1", lambda: npm_install("bun"), lambda: npm_version("bun", "bun"),
               prints_ready, [str(HERE / "bun/node_modules/.bin/bun"), str(HERE / "bun/server.ts")]),
        Server("ws", "raw", "1", lambda: npm_install("ws"),
               lambda: f"{npm_version('ws', 'ws')}, Node {said('node', '--version')}",
               prints_ready, ["node", str(HERE / "ws/server.js")]),
        Server("nchan", "nchan", "1 worker", lambda: apt_install("nginx", "libnginx-mod-nchan"),
               nchan_version, nginx),
        Server("nats", "nats", f"Go, {cores} at once", lambda: apt_install("nats-server"),
               lambda: said("nats-server", "--version").removeprefix("nats-server: "), nats),
        rust("tokio-tungstenite"),
        rust("fastwebsockets"),
    ]
    return {server.name: server for server in servers}


# Starting


def spawn(stack, command, place, pin, **options):
    """Starts `command` in a session of its own, so that Ctrl-C reaches only us; it ends with `stack`."""
    pinned = (lambda: os.sched_setaffinity(0, {0})) if pin else None
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   start_new_session=True, preexec_fn=pinned, **options)
    stack.callback(stop, process)
    return process


def stop(process):
    """Asks the process to end, and ends its whole process group if it does not."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(process, place, look):
    """What `look` gives once it gives something; Unavailable if the server ends or takes too long."""
    end = time.monotonic() + START_SECONDS_MAX
    while process.poll() is None and time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    log = (place / "log").read_text(errors="replace").strip()[-2000:]
    raise Unavailable(f"{shlex.join(process.args)} was never ready: {log}")


def prints(place, pattern):
    return re.search(pattern, (place / "log").read_text(errors="replace"), re.MULTILINE)


def throng_ready(server, stack, place, pin):
    own_data = [] if "--data" in server.command else ["--data", str(place / "data")]
    process = spawn(stack, [*server.command, *own_data], place, pin)
    url = wait(process, place, lambda: prints(place, r"(ws://[^,\s]+)"))[1]
    return Running(url, process.pid, process)


def prints_ready(server, stack, place, pin):
    """Our own servers choose a port and print `ready PORT PID`."""
    process = spawn(stack, server.command, place, pin)
    ready = wait(process, place, lambda: prints(place, r"^ready (\d+) (\d+)$"))
    return Running(f"ws://127.0.0.1:{ready[1]}/", int(ready[2]), process)


def nginx(server, stack, place, pin):
    """nginx's master only watches: the worker is who is measured."""
    port, limit = free_port(), str(min(os.sysconf("SC_OPEN_MAX"), 1_000_000))
    config = (HERE / "nchan" / "nginx.conf").read_text()
    for name, value in {"PORT": str(port), "DESCRIPTORS": limit, "MODULES": str(NGINX_MODULES)}.items():
        config = config.replace(f"@{name}@", value)
    (place / "nginx.conf").write_text(config)
    # Its worker gives up root, and must still reach its (empty) folders.
    place.parent.chmod(0o755)
    command = [shutil.which("nginx", path=tool_path()), "-e", "stderr", "-p", str(place), "-c", "nginx.conf"]
    process = spawn(stack, command, place, pin)
    worker = wait(process, place, lambda: listens(port) and child_of(process.pid))
    return Running(f"ws://127.0.0.1:{port}/room/{{room}}", worker, process)


def nats(server, stack, place, pin):
    port = free_port()
    ports = {"NATS_PORT": str(free_port()), "NATS_WEBSOCKET_PORT": str(port)}
    command = [shutil.which("nats-server", path=tool_path()), "-c", str(HERE / "nats" / "nats.conf")]
    process = spawn(stack, command, place, pin, env=os.environ | ports)
    wait(process, place, lambda: listens(port))
    return Running(f"ws://127.0.0.1:{port}/", process.pid, process)


def free_port():
    """A port that nobody has now; whoever needs it should take it soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def child_of(pid):
    """The first process whose parent is `pid`, or None."""
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            if re.search(rf"^PPid:\s{pid}$", status.read_text(), re.MULTILINE):
                return int(status.parent.name)
        except OSError:
            pass  # It ended meanwhile.
    return None


# Installing


def tool_path():
    """Debian puts servers where only root looks."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def install(command, **options):
    """Runs an installer; what it says goes to stderr. Unavailable if it is not there or fails."""
    print(f"run: {shlex.join(command)}", file=sys.stderr)
    try:
        code = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, **options).returncode
    except FileNotFoundError:
        raise Unavailable(f"`{command[0]}` is not installed") from None
    if code:
        raise Unavailable(f"`{shlex.join(command)}` ended with {code}")


def npm_install(name):
    """Installs exactly what the lock file says, unless it is there already."""
    if name == "ws" and not shutil.which("node"):
        raise Unavailable("`node` is not installed")
    installed = HERE / name / "node_modules" / name / "package.json"
    locked = json.loads((HERE / name / "package-lock.json").read_text())["packages"][f"node_modules/{name}"]
    if not installed.exists() or json.loads(installed.read_text())["version"] != locked["version"]:
        install(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE / name)


def apt_install(*packages):
    """Installs Debian packages, unless they are there already."""
    missing = [package for package in packages if not debian_version(package)]
    if not missing:
        return
    if os.geteuid() != 0:
        raise Unavailable(f"it needs `apt-get install {shlex.join(missing)}`, and you are not root")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    try:
        install(command, env=quiet)
    except Unavailable:
        # The list of packages may be old or empty.
        install(["apt-get", "update", "--quiet"], env=quiet)
        install(command, env=quiet)


def cargo_build():
    manifest = HERE / "rust" / "Cargo.toml"
    install(["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest)],
            env=os.environ | {"CARGO_TARGET_DIR": str(RUST_TARGET)})


# Versions


def said(*command):
    """The first line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def npm_version(folder, package):
    return json.loads((HERE / folder / "node_modules" / package / "package.json").read_text())["version"]


def debian_version(package):
    """The installed version of a Debian package, or an empty text."""
    try:
        done = subprocess.run(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", package],
                              capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable("this is not Debian: `dpkg-query` is not installed") from None
    return done.stdout.removeprefix("installed ") if done.stdout.startswith("installed ") else ""


def nchan_version():
    return f"{debian_version('libnginx-mod-nchan')}, nginx {debian_version('nginx')}"


def crate_version(name):
    lock = (HERE / "rust" / "Cargo.lock").read_text()
    version = lambda crate: re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock)[1]
    return f"{version(name)}, tokio {version('tokio')}"

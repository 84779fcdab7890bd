"""A throng started by a test, tokens for it, and the official SDK as the tests use it."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import unittest

import centrifuge

KEY = "a key for tests, which is not a secret but as long as one"

# Far above what a loaded machine needs: a test that reaches it fails instead of hanging.
DEADLINE_S = 20

_DEBUG_BUILD = pathlib.Path(__file__).parents[3] / "target" / "debug" / "throng"
_READY = re.compile(r"throng ready: clients (\S+), admin (\S+), ")


class Server:
    """A server on ports that the kernel chooses, ended by `stop` or `kill`.

    `data` is the directory of its durable rooms; left out, it is gone with the server.
    """

    def __init__(self, config: str = "", listen: str = "127.0.0.1:0", data: str | None = None):
        program = os.path.abspath(os.environ.get("THRONG_BIN", _DEBUG_BUILD))
        # Where it runs, so that its data are its own.
        self._home = tempfile.TemporaryDirectory(prefix="throng-test-")
        pathlib.Path(self._home.name, "throng.toml").write_text(config)
        arguments = ["serve", "--listen", listen, "--admin", "127.0.0.1:0", "--config", "throng.toml"]
        if data is not None:
            arguments += ["--data", os.path.abspath(data)]
        log = pathlib.Path(self._home.name, "log")
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [program, *arguments], cwd=self._home.name, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        line = self._process.stdout.readline()
        ready = _READY.match(line)
        if ready is None:
            said = log.read_text()
            self.kill()
            raise RuntimeError(f"{program} did not become ready: {line!r}\n{said}")
        self.url = ready[1]
        self.admin = ready[2]
        self.address = re.search(r"//([^/]+)/", self.url)[1]

    def stop(self) -> int:
        """Drains and ends the server; returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server as a crash does, at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        self._process.stdout.close()
        code = self._process.wait(timeout=DEADLINE_S)
        self._home.cleanup()
        return code


def token(key: str = KEY, **claims) -> str:
    """A token with `claims`, signed with HS256."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    header = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{header}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{encode(hmac.digest(key.encode(), signed.encode(), hashlib.sha256))}"


def in_seconds(offset: int) -> int:
    """Unix time in seconds, `offset` seconds from now, as tokens have it."""
    return int(time.time()) + offset


class _Events:
    """Keeps the context of every event in a queue of the event's name, without "on_"."""

    def __init__(self):
        self._queues = {}

    def _queue(self, name: str) -> asyncio.Queue:
        return self._queues.setdefault(name, asyncio.Queue())

    async def next(self, name: str):
        """The next event called `name` that nobody has taken yet."""
        return await asyncio.wait_for(self._queue(name).get(), DEADLINE_S)

    def waiting(self, name: str) -> int:
        """How many events called `name` nobody has taken."""
        return self._queue(name).qsize()


def _keeping(handler: type, names: str) -> type:
    """A subclass of `handler` that keeps the events in `names`."""

    def keeper(name: str):
        async def keep(self, context):
            self._queue(name).put_nowait(context)

        return keep

    return type("Kept" + handler.__name__, (_Events, handler), {f"on_{name}": keeper(name) for name in names.split()})


ClientEvents = _keeping(
    centrifuge.ClientEventHandler,
    "connecting connected disconnected subscribed unsubscribed publication join leave",
)
RoomEvents = _keeping(
    centrifuge.SubscriptionEventHandler,
    "subscribing subscribed unsubscribed publication join leave",
)


class Case(unittest.IsolatedAsyncioTestCase):
    """Tests with a server of their own, started with `config`."""

    config = ""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.config)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        if code != 0:
            raise AssertionError(f"the server ended with {code}")

    def client(self, server: Server | None = None, **options) -> centrifuge.Client:
        """A client that is not connected; its events are in `client.seen`."""
        seen = ClientEvents()
        made = centrifuge.Client(
            (server or self.server).url, events=seen, min_reconnect_delay=0.02, max_reconnect_delay=0.2, **options
        )
        made.seen = seen
        self.addAsyncCleanup(made.disconnect)
        return made

    async def connected(self, **options) -> centrifuge.Client:
        """A client that is connected."""
        made = self.client(**options)
        await made.connect()
        await made.ready(DEADLINE_S)
        return made

    def room(self, client: centrifuge.Client, channel: str, **options) -> centrifuge.Subscription:
        """A subscription that was not asked for yet; its events are in `room.seen`."""
        seen = RoomEvents()
        made = client.new_subscription(channel, events=seen, **options)
        made.seen = seen
        return made

    async def subscribed(self, client: centrifuge.Client, channel: str, **options) -> centrifuge.Subscription:
        """A subscription that is subscribed."""
        made = self.room(client, channel, **options)
        await made.subscribe()
        await made.ready(DEADLINE_S)
        return made

    async def fails_with(self, code: int, call) -> None:
        """Asserts that a call of the SDK is answered with the error `code`."""
        with self.assertRaises(centrifuge.ReplyError) as caught:
            await call
        self.assertEqual(caught.exception.code, code)

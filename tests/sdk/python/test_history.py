"""The official Python SDK in rooms with a history: reading it, coming back, personal rooms, read cursors."""

import asyncio
import tempfile

from centrifuge import StreamPosition
from throng import DEADLINE_S, KEY, Case, Server, token

CONFIG = f"""
    insecure = true
    drain_ms = 0
    [client.token]
    hmac_secret_key = "{KEY}"
    [client.subscribe_to_user_personal_channel]
    enabled = true
    personal_channel_namespace = "mail"
    [[channel.namespaces]]
    name = "kept"
    history_size = 1000
    history_ttl = "1h"
    force_recovery = true
    [[channel.namespaces]]
    name = "short"
    history_size = 5
    history_ttl = "1h"
    force_recovery = true
    [[channel.namespaces]]
    name = "asked"
    history_size = 1000
    history_ttl = "1h"
    allow_recovery = true
    allow_positioning = true
    [[channel.namespaces]]
    name = "mail"
    history_size = 100
    history_ttl = "1h"
    force_recovery = true
"""


def items(publications) -> list:
    """Offsets and data of publications."""
    return [(pub.offset, pub.data) for pub in publications]


def filled(first: int, last: int) -> list:
    """What `items` gives of the numbers from `first` to `last`, published at these offsets in either order."""
    step = 1 if first <= last else -1
    return [(number, number) for number in range(first, last + step, step)]


async def fill(client, room: str, count: int, first: int = 1) -> None:
    """Publishes `count` numbers, from `first`."""
    await asyncio.gather(*(client.publish(room, number) for number in range(first, first + count)))


async def seen(room) -> list:
    """What a subscription has seen, once all that was published before has arrived."""
    await room.history()
    return items([(await room.seen.next("publication")).pub for _ in range(room.seen.waiting("publication"))])


def recovery(context) -> tuple:
    """What a context of `subscribed` says of recovery."""
    return (context.was_recovering, context.recovered, context.stream_position.offset)


class HistoryServer(Case):
    """What clients do with rooms that have a history."""

    config = CONFIG

    async def test_publications_are_numbered_and_acknowledged_and_kept(self):
        made = await self.connected()
        room = await self.subscribed(made, "kept:numbered")
        await fill(made, "kept:numbered", 20)
        history = await room.history(limit=100)
        self.assertEqual((items(history.publications), history.offset), (filled(1, 20), 20))
        self.assertNotEqual(history.epoch, "")
        self.assertEqual(await seen(room), filled(1, 20))

    async def test_history_has_a_limit_a_position_and_two_directions(self):
        made = await self.connected()
        await fill(made, "kept:read", 10)
        epoch = (await made.history("kept:read")).epoch

        async def read(since=None, **options):
            if since is not None:
                options["since"] = StreamPosition(since, epoch)
            return items((await made.history("kept:read", **options)).publications)

        self.assertEqual(await read(), [])
        self.assertEqual(await read(limit=3), filled(1, 3))
        self.assertEqual(await read(limit=3, reverse=True), filled(10, 8))
        self.assertEqual(await read(limit=3, since=4), filled(5, 7))
        self.assertEqual(await read(limit=3, since=4, reverse=True), filled(3, 1))
        self.assertEqual(await read(limit=-1, since=8), filled(9, 10))
        self.assertEqual(await read(limit=3, since=10), [])
        self.assertEqual(await read(limit=3, since=1000), [])

    async def test_what_history_cannot_give_is_an_error(self):
        made = await self.connected()
        await fill(made, "kept:error", 3)
        await self.fails_with(112, made.history("kept:error", limit=3, since=StreamPosition(1, "another")))
        epoch = (await made.history("kept:error")).epoch
        await self.fails_with(107, made.history("kept:error", limit=3, since=StreamPosition(0, epoch), reverse=True))
        await self.fails_with(108, made.history("room", limit=3))
        await self.fails_with(102, made.history("unknown:room", limit=3))

    async def test_a_client_that_comes_back_gets_what_it_missed_in_order(self):
        reader, writer = await self.connected(), await self.connected()
        room = await self.subscribed(reader, "kept:missed")
        self.assertEqual(recovery(await room.seen.next("subscribed")), (False, False, 0))
        await fill(writer, "kept:missed", 2)
        self.assertEqual(await seen(room), filled(1, 2))
        await reader.disconnect()
        await fill(writer, "kept:missed", 5, first=3)
        await reader.connect()
        self.assertEqual(recovery(await room.seen.next("subscribed")), (True, True, 2))
        await fill(writer, "kept:missed", 2, first=8)
        self.assertEqual(await seen(room), filled(3, 9))

    async def test_a_client_that_comes_and_goes_while_others_publish_sees_everything_once(self):
        reader = await self.connected()
        room = await self.subscribed(reader, "kept:bounce")
        await room.seen.next("subscribed")
        writers = [await self.connected() for _ in range(4)]

        async def write(writer):
            for number in range(100):
                await writer.publish("kept:bounce", number)

        written = asyncio.gather(*(write(writer) for writer in writers))
        while not written.done():
            await reader.disconnect()
            await reader.connect()
            context = await room.seen.next("subscribed")
            self.assertTrue(context.was_recovering and context.recovered)
        await written
        offsets = [offset for offset, _ in await seen(room)]
        self.assertEqual(offsets, list(range(1, 401)))

    async def test_who_missed_more_than_is_kept_is_not_recovered_and_gets_what_comes(self):
        reader, writer = await self.connected(), await self.connected()
        room = await self.subscribed(reader, "short:far")
        await room.seen.next("subscribed")
        await reader.disconnect()
        await fill(writer, "short:far", 6)
        await reader.connect()
        self.assertEqual(recovery(await room.seen.next("subscribed")), (True, False, 6))
        await fill(writer, "short:far", 2, first=7)
        self.assertEqual(await seen(room), filled(7, 8))

    async def test_get_state_is_asked_again_when_a_position_is_gone(self):
        reader, writer = await self.connected(), await self.connected()
        await fill(writer, "short:state", 2)
        asked = []

        async def get_state(channel):
            asked.append(channel)
            history = await writer.history(channel)
            return StreamPosition(history.offset, history.epoch)

        room = await self.subscribed(reader, "short:state", get_state=get_state)
        await reader.disconnect()
        await fill(writer, "short:state", 6, first=3)
        await reader.connect()
        await room.ready(DEADLINE_S)
        await fill(writer, "short:state", 1, first=9)
        self.assertEqual(await seen(room), [(9, 9)])
        self.assertEqual(asked, ["short:state"] * 2)

    async def test_where_it_is_allowed_a_subscription_asks_to_be_recoverable_or_positioned(self):
        made = await self.connected()
        for number, (options, expected) in enumerate(
            [({}, (False, False)), ({"recoverable": True}, (True, True)), ({"positioned": True}, (False, True))]
        ):
            room = await self.subscribed(made, f"asked:{number}", **options)
            context = await room.seen.next("subscribed")
            self.assertEqual((context.recoverable, context.positioned), expected)

    async def test_what_was_sent_to_a_user_who_was_away_arrives(self):
        ann = await self.connected(token=token(sub="ann"))
        context = await ann.seen.next("subscribed")
        self.assertEqual((context.channel, context.recoverable), ("mail:#ann", True))
        bob = await self.connected(token=token(sub="bob"))
        await fill(bob, "mail:#ann", 1)
        self.assertEqual(items([(await ann.seen.next("publication")).pub]), filled(1, 1))
        await ann.disconnect()
        await fill(bob, "mail:#ann", 2, first=2)
        await ann.connect()
        self.assertTrue((await ann.seen.next("subscribed")).recovered)
        self.assertEqual(items([(await ann.seen.next("publication")).pub for _ in range(2)]), filled(2, 3))

    async def test_a_cursor_says_what_is_unread(self):
        ann = await self.connected(token=token(sub="ann"))
        await fill(ann, "kept:unread", 5)

        async def call(method, **data):
            return (await ann.rpc(method, data)).data

        self.assertEqual(await call("read", channel="kept:unread", offset=3), {"offset": 3})
        self.assertEqual(await call("read", channel="kept:unread", offset=1), {"offset": 3})
        self.assertEqual(
            await call("unread", channels=["kept:unread", "kept:empty"]),
            {
                "channels": {
                    "kept:unread": {"unread": 2, "offset": 5, "read": 3},
                    "kept:empty": {"unread": 0, "offset": 0, "read": 0},
                }
            },
        )
        await self.fails_with(107, call("read", channel="kept:unread", offset=6))
        nobody = await self.connected()
        await self.fails_with(103, nobody.rpc("read", {"channel": "kept:unread", "offset": 1}))


class KilledServer(Case):
    """What clients find after the server was killed."""

    config = CONFIG

    @classmethod
    def setUpClass(cls):
        cls.data = tempfile.TemporaryDirectory(prefix="throng-test-")
        cls.server = Server(cls.config, data=cls.data.name)

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.data.cleanup()

    async def test_a_client_recovers_by_itself_and_the_epoch_is_the_same(self):
        reader, writer = await self.connected(), await self.connected()
        room = await self.subscribed(reader, "kept:killed")
        epoch = (await room.seen.next("subscribed")).stream_position.epoch
        await writer.seen.next("connecting")
        await fill(writer, "kept:killed", 20)
        cls = type(self)
        await asyncio.to_thread(cls.server.kill)
        await writer.seen.next("connecting")
        cls.server = await asyncio.to_thread(Server, self.config, listen=cls.server.address, data=cls.data.name)
        await writer.ready(DEADLINE_S)
        await fill(writer, "kept:killed", 10, first=21)
        context = await room.seen.next("subscribed")
        self.assertEqual((context.was_recovering, context.recovered), (True, True))
        self.assertEqual(context.stream_position.epoch, epoch)
        self.assertEqual(await seen(room), filled(1, 30))
        history = await room.history(limit=100)
        self.assertEqual((items(history.publications), history.epoch), (filled(1, 30), epoch))

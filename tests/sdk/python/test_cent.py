"""The official HTTP API client, PyPI `cent`, unmodified, and what SDK clients notice of its calls."""

import asyncio
import base64
import contextlib

import cent
from throng import KEY, Case, in_seconds, token

API_KEY = "a-key-of-the-server-API-for-tests"


class ApiServer(Case):
    """What an application's own server does."""

    config = f"""
        insecure = true
        [http_api]
        key = "{API_KEY}"
        [client]
        # An expired connection ends when its next ping is due.
        ping_interval_ms = 2000
        pong_timeout_ms = 1900
        expired_close_delay_ms = 0
        [client.token]
        hmac_secret_key = "{KEY}"
        [channel.without_namespace]
        presence = true
        [[channel.namespaces]]
        name = "plain"
        [[channel.namespaces]]
        name = "kept"
        presence = true
        history_size = 1000
        history_ttl = "1h"
        force_recovery = true
    """

    def setUp(self):
        self.api = self.api_client(API_KEY)

    def api_client(self, key: str) -> cent.Client:
        """A client of the API that shows `key`."""
        api = cent.Client(f"{self.server.admin}/api", key)
        self.addCleanup(api.close)
        return api

    @contextlib.contextmanager
    def fails_in_api_with(self, code: int):
        """Asserts that a call is answered with the error `code`."""
        with self.assertRaises(cent.CentApiResponseError) as caught:
            yield
        self.assertEqual(caught.exception.code, code)

    async def user(self, name: str):
        """A connected client of the user `name`, and its id."""
        made = await self.connected(token=token(sub=name))
        return made, (await made.seen.next("connected")).client

    def publish(self, channel: str, data, **options) -> cent.PublishResult:
        """Publishes `data`."""
        return self.api.publish(cent.PublishRequest(channel=channel, data=data, **options))

    def history(self, channel: str, **options) -> cent.HistoryResult:
        """Reads a history."""
        return self.api.history(cent.HistoryRequest(channel=channel, **options))

    def members(self, **options) -> dict:
        """How many members each room has."""
        channels = self.api.channels(cent.ChannelsRequest(**options)).channels
        return {room: info.num_clients for room, info in channels.items()}

    async def test_a_wrong_key_or_none_is_unauthorized(self):
        for key in ["another-key-of-the-server-API", ""]:
            with self.assertRaises(cent.CentUnauthorizedError):
                self.api_client(key).publish(cent.PublishRequest(channel="room", data=1))

    async def test_what_is_wrong_with_a_call_has_its_code(self):
        with self.fails_in_api_with(102):
            self.publish("unknown:room", 1)
        with self.fails_in_api_with(107):
            self.publish("", 1)
        with self.fails_in_api_with(107):
            self.publish("room", None)
        with self.fails_in_api_with(108):
            self.history("room", limit=1)
        with self.fails_in_api_with(108):
            self.api.presence(cent.PresenceRequest(channel="plain:room"))
        with self.fails_in_api_with(102):
            self.api.presence_stats(cent.PresenceStatsRequest(channel="unknown:room"))

    async def test_a_method_that_throng_has_not_is_a_transport_error(self):
        with self.assertRaises(cent.CentTransportError) as caught:
            self.api.connections(cent.ConnectionsRequest(user="ann", expression=""))
        self.assertEqual(caught.exception.status_code, 404)

    async def test_publish_reaches_the_members_and_has_no_position_without_a_history(self):
        room = await self.subscribed(await self.connected(), "plain:publish")
        result = self.publish("plain:publish", {"any": ["json", None, 1.5]}, tags={"kind": "test"})
        self.assertEqual((result.offset, result.epoch), (0, ""))
        pub = (await room.seen.next("publication")).pub
        self.assertEqual((pub.data, pub.tags, pub.info), ({"any": ["json", None, 1.5]}, {"kind": "test"}, None))

    async def test_publish_with_a_history_answers_where_it_is(self):
        room = await self.subscribed(await self.connected(), "kept:publish")
        epoch = (await room.seen.next("subscribed")).stream_position.epoch
        for number in range(1, 4):
            result = self.publish("kept:publish", number, tags={"number": str(number)})
            self.assertEqual((result.offset, result.epoch), (number, epoch))
            pub = (await room.seen.next("publication")).pub
            self.assertEqual((pub.offset, pub.data, pub.tags), (number, number, {"number": str(number)}))
        kept = self.history("kept:publish", limit=10).publications
        self.assertEqual([pub.tags for pub in kept], [{"number": str(number)} for number in range(1, 4)])

    async def test_publish_without_the_history_is_live_only(self):
        room = await self.subscribed(await self.connected(), "kept:skip")
        self.publish("kept:skip", "kept")
        result = self.publish("kept:skip", "not kept", skip_history=True)
        self.assertEqual(result.offset, 0)
        pubs = [(await room.seen.next("publication")).pub for _ in range(2)]
        self.assertEqual([(pub.offset, pub.data) for pub in pubs], [(1, "kept"), (0, "not kept")])
        history = self.history("kept:skip", limit=10)
        self.assertEqual(([pub.data for pub in history.publications], history.offset), (["kept"], 1))

    async def test_publish_takes_base64_of_json_and_of_nothing_else(self):
        room = await self.subscribed(await self.connected(), "kept:base64")
        self.publish("kept:base64", None, b64data=base64.b64encode(b'{"from": "base64"}').decode())
        self.assertEqual((await room.seen.next("publication")).pub.data, {"from": "base64"})
        for wrong in [base64.b64encode(b"\x00\x01binary").decode(), "no base64!"]:
            with self.fails_in_api_with(107):
                self.publish("kept:base64", None, b64data=wrong)

    async def test_publish_with_the_same_idempotency_key_publishes_once(self):
        room = await self.subscribed(await self.connected(), "kept:once")
        first = self.publish("kept:once", "first", idempotency_key="one")
        again = self.publish("kept:once", "first", idempotency_key="one")
        self.assertEqual((again.offset, again.epoch), (first.offset, first.epoch))
        with self.fails_in_api_with(113):
            self.publish("kept:once", "another message", idempotency_key="one")
        self.assertEqual(self.publish("kept:once", "second", idempotency_key="two").offset, 2)
        self.assertEqual(self.publish("kept:once-elsewhere", "first", idempotency_key="one").offset, 1)
        pubs = [(await room.seen.next("publication")).pub.data for _ in range(2)]
        self.assertEqual(pubs, ["first", "second"])

    async def test_broadcast_answers_for_each_room(self):
        rooms = [await self.subscribed(await self.connected(), room) for room in ("plain:all", "kept:all")]
        request = cent.BroadcastRequest(channels=["plain:all", "unknown:all", "kept:all"], data="to all")
        plain, unknown, kept = self.api.broadcast(request).responses
        self.assertEqual((plain.error, plain.result.offset), (None, 0))
        self.assertEqual((unknown.error.code, unknown.result), (102, None))
        self.assertEqual((kept.error, kept.result.offset), (None, 1))
        for room in rooms:
            self.assertEqual((await room.seen.next("publication")).pub.data, "to all")

    async def test_subscribe_puts_all_connections_of_a_user_into_a_room(self):
        connections = [(await self.user("sue"))[0] for _ in range(2)]
        other, _ = await self.user("tom")
        self.api.subscribe(cent.SubscribeRequest(user="sue", channel="kept:sue", data={"why": "api"}))
        for made in connections:
            context = await made.seen.next("subscribed")
            self.assertEqual((context.channel, context.recoverable, context.data), ("kept:sue", True, {"why": "api"}))
        self.publish("kept:sue", "to sue")
        for made in connections:
            context = await made.seen.next("publication")
            self.assertEqual((context.channel, context.pub.data, context.pub.offset), ("kept:sue", "to sue", 1))
        self.assertEqual(other.seen.waiting("subscribed"), 0)

    async def test_subscribe_of_one_connection_leaves_the_others(self):
        (one, one_id), (two, _) = await self.user("una"), await self.user("una")
        self.api.subscribe(cent.SubscribeRequest(user="una", channel="plain:one", client=one_id))
        self.assertEqual((await one.seen.next("subscribed")).channel, "plain:one")
        self.api.subscribe(cent.SubscribeRequest(user="una", channel="plain:both"))
        self.assertEqual((await two.seen.next("subscribed")).channel, "plain:both")

    async def test_unsubscribe_ends_subscriptions_of_both_kinds(self):
        made, _ = await self.user("uwe")
        room = await self.subscribed(made, "plain:mine")
        self.api.subscribe(cent.SubscribeRequest(user="uwe", channel="plain:yours"))
        await made.seen.next("subscribed")
        for channel in ("plain:mine", "plain:yours", "plain:not-there"):
            self.api.unsubscribe(cent.UnsubscribeRequest(user="uwe", channel=channel))
        self.assertEqual((await room.seen.next("unsubscribed")).code, 2000)
        self.assertEqual((await made.seen.next("unsubscribed")).channel, "plain:yours")
        self.assertTrue({"plain:mine", "plain:yours"}.isdisjoint(self.members()))

    async def test_disconnect_ends_a_users_connections_for_good_but_for_those_to_keep(self):
        (one, _), (two, two_id) = await self.user("vic"), await self.user("vic")
        self.api.disconnect(cent.DisconnectRequest(user="vic", whitelist=[two_id]))
        context = await one.seen.next("disconnected")
        self.assertEqual((context.code, context.reason), (3503, "force disconnect"))
        how = cent.Disconnect(code=4000, reason="back soon")
        self.api.disconnect(cent.DisconnectRequest(user="vic", disconnect=how))
        await two.seen.next("connecting")
        context = await two.seen.next("connecting")
        self.assertEqual((context.code, context.reason), (4000, "back soon"))
        await two.seen.next("connected")

    async def test_refresh_ends_an_expired_connection_and_lets_another_expire(self):
        for options in ({"expired": True}, {"expire_at": in_seconds(1)}):
            made, client = await self.user("wim")
            await made.seen.next("connecting")
            self.api.refresh(cent.RefreshRequest(user="wim", client=client, **options))
            self.assertEqual((await made.seen.next("connecting")).code, 3005, options)
            await made.disconnect()

    async def test_presence_tells_who_is_in_a_room(self):
        made = await self.connected(token=token(sub="xia", info={"nick": "X"}))
        client = (await made.seen.next("connected")).client
        await self.subscribed(made, "present")
        await self.subscribed(await self.connected(), "present")
        presence = self.api.presence(cent.PresenceRequest(channel="present")).presence
        self.assertEqual(sorted(info.user for info in presence.values()), ["", "xia"])
        self.assertEqual((presence[client].user, presence[client].conn_info), ("xia", {"nick": "X"}))
        stats = self.api.presence_stats(cent.PresenceStatsRequest(channel="present"))
        self.assertEqual((stats.num_clients, stats.num_users), (2, 2))
        self.assertEqual(self.api.presence(cent.PresenceRequest(channel="absent")).presence, {})
        stats = self.api.presence_stats(cent.PresenceStatsRequest(channel="absent"))
        self.assertEqual((stats.num_clients, stats.num_users), (0, 0))

    async def test_history_has_a_limit_a_position_and_two_directions(self):
        for number in range(1, 11):
            self.publish("kept:history", number)
        epoch = self.history("kept:history").epoch

        def read(since=None, **options):
            if since is not None:
                options["since"] = cent.StreamPosition(offset=since, epoch=epoch)
            return [pub.offset for pub in self.history("kept:history", **options).publications]

        self.assertEqual(read(), [])
        self.assertEqual(read(limit=3), [1, 2, 3])
        self.assertEqual(read(limit=-1), list(range(1, 11)))
        self.assertEqual(read(limit=3, reverse=True), [10, 9, 8])
        self.assertEqual(read(limit=3, since=4), [5, 6, 7])
        self.assertEqual(read(limit=3, since=4, reverse=True), [3, 2, 1])
        self.assertEqual(self.history("kept:history").offset, 10)
        with self.fails_in_api_with(112):
            self.history("kept:history", limit=3, since=cent.StreamPosition(offset=4, epoch="another"))

    async def test_history_has_no_limit_of_its_own_in_the_api(self):
        made = await self.connected()
        await asyncio.gather(*(made.publish("kept:large", number) for number in range(350)))
        self.assertEqual(len(self.history("kept:large", limit=1000).publications), 350)

    async def test_history_remove_empties_a_room_and_keeps_its_numbers(self):
        for number in range(1, 4):
            self.publish("kept:removed", number)
        before = self.history("kept:removed")
        self.api.history_remove(cent.HistoryRemoveRequest(channel="kept:removed"))
        after = self.history("kept:removed", limit=10)
        self.assertEqual((after.publications, after.offset, after.epoch), ([], 3, before.epoch))
        self.assertEqual(self.publish("kept:removed", 4).offset, 4)
        self.assertEqual([pub.offset for pub in self.history("kept:removed", limit=10).publications], [4])

    async def test_channels_are_the_rooms_with_members(self):
        for room in ("plain:listed-1", "plain:listed-2"):
            await self.subscribed(await self.connected(), room)
        await self.subscribed(await self.connected(), "plain:listed-2")
        self.publish("kept:listed", "a room without members")
        counts = self.members(pattern="*:listed*")
        self.assertEqual(counts, {"plain:listed-1": 1, "plain:listed-2": 2})
        self.assertEqual(self.members(pattern="nothing*"), {})
        self.assertEqual({room: count for room, count in self.members().items() if "listed" in room}, counts)

    async def test_info_tells_of_the_node(self):
        await self.subscribed((await self.user("yan"))[0], "plain:info")
        (node,) = self.api.info(cent.InfoRequest()).nodes
        self.assertTrue(node.uid and node.name and node.version, node)
        self.assertGreaterEqual(min(node.num_clients, node.num_users, node.num_channels, node.num_subs), 1)
        self.assertGreaterEqual(node.uptime, 0)

    async def test_batch_answers_every_call(self):
        for parallel in (False, True):
            room = f"kept:batch-{parallel}"
            requests = [
                cent.PublishRequest(channel=room, data="one"),
                cent.PresenceStatsRequest(channel=room),
                cent.UnsubscribeRequest(user="nobody", channel=room),
                cent.BroadcastRequest(channels=[room], data="two"),
            ]
            replies = self.api.batch(cent.BatchRequest(requests=requests, parallel=parallel)).replies
            self.assertEqual(len(replies), 4)
            self.assertEqual(replies[1].num_clients, 0)
            self.assertEqual({replies[0].offset, replies[3].responses[0].result.offset}, {1, 2})

    async def test_calls_for_who_is_not_there_succeed(self):
        self.api.subscribe(cent.SubscribeRequest(user="nobody", channel="plain:room"))
        self.api.unsubscribe(cent.UnsubscribeRequest(user="nobody", channel="plain:room"))
        self.api.disconnect(cent.DisconnectRequest(user="nobody"))
        self.api.refresh(cent.RefreshRequest(user="nobody", expired=True))

    async def test_the_asynchronous_client_works_too(self):
        async with cent.AsyncClient(f"{self.server.admin}/api", API_KEY) as api:
            results = await asyncio.gather(
                *(api.publish(cent.PublishRequest(channel="kept:async", data=number)) for number in range(20))
            )
            self.assertEqual(sorted(result.offset for result in results), list(range(1, 21)))
            history = await api.history(cent.HistoryRequest(channel="kept:async", limit=100))
            self.assertEqual({pub.data for pub in history.publications}, set(range(20)))
            with self.assertRaises(cent.CentApiResponseError):
                await api.publish(cent.PublishRequest(channel="unknown:room", data=1))
        async with cent.AsyncClient(f"{self.server.admin}/api", "another-key-of-the-server-API") as api:
            with self.assertRaises(cent.CentUnauthorizedError):
                await api.info(cent.InfoRequest())

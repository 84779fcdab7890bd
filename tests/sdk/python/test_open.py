"""The official Python SDK against a server that allows everything."""

import asyncio

from throng import DEADLINE_S, KEY, Case, Server, token


class OpenServer(Case):
    """What clients do with each other."""

    config = f"""
        insecure = true
        [client]
        ping_interval_ms = 500
        pong_timeout_ms = 400
        [client.token]
        hmac_secret_key = "{KEY}"
        [channel.without_namespace]
        presence = true
        join_leave = true
        force_push_join_leave = true
        [[channel.namespaces]]
        name = "plain"
    """

    async def test_an_anonymous_client_connects_and_has_an_id(self):
        made = await self.connected()
        context = await made.seen.next("connected")
        self.assertRegex(context.client, r"^[0-9a-f-]{36}$")
        self.assertTrue(context.version.startswith("throng "), context.version)

    async def test_a_publication_comes_back_with_its_client_info(self):
        made = await self.connected()
        context = await made.seen.next("connected")
        room = await self.subscribed(made, "plain:echo")
        await room.publish({"text": "hello"})
        pub = (await room.seen.next("publication")).pub
        self.assertEqual((pub.data, pub.info.client, pub.info.user), ({"text": "hello"}, context.client, ""))

    async def test_two_clients_chat(self):
        ann = await self.connected(token=token(sub="ann"))
        bob = await self.connected(token=token(sub="bob"))
        rooms = [await self.subscribed(who, "plain:chat") for who in (ann, bob)]
        for line in range(10):
            await rooms[line % 2].publish(line)
            for room in rooms:
                pub = (await room.seen.next("publication")).pub
                self.assertEqual((pub.data, pub.info.user), (line, ("ann", "bob")[line % 2]))

    async def test_any_json_passes_unchanged(self):
        room = await self.subscribed(await self.connected(), "plain:json")
        payloads = [
            "Grüße, 世界, мир, नमस्ते",
            "👋🏽 👩‍👩‍👧‍👦 𝄞 \U0010ffff",
            "line\nbreak, tab\t, quote \", backslash \\, nul \0, \u2028",
            {"deep": {"nested": [1, 2.5, True, None, {"": []}]}},
            [],
            {},
            0,
            False,
            "",
            "x" * 60_000,
        ]
        for payload in payloads:
            await room.publish(payload)
            self.assertEqual((await room.seen.next("publication")).pub.data, payload)

    async def test_presence_and_presence_stats_tell_who_is_there(self):
        ann = await self.connected(token=token(sub="ann", info={"nick": "A"}))
        room = await self.subscribed(ann, "present")
        await self.subscribed(await self.connected(token=token(sub="ann")), "present")
        bob = await self.connected(token=token(sub="bob"))
        await self.subscribed(bob, "present")
        clients = (await room.presence()).clients
        self.assertEqual(sorted(info.user for info in clients.values()), ["ann", "ann", "bob"])
        self.assertIn({"nick": "A"}, [info.conn_info for info in clients.values()])
        self.assertTrue(all(info.client == client for client, info in clients.items()))
        stats = await room.presence_stats()
        self.assertEqual((stats.num_clients, stats.num_users), (3, 2))
        await bob.disconnect()
        self.assertEqual((await room.seen.next("leave")).info.user, "bob")
        stats = await ann.presence_stats("present")
        self.assertEqual((stats.num_clients, stats.num_users), (2, 1))

    async def test_members_hear_who_joins_and_who_leaves(self):
        ann = await self.connected(token=token(sub="ann"))
        room = await self.subscribed(ann, "door")
        self.assertEqual((await room.seen.next("join")).info.user, "ann")
        bob = await self.connected(token=token(sub="bob", info={"nick": "B"}))
        bobs_room = await self.subscribed(bob, "door")
        info = (await room.seen.next("join")).info
        self.assertEqual((info.user, info.conn_info), ("bob", {"nick": "B"}))
        await bobs_room.unsubscribe()
        self.assertEqual((await room.seen.next("leave")).info.user, "bob")

    async def test_what_the_server_does_not_do_is_error_108(self):
        made = await self.connected()
        await self.fails_with(108, made.history("plain:room", limit=10))
        await self.fails_with(108, made.rpc("method", {"any": "data"}))
        await self.fails_with(108, made.presence("plain:room"))
        await self.fails_with(102, made.publish("unknown:room", {}))

    async def test_loops_of_subscribe_and_unsubscribe_end_as_the_last_one_says(self):
        made = await self.connected()
        room = self.room(made, "plain:loop")
        for _ in range(100):
            await room.subscribe()
            await room.unsubscribe()
        await room.subscribe()
        await room.ready(DEADLINE_S)
        await made.publish("plain:loop", "still here")
        self.assertEqual((await room.seen.next("publication")).pub.data, "still here")

    async def test_fifty_clients_in_a_room_all_hear_each_other(self):
        clients = await asyncio.gather(*(self.connected() for _ in range(50)))
        rooms = await asyncio.gather(*(self.subscribed(made, "plain:crowd") for made in clients))
        await asyncio.gather(*(room.publish(number) for number, room in enumerate(rooms)))
        for room in rooms:
            heard = [(await room.seen.next("publication")).pub.data for _ in rooms]
            self.assertEqual(sorted(heard), list(range(50)))

    async def test_an_sdk_that_answers_pings_stays_connected(self):
        made = await self.connected()
        answered = asyncio.Queue()
        handle_ping = made._handle_ping

        async def counted():
            await handle_ping()
            answered.put_nowait(None)

        made._handle_ping = counted
        for _ in range(4):
            await asyncio.wait_for(answered.get(), DEADLINE_S)
        await made.publish("plain:room", "still there")
        self.assertEqual(made.seen.waiting("connecting"), 1, "the one of its connect")


class RestartedServer(Case):
    """What clients do when the server goes and comes back."""

    config = "drain_ms = 0"

    async def test_a_client_comes_back_with_its_subscriptions(self):
        made = await self.connected()
        room = await self.subscribed(made, "room")
        for events, name in [(made.seen, "connecting"), (made.seen, "connected"), (room.seen, "subscribed")]:
            await events.next(name)
        cls = type(self)
        self.assertEqual(await asyncio.to_thread(cls.server.stop), 0)
        context = await made.seen.next("connecting")
        self.assertEqual((context.code, context.reason), (3001, "shutdown"))
        cls.server = Server(self.config, listen=cls.server.address)
        await made.seen.next("connected")
        await room.seen.next("subscribed")
        await room.publish("after the restart")
        self.assertEqual((await room.seen.next("publication")).pub.data, "after the restart")

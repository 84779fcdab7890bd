"""The official Python SDK against a server that asks for tokens."""

import asyncio

from throng import DEADLINE_S, KEY, Case, in_seconds, token


class TokenServer(Case):
    """Who may connect, and who may subscribe to what."""

    config = f"""
        [client.token]
        hmac_secret_key = "{KEY}"
        [channel.without_namespace]
        allow_publish_for_client = true
        [[channel.namespaces]]
        name = "public"
        allow_subscribe_for_client = true
        allow_publish_for_subscriber = true
    """

    async def test_a_client_without_a_token_ends_for_good(self):
        made = self.client()
        await made.connect()
        self.assertEqual((await made.seen.next("disconnected")).code, 3501)

    async def test_a_token_with_a_wrong_signature_ends_the_client_for_good(self):
        made = self.client(token=token("another key of a sufficient length, for tests", sub="ann"))
        await made.connect()
        context = await made.seen.next("disconnected")
        self.assertEqual((context.code, context.reason), (3500, "invalid token"))

    async def test_an_expired_token_makes_the_client_ask_for_another(self):
        asked = []

        async def get_token():
            asked.append(1)
            return token(sub="ann", exp=in_seconds(600))

        await self.connected(token=token(sub="ann", exp=in_seconds(-60)), get_token=get_token)
        self.assertEqual(len(asked), 1)

    async def test_a_token_may_subscribe_its_client_to_rooms(self):
        reader = await self.connected(token=token(sub="ann", channels=["news"]))
        self.assertEqual((await reader.seen.next("subscribed")).channel, "news")
        writer = await self.connected(token=token(sub="bob"))
        await writer.publish("news", "it works")
        context = await reader.seen.next("publication")
        self.assertEqual((context.channel, context.pub.data, context.pub.info.user), ("news", "it works", "bob"))

    async def test_subscribing_is_refused_with_the_reasons_code(self):
        made = await self.connected(token=token(sub="ann"))
        for channel, code in [("closed", 103), ("$private", 103), ("unknown:room", 102), ("x" * 256, 107)]:
            room = self.room(made, channel)
            await room.subscribe()
            self.assertEqual((await room.seen.next("unsubscribed")).code, code, channel)

    async def test_a_private_room_opens_to_a_subscription_token(self):
        made = await self.connected(token=token(sub="ann"))
        held = token(sub="ann", channel="$private", info={"role": "guest"})
        room = await self.subscribed(made, "$private", token=held)
        await room.publish("in private")
        pub = (await room.seen.next("publication")).pub
        self.assertEqual((pub.data, pub.info.chan_info), ("in private", {"role": "guest"}))

    async def test_an_expired_subscription_token_makes_the_sdk_ask_for_another(self):
        made = await self.connected(token=token(sub="ann"))
        asked = []

        async def get_token(channel):
            asked.append(channel)
            return token(sub="ann", channel=channel, exp=in_seconds(600))

        held = token(sub="ann", channel="$expired", exp=in_seconds(-60))
        await self.subscribed(made, "$expired", token=held, get_token=get_token)
        self.assertEqual(asked, ["$expired"])

    async def test_connections_and_subscriptions_are_refreshed_and_go_on(self):
        async def get_token():
            return token(sub="ann", exp=in_seconds(2))

        async def get_subscription_token(channel):
            asked.put_nowait(channel)
            return token(sub="ann", channel=channel, exp=in_seconds(2))

        asked = asyncio.Queue()
        made = await self.connected(get_token=get_token)
        room = await self.subscribed(made, "public:brief", get_token=get_subscription_token)
        for _ in range(3):
            await asyncio.wait_for(asked.get(), DEADLINE_S)
        await room.publish("still here")
        self.assertEqual((await room.seen.next("publication")).pub.data, "still here")
        self.assertEqual((made.seen.waiting("connected"), room.seen.waiting("subscribed")), (1, 1))

"""Subscriptions by pattern on /ws (docs/PROTOCOL.md, section 6), and where patterns are refused."""
import websockets

from harness import Server, Test, UNLIMITED_RATE


class Wildcards(Test):
    settings = {**UNLIMITED_RATE, 'shards': 3}

    async def brought(self, peer, topic, pattern, offset):
        answer = await peer.expect('subscribed', topic=topic, id='')
        payload = answer['payload']
        self.assertEqual((payload['pattern'], payload['offset'], payload['recovered']),
                         (pattern, offset, False))

    async def test_topics_that_are_there_and_those_made_later_are_brought(self):
        reader, sender = await self.join(), await self.join()
        for topic in ['there.a', 'there.a.deep']:
            request = await sender.publish(topic, 1, ack_required=True)
            await sender.expect('ack', id=request)
        answer = await reader.subscribe('there.*')
        self.assertEqual(answer['payload'], {'pattern': True})
        await self.brought(reader, 'there.a', 'there.*', 1)
        for number in range(20):
            topic = f'there.{number}'
            await sender.publish(topic, 'first')
            await sender.publish(topic, 'second')
            await self.brought(reader, topic, 'there.*', 0)
            await reader.expect('data_update', topic=topic, payload='first', offset=1)
            await reader.expect('data_update', topic=topic, payload='second', offset=2)
        await sender.publish('there.a', 2)
        await reader.expect('data_update', topic='there.a', payload=2, offset=2)

    async def test_a_pattern_ends_with_all_that_it_alone_brought(self):
        reader, sender = await self.join(), await self.join()
        await reader.subscribe('ends.named', 'ends.*')
        await sender.publish('ends.brought', 1)
        await self.brought(reader, 'ends.brought', 'ends.*', 0)
        await reader.expect('data_update', topic='ends.brought')
        request = await reader.send('unsubscribe', topic='ends.brought')
        refused = await reader.expect('error', id=request)
        self.assertEqual(refused['payload']['code'], 'covered')
        request = await reader.send('unsubscribe', topic='ends.*')
        await reader.expect('unsubscribed', topic='ends.*', id=request)
        for topic in ['ends.brought', 'ends.new', 'ends.named']:
            await sender.publish(topic, 2)
        await reader.expect('data_update', topic='ends.named', payload=2)
        await reader.alive()

    async def test_by_name_and_by_patterns_it_is_one_subscription(self):
        reader, sender = await self.join(), await self.join()
        await reader.subscribe('one.*', 'one.>')
        await sender.publish('one.x', 1)
        answer = await reader.expect('subscribed', topic='one.x', id='')
        self.assertIn(answer['payload']['pattern'], ['one.*', 'one.>'])
        await reader.expect('data_update', topic='one.x', payload=1)
        answer = await reader.subscribe('one.x')
        self.assertEqual(answer['payload']['offset'], 1)
        self.assertNotIn('pattern', answer['payload'])
        request = await reader.send('subscribe', topic='one.x')
        refused = await reader.expect('error', id=request)
        self.assertEqual(refused['payload']['code'], 'already_subscribed')
        await sender.publish('one.x', 2)
        await reader.expect('data_update', topic='one.x', payload=2, offset=2)
        await reader.alive()

    async def test_what_the_server_says_of_itself_is_matched_too(self):
        reader = await self.join()
        await reader.subscribe('host.*')
        names = set()
        while not {'host.cpu', 'host.memory'} <= names:
            answer = await reader.receive()
            if answer['type'] == 'subscribed':
                self.assertEqual(answer['payload']['pattern'], 'host.*')
                names.add(answer['topic'])

    async def test_where_patterns_are_refused(self):
        peer = await self.join()
        for kind, topic, code in [('subscribe', 'a.>.b', 'bad_topic'),
                                  ('subscribe', '.'.join('*' * 5), 'bad_topic'),
                                  ('unsubscribe', 'nobody.*', 'not_subscribed'),
                                  ('publish', 'a.*', 'bad_topic')]:
            with self.subTest(kind=kind, topic=topic):
                request = await peer.send(kind, topic=topic, payload={})
                answer = await peer.expect('error', id=request)
                self.assertEqual(answer['payload']['code'], code)
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            await self.open('/raw?topic=a.*')
        self.assertEqual(refused.exception.status_code, 400)
        await peer.alive()

    async def test_a_topic_without_a_place_is_named(self):
        with Server(topics_per_client_max=2, **UNLIMITED_RATE) as server:
            reader = await self.join(server=server)
            sender = await self.join(server=server)
            await reader.subscribe('few.*')
            await sender.publish('few.a', 1)
            await self.brought(reader, 'few.a', 'few.*', 0)
            await reader.expect('data_update', topic='few.a')
            await sender.publish('few.b', 1)
            refused = await reader.expect('error', topic='few.b', id='')
            self.assertEqual(refused['payload']['code'], 'too_many_subscriptions')
            await reader.socket.close()
            await sender.socket.close()

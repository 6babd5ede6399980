"""The envelope of /ws (docs/PROTOCOL.md): what a client may say and what it hears."""
import contextlib
import json

import websockets

from harness import Peer, Test, UNLIMITED_RATE
from rawsock import RawClient, upgrade


class Envelope(Test):
    settings = UNLIMITED_RATE

    async def test_welcome_says_who_one_is_and_what_one_may(self):
        peer = await self.join()
        payload = peer.welcome['payload']
        self.assertIsInstance(payload['client_id'], str)
        self.assertGreater(payload['ping_interval_s'], 0)
        self.assertGreaterEqual(payload['limits']['message_size'], 64 * 1024)
        other = await self.join()
        self.assertNotEqual(other.welcome['payload']['client_id'], payload['client_id'])

    async def test_the_sub_protocol_is_answered_when_asked_for(self):
        for asked, answered in [(None, None), (['ringcast.v1'], 'ringcast.v1'),
                                (['a', 'ringcast.v1'], 'ringcast.v1'), (['a'], None)]:
            with self.subTest(asked=asked):
                peer = await self.join(subprotocols=asked)
                self.assertEqual(peer.socket.subprotocol, answered)

    async def test_what_is_published_arrives_as_it_was(self):
        sender, receiver = await self.join(), await self.join()
        subscribed = await receiver.subscribe('t.values')
        offset = subscribed['payload']['offset']
        self.assertIsInstance(subscribed['payload']['epoch'], str)
        values = [1, -0.5, 'text', 'Gr\u00fc\u00dfe \u2028 \U0001f600 "\\', True, None, [], {},
                  {'a': [1, {'b': None}]}, 'x' * 60000]
        for value in values:
            with self.subTest(value=str(value)[:20]):
                await sender.publish('t.values', value)
                update = await receiver.expect('data_update', topic='t.values')
                self.assertEqual(update['payload'], value)
                self.assertGreater(update['offset'], offset)
                offset = update['offset']

    async def test_a_publisher_that_subscribed_hears_itself(self):
        peer = await self.join()
        await peer.subscribe('t.self')
        await peer.publish('t.self', 1)
        await peer.expect('data_update', topic='t.self', payload=1)

    async def test_topics_are_kept_apart_and_unsubscribing_ends_one(self):
        peer, sender = await self.join(), await self.join()
        await peer.subscribe('t.a', 't.b')
        for topic in ['t.a', 't.c', 't.b']:
            await sender.publish(topic, topic)
        # Between topics there is no order.
        updates = [await peer.expect('data_update') for _ in range(2)]
        self.assertEqual({u['topic']: u['payload'] for u in updates}, {'t.a': 't.a', 't.b': 't.b'})
        request = await peer.send('unsubscribe', topic='t.a')
        await peer.expect('unsubscribed', topic='t.a', id=request)
        await sender.publish('t.a', 1)
        await sender.publish('t.b', 2)
        await peer.expect('data_update', topic='t.b', payload=2)
        await peer.alive()

    async def test_bad_envelopes_are_answered_and_the_connection_stays(self):
        peer = await self.join()
        rows = [
            ('{', 'bad_json'),
            ('', 'bad_json'),
            ('{"type":"ping"} x', 'bad_json'),
            ('{"type":"ping","payload":1e}', 'bad_json'),
            ('[' * 5000, 'bad_json'),
            ('"ping"', 'not_an_object'),
            ('[]', 'not_an_object'),
            ('{}', 'missing_member'),
            ('{"type":"subscribe"}', 'missing_member'),
            ('{"type":"publish","topic":"t"}', 'missing_member'),
            ('{"type":"ping","type":"ping"}', 'duplicate_member'),
            ('{"type":null}', 'bad_type'),
            ('{"type":7}', 'bad_type'),
            ('{"type":["ping"]}', 'bad_type'),
            ('{"type":"ping","id":1}', 'bad_id'),
            (json.dumps({'type': 'ping', 'id': 'x' * 65}), 'bad_id'),
            ('{"type":"ping","timestamp":"now"}', 'bad_timestamp'),
            ('{"type":"subscribe","topic":""}', 'bad_topic'),
            ('{"type":"subscribe","topic":{"a":1}}', 'bad_topic'),
            (json.dumps({'type': 'subscribe', 'topic': 'x' * 256}), 'bad_topic'),
            ('{"type":"publish","topic":"t","payload":1,"ack_required":1}', 'bad_ack_required'),
            ('{"type":"subscribe","topic":"t","payload":{"offset":-1}}', 'bad_payload'),
            ('{"type":"subscribe","topic":"t","payload":{"offset":1e999999}}', 'bad_payload'),
            ('{"type":"no_such_type"}', 'unknown_type'),
            ('{"type":"welcome"}', 'unknown_type'),
        ]
        for text, code in rows:
            with self.subTest(text=text[:60]):
                await peer.socket.send(text)
                answer = await peer.expect('error')
                self.assertEqual(answer['payload']['code'], code)
                self.assertIsInstance(answer['payload']['message'], str)
                await peer.alive()

    async def test_an_error_carries_the_id_of_its_cause(self):
        peer = await self.join()
        request = await peer.send('no_such_type', payload={'any': 1})
        answer = await peer.expect('error', id=request)
        self.assertEqual(answer['payload']['code'], 'unknown_type')

    async def test_unknown_members_are_ignored(self):
        peer = await self.join()
        request = await peer.send('ping', colour='red', deeper={'a': [1]})
        await peer.expect('pong', id=request)

    async def test_the_newest_connection_of_a_client_wins(self):
        older = await self.join('/ws?client_id=twin')
        self.assertEqual(older.welcome['payload']['client_id'], 'twin')
        newer = await self.join('/ws?client_id=twin')
        self.assertEqual((await older.closed())[0], 4501)
        await newer.alive()
        raw = await self.open('/raw?topic=t&client_id=twin')
        self.assertEqual((await newer.closed())[0], 4501)
        await self.join('/ws?client_id=twin')
        await raw.wait_closed()
        self.assertEqual(raw.close_code, 4501)

    async def test_the_host_reports_itself(self):
        peer = await self.join()
        shapes = {
            'host.cpu': ['t', 'cores'],
            'host.memory': ['t', 'total', 'available', 'used'],
            'host.network': ['t', 'rx', 'tx'],
            'host.server': ['t', 'connections', 'deliveries_per_s', 'messages_per_s', 'cpu', 'rss'],
        }
        for topic in shapes:
            await peer.send('subscribe', topic=topic)
        seen = dict.fromkeys(shapes, 0)
        for _ in range(200):
            envelope = await peer.receive()
            if envelope['type'] == 'subscribed':
                continue
            payload, topic = envelope['payload'], envelope['topic']
            self.assertEqual([name for name in shapes[topic] if name not in payload], [], topic)
            seen[topic] += 1
            if topic == 'host.cpu':
                self.assertTrue(payload['cores'])
                self.assertTrue(all(0 <= share <= 1 for share in payload['cores']), payload)
            if all(times >= 3 for times in seen.values()):
                return
        self.fail(seen)

    async def test_what_cannot_be_done_is_said(self):
        peer = await self.join()
        await peer.subscribe('t.once')
        rows = [('subscribe', 't.once', 'already_subscribed'),
                ('unsubscribe', 't.never', 'not_subscribed')]
        for kind, topic, code in rows:
            with self.subTest(kind):
                request = await peer.send(kind, topic=topic)
                answer = await peer.expect('error', id=request, topic=topic)
                self.assertEqual(answer['payload']['code'], code)

    async def test_topics_of_a_client_are_limited(self):
        peer = await self.join()
        most = peer.welcome['payload']['limits']['topics']
        await peer.subscribe(*(f't.many.{i}' for i in range(most)))
        request = await peer.send('subscribe', topic='t.many.last')
        answer = await peer.expect('error', id=request)
        self.assertEqual(answer['payload']['code'], 'too_many_subscriptions')
        await peer.alive()

    async def test_binary_is_no_envelope(self):
        peer = await self.join()
        await peer.socket.send(b'{"type":"ping"}')
        self.assertEqual((await peer.closed())[0], 1003)


class Rate(Test):
    # So few that the burst is used up on a busy machine too.
    settings = {'messages_per_second': 1, 'messages_burst': 20}

    async def test_who_sends_too_much_is_told_and_then_closed(self):
        bystander, peer = await self.join(), await self.join()
        for _ in range(30):
            await peer.send('ping')
        kinds = [(await peer.receive())['type'] for _ in range(30)]
        self.assertEqual(set(kinds[:20]), {'pong'})
        self.assertIn('error', kinds[20:])
        for _ in range(2000):
            if peer.socket.closed:
                break
            with contextlib.suppress(websockets.ConnectionClosed):
                await peer.send('ping')
        # 4008 when the complaints pile up faster than this client reads them.
        self.assertIn((await peer.closed())[0], {4029, 4008})
        await bystander.alive()


class WithoutDev(Test):
    settings = {'dev': False}

    async def test_strangers_may_not_publish(self):
        peer = await self.join()
        request = await peer.publish('t', 1)
        answer = await peer.expect('error', id=request)
        self.assertEqual(answer['payload']['code'], 'forbidden')
        await peer.alive()

    def test_what_dev_adds_is_not_there(self):
        for path, status in [('/raw?publish=t', 403), ('/echo', 404), ('/raw?topic=t', 101)]:
            with self.subTest(path), RawClient(self.server) as client:
                client.send(upgrade(path))
                self.assertEqual(client.response()[0], status)
        with RawClient(self.server) as client:
            client.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            self.assertEqual(client.response()[0], 404)

    async def test_one_who_only_reads_raw_may_not_send(self):
        socket = await self.open('/raw?topic=t')
        await socket.send('x')
        self.assertEqual((await Peer(socket).closed())[0], 1008)

"""Publishing and receiving for sure (docs/PROTOCOL.md, 2)."""
import asyncio

from harness import PATIENCE_S, Server, Test, UNLIMITED_RATE


class Acks:
    """For one shard and for several: the cases, not a test."""

    async def test_an_ack_says_where_the_record_is(self):
        reader, senders = await self.join(), [await self.join() for _ in range(6)]
        begun = (await reader.subscribe('a.place'))['payload']
        for number, sender in enumerate(senders):  # on whichever shards they came to be
            place = await sender.publish_acked('a.place', number)
            record = await reader.expect('data_update', topic='a.place', payload=number)
            self.assertEqual(place, {'offset': record['offset'], 'epoch': begun['epoch']})

    async def test_nobody_has_to_read_it(self):
        sender = await self.join()
        places = [await sender.publish_acked('a.unread', number) for number in range(3)]
        self.assertEqual([place['offset'] for place in places], [1, 2, 3])

    async def test_many_are_acknowledged_in_the_order_of_their_topic(self):
        reader, sender = await self.join(), await self.join()
        await reader.subscribe('a.many.0', 'a.many.1')
        count = 2000
        for number in range(count):
            await sender.publish(f'a.many.{number % 2}', number, id=f'n{number}', ack_required=True)
        seen = {'a.many.0': [], 'a.many.1': []}
        for _ in range(count):
            ack = await sender.expect('ack')
            seen[ack['topic']].append((ack['id'], ack['payload']['offset']))
        for topic, first in [('a.many.0', 0), ('a.many.1', 1)]:
            expected = [(f'n{n}', 1 + n // 2) for n in range(first, count, 2)]
            self.assertEqual(seen[topic], expected)
        for _ in range(count):
            await reader.expect('data_update')
        await reader.alive()

    async def test_a_repeat_gets_the_same_ack_and_is_not_published(self):
        reader, sender = await self.join(), await self.join()
        await reader.subscribe('a.repeat')
        place = await sender.publish_acked('a.repeat', 'first', id='same')
        for _ in range(3):
            self.assertEqual(await sender.publish_acked('a.repeat', 'again', id='same'), place)
        await sender.publish_acked('a.repeat', 'next')
        await reader.expect('data_update', payload='first', id='same')
        await reader.expect('data_update', payload='next', offset=place['offset'] + 1)

    async def test_a_repeat_is_known_on_the_next_connection_of_the_client(self):
        reader = await self.join()
        await reader.subscribe('a.back')
        sender = await self.join()
        name = sender.welcome['payload']['client_id']
        place = await sender.publish_acked('a.back', 'first', id='same')
        for _ in range(6):
            sender.socket.transport.abort()
            sender = await self.join(f'/ws?client_id={name}')
            self.assertEqual(sender.welcome['payload']['client_id'], name)
            self.assertEqual(await sender.publish_acked('a.back', 'again', id='same'), place)
        await sender.publish('a.back', 'last')
        await reader.expect('data_update', payload='first')
        await reader.expect('data_update', payload='last')

    async def test_a_connection_lost_before_the_ack_costs_nothing(self):
        reader = await self.join()
        await reader.subscribe('a.lost')
        name = 'loses'
        for number in range(20):
            sender = await self.join(f'/ws?client_id={name}')
            await sender.publish('a.lost', number, id=f'n{number}', ack_required=True)
            sender.socket.transport.abort()  # the message has arrived or not, the ack has not
            sender = await self.join(f'/ws?client_id={name}')
            await sender.publish_acked('a.lost', number, id=f'n{number}')
            await reader.expect('data_update', payload=number, offset=number + 1)
        await reader.alive()

    async def test_the_older_connection_is_replaced_and_the_repeat_known(self):
        older = await self.join('/ws?client_id=half-open')
        place = await older.publish_acked('a.half', 'first', id='same')
        newer = await self.join('/ws?client_id=half-open')
        self.assertEqual((await older.closed())[0], 4501)
        self.assertEqual(await newer.publish_acked('a.half', 'again', id='same'), place)

    async def test_what_is_no_repeat(self):
        sender, other = await self.join(), await self.join()
        one = await sender.publish_acked('a.none', 1, id='same')
        self.assertEqual(one['offset'], 1)
        place = await other.publish_acked('a.none', 1, id='same')
        self.assertEqual(place['offset'], 2, 'the id of another client')
        place = await sender.publish_acked('a.none.other', 1, id='same')
        self.assertEqual(place['offset'], 1, 'an id on another topic')
        for _ in range(2):
            await sender.publish('a.none', 1, id='unsure')
        place = await sender.publish_acked('a.none', 1, id='unsure')
        self.assertEqual(place['offset'], 5, 'without ack_required nothing is remembered')

    async def test_what_is_refused_says_so_under_its_id(self):
        sender = await self.join()
        rows = [('host.cpu', 'forbidden'), ('a.*', 'bad_topic'), ('a.>', 'bad_topic'),
                ('>', 'bad_topic'), ('a.>.b', 'bad_topic')]
        for topic, code in rows:
            with self.subTest(topic):
                request = await sender.publish(topic, 1, ack_required=True)
                answer = await sender.expect('error', id=request, topic=topic)
                self.assertEqual(answer['payload']['code'], code)
        await sender.socket.send(
            '{"type":"publish","topic":"a.b","payload":1,"ack_required":true}')
        answer = await sender.expect('error', topic='a.b')
        self.assertEqual(answer['payload']['code'], 'missing_member')
        await sender.alive()

    async def test_a_restarted_server_knows_none_of_it(self):
        settings = self.settings
        with Server(**settings) as server:
            sender = await self.join('/ws?client_id=c', server)
            before = await sender.publish_acked('a.life', 1, id='same')
            await sender.socket.close()
        with Server(**settings) as server:
            sender = await self.join('/ws?client_id=c', server)
            after = await sender.publish_acked('a.life', 1, id='same')
            await sender.socket.close()
        self.assertNotEqual(before['epoch'], after['epoch'])


class OneShard(Acks, Test):
    settings = {'shards': 1, **UNLIMITED_RATE}


class TwoShards(Acks, Test):
    settings = {'shards': 2, **UNLIMITED_RATE}


class ShortWindow(Test):
    settings = {'dedup_window': '300ms', **UNLIMITED_RATE}

    async def test_after_the_window_a_repeat_is_a_new_record(self):
        sender = await self.join()
        place = await sender.publish_acked('w.time', 1, id='same')

        async def published_anew():
            while (again := await sender.publish_acked('w.time', 1, id='same')) == place:
                pass
            return again

        again = await asyncio.wait_for(published_anew(), PATIENCE_S)
        self.assertEqual(again, {'offset': 2, 'epoch': place['epoch']})


class SmallWindow(Test):
    settings = {'shards': 1, 'dedup_max': 2, **UNLIMITED_RATE}

    async def test_only_so_many_are_known(self):
        sender = await self.join()
        for number in (1, 2, 3):
            place = await sender.publish_acked('w.count', 0, id=f'n{number}')
            self.assertEqual(place['offset'], number)
        place = await sender.publish_acked('w.count', 0, id='n3')
        self.assertEqual(place['offset'], 3)
        place = await sender.publish_acked('w.count', 0, id='n1')
        self.assertEqual(place['offset'], 4)


class NoWindow(Test):
    settings = {'dedup_max': 0, **UNLIMITED_RATE}

    async def test_nothing_is_known(self):
        sender = await self.join()
        offsets = [(await sender.publish_acked('w.none', 0, id='same'))['offset'] for _ in '12']
        self.assertEqual(offsets, [1, 2])


class Receiving:
    """Records that subscribers acknowledge: the cases, not a test."""

    async def take(self, peer, topic, offset):
        return await peer.expect('data_update', topic=topic, offset=offset, ack_required=True)

    async def ack(self, peer, topic, offset):
        await peer.send('ack', topic=topic, payload={'offset': offset})

    async def test_it_comes_again_until_it_is_acknowledged(self):
        reader, sender = await self.join(), await self.join()
        self.assertTrue((await reader.subscribe('r.again', acks=True))['payload']['acks'])
        await sender.publish_acked('r.again', 'do it', id='job')
        first = await self.take(reader, 'r.again', 1)
        self.assertEqual(await self.take(reader, 'r.again', 1), first)
        self.assertEqual(await self.take(reader, 'r.again', 1), first)
        await self.ack(reader, 'r.again', 1)
        await reader.alive()
        await reader.nothing_more(1.5)

    async def test_who_does_not_ask_for_it_is_left_alone(self):
        reader, other, sender = [await self.join() for _ in range(3)]
        await reader.subscribe('r.plain')
        await other.subscribe('r.plain', acks=True)
        await sender.publish_acked('r.plain', 1)
        await self.take(reader, 'r.plain', 1)
        await self.take(other, 'r.plain', 1)
        await self.take(other, 'r.plain', 1)
        await reader.nothing_more()
        await self.ack(reader, 'r.plain', 1)
        self.assertEqual((await reader.expect('error'))['payload']['code'], 'not_awaited')

    async def test_the_next_connection_of_the_session_goes_on(self):
        sender, keeper = await self.join(), await self.join()
        await keeper.subscribe('r.back', acks=True)
        reader = await self.join()
        begun = (await reader.subscribe('r.back', acks=True))['payload']
        name = reader.welcome['payload']['client_id']
        for number in (1, 2, 3):
            await sender.publish_acked('r.back', number)
        for number in (1, 2, 3):
            await self.take(reader, 'r.back', number)
        await self.ack(reader, 'r.back', 2)
        await reader.alive()
        for half_open in (False, True, False, True):
            if not half_open:
                reader.socket.transport.abort()
            older = reader
            reader = await self.join(f'/ws?client_id={name}&session={begun["session"]}')
            again = await reader.subscribe('r.back', acks=True, offset=3, epoch=begun['epoch'])
            self.assertEqual(again['payload']['open'], 2)
            self.assertEqual(again['payload']['session'], begun['session'])
            await self.take(reader, 'r.back', 1)
            await self.take(reader, 'r.back', 3)
            if half_open:
                self.assertEqual((await older.closed())[0], 4501)
        await self.ack(reader, 'r.back', 1)
        await self.ack(reader, 'r.back', 3)
        await reader.alive()
        reader.socket.transport.abort()
        reader = await self.join(f'/ws?client_id={name}&session={begun["session"]}')
        again = await reader.subscribe('r.back', acks=True, offset=3, epoch=begun['epoch'])
        self.assertEqual(again['payload']['open'], 0)

    async def test_the_publisher_hears_how_many_did_not(self):
        sender, good, bad, lost = [await self.join() for _ in range(4)]
        for peer in (good, bad, lost):
            await peer.subscribe('r.report', acks=True)
        await sender.publish_acked('r.report', 1, id='job', report_expired=True)
        for peer in (good, bad, lost):
            await self.take(peer, 'r.report', 1)
        await self.ack(good, 'r.report', 1)
        lost.socket.transport.abort()
        clients = 0
        while clients < 2:
            told = await sender.expect('expired', topic='r.report', id='job')
            self.assertEqual(told['payload']['offset'], 1)
            clients += told['payload']['clients']
        self.assertEqual(clients, 2)


class ReceivingOneShard(Receiving, Test):
    settings = {'shards': 1, 'ack_timeout': '200ms', 'ack_expiry': '10s', 'session_time': '3s',
                'topic': 'r.back: history=100', **UNLIMITED_RATE}


class ReceivingTwoShards(Receiving, Test):
    settings = {'shards': 2, 'ack_timeout': '200ms', 'ack_expiry': '10s', 'session_time': '3s',
                'topic': 'r.back: history=100', **UNLIMITED_RATE}

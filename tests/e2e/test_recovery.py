"""Coming back (docs/PROTOCOL.md, 4): all that was missed, or a gap that says what it is."""
import asyncio
import base64

from harness import PATIENCE_S, Server, Test, UNLIMITED_RATE

RULES = ['r.count: history=10',
         'r.bytes: history=1000000, history-bytes=64KiB',
         'r.age: history=1000, history-age=1s',
         'r.large: history=10000, history-bytes=16MiB',
         'r.none.*:',
         'r.>: history=1000']


class Recovery:
    """For one shard and for several: the cases, not a test."""

    async def back(self, topic, place, server=None):
        """A client that has everything up to `place`: (it, the payload of its `subscribed`)."""
        peer = await self.join(server=server)
        return peer, (await peer.subscribe(topic, **place))['payload']

    async def recovered(self, topic, place, newest, server=None):
        """Comes back at `place`, and must get every record up to `newest`."""
        peer, answer = await self.back(topic, place, server)
        self.assertEqual(answer, {**place, 'recovered': True})
        for offset in range(place['offset'] + 1, newest + 1):
            await peer.expect('data_update', topic=topic, offset=offset)
        await peer.alive()
        return peer

    async def missed(self, topic, place, reason, begin, end, server=None):
        """Comes back at `place`, and must be told that `begin` to `end` do not come."""
        peer, answer = await self.back(topic, place, server)
        self.assertFalse(answer['recovered'])
        self.assertEqual(answer['offset'], end)
        gap = await peer.expect('gap', topic=topic, id=f'gap-{end + 1}')
        self.assertEqual(gap['payload'],
                         {'from': begin, 'to': end, 'reason': reason, 'next': end + 1})
        await peer.alive()
        return peer, answer

    async def publish(self, topic, payloads):
        """The place of the last record."""
        sender = await self.join()
        for payload in payloads:
            place = await sender.publish_acked(topic, payload)
        await sender.socket.close()
        return place

    async def test_whatever_was_missed_comes_first_and_then_what_is_new(self):
        reader = await self.join()
        begun = (await reader.subscribe('r.back'))['payload']
        self.assertEqual((begun['offset'], begun['recovered']), (0, False))
        await self.publish('r.back', range(1, 11))
        for number in range(1, 11):
            await reader.expect('data_update', offset=number, payload=number)
        reader.socket.transport.abort()
        await self.publish('r.back', range(11, 31))
        for offset in (0, 9, 10, 29, 30):
            place = {'offset': offset, 'epoch': begun['epoch']}
            peers = [await self.recovered('r.back', place, 30) for _ in range(4)]
        await self.publish('r.back', ['live'])
        for peer in peers:
            await peer.expect('data_update', offset=31, payload='live')

    async def test_it_is_kept_though_nobody_reads(self):
        place = await self.publish('r.alone', range(1, 6))
        await self.recovered('r.alone', {**place, 'offset': 0}, 5)

    async def test_one_that_is_cut_again_and_again_misses_nothing(self):
        sender, reader = await self.join(), await self.join()
        place = (await reader.subscribe('r.cuts'))['payload']
        place.pop('recovered')
        count = 600

        async def publish():
            for number in range(1, count + 1):
                await sender.publish('r.cuts', number)
                await asyncio.sleep(0)

        async def read():
            reader_now, cut_at = reader, 20
            while place['offset'] < count:
                record = await reader_now.expect('data_update', offset=place['offset'] + 1,
                                                 payload=place['offset'] + 1)
                place['offset'] = record['offset']
                if place['offset'] >= cut_at and place['offset'] < count:
                    cut_at += 37
                    reader_now.socket.transport.abort()
                    reader_now, answer = await self.back('r.cuts', place)
                    self.assertTrue(answer['recovered'], answer)

        await asyncio.gather(publish(), read())

    async def test_on_one_connection_too(self):
        peer, sender = await self.join(), await self.join()
        begun = (await peer.subscribe('r.same'))['payload']
        request = await peer.send('unsubscribe', topic='r.same')
        await peer.expect('unsubscribed', id=request)
        await sender.publish_acked('r.same', 'missed')
        answer = await peer.subscribe('r.same', offset=0, epoch=begun['epoch'])
        self.assertTrue(answer['payload']['recovered'])
        await peer.expect('data_update', payload='missed', offset=1)
        request = await peer.send('subscribe', topic='r.same',
                                  payload={'offset': 0, 'epoch': begun['epoch']})
        error = await peer.expect('error', id=request)
        self.assertEqual(error['payload']['code'], 'already_subscribed')

    async def test_what_came_over_raw_comes_again_as_an_envelope(self):
        raw = await self.open('/raw?publish=r.raw')
        keeper = await self.join()
        begun = (await keeper.subscribe('r.raw'))['payload']
        sent = [('{"a": [1]}', {'a': [1]}, None), ('no json', 'no json', None),
                (b'\0\1', base64.b64encode(b'\0\1').decode(), 'base64')]
        for message, _, _ in sent:
            await raw.send(message)
            await keeper.expect('data_update')
        peer, answer = await self.back('r.raw', {'offset': 0, 'epoch': begun['epoch']})
        self.assertTrue(answer['recovered'])
        for offset, (_, payload, encoding) in enumerate(sent, 1):
            record = await peer.expect('data_update', offset=offset, payload=payload)
            self.assertEqual(record.get('encoding'), encoding)

    async def test_megabytes_come_back(self):
        fill = 'x' * 30_000
        place = await self.publish('r.large', ([n, fill] for n in range(1, 201)))
        place['offset'] = 0
        await asyncio.gather(*(self.recovered('r.large', place, 200) for _ in range(4)))

    async def test_only_so_many_records_are_kept(self):
        place = await self.publish('r.count', range(25))
        await self.recovered('r.count', {**place, 'offset': 15}, 25)
        for offset in (14, 0):
            await self.missed('r.count', {**place, 'offset': offset}, 'history', offset + 1, 25)

    async def test_only_so_many_bytes_are_kept(self):
        place = await self.publish('r.bytes', ['x' * 4000] * 100)
        await self.missed('r.bytes', {**place, 'offset': 0}, 'history', 1, 100)
        await self.recovered('r.bytes', {**place, 'offset': 99}, 100)

    async def test_only_what_is_young_is_kept(self):
        place = await self.publish('r.age', range(3))

        async def told():
            while True:
                peer, answer = await self.back('r.age', {**place, 'offset': 0})
                if not answer['recovered']:
                    return await peer.expect('gap')
                await peer.socket.close()

        gap = await asyncio.wait_for(told(), PATIENCE_S)
        self.assertEqual(gap['payload'], {'from': 1, 'to': 3, 'reason': 'history', 'next': 4})
        await self.recovered('r.age', place, 3)

    async def test_without_history_only_who_missed_nothing_goes_on(self):
        place = await self.publish('r.none.x', range(5))
        await self.missed('r.none.x', {**place, 'offset': 4}, 'history', 5, 5)
        await self.recovered('r.none.x', place, 5)

    async def test_an_offset_that_nobody_was_given_is_told_apart(self):
        place = await self.publish('r.ahead', range(3))
        for offset in (4, 1000, 2 ** 63 - 1):
            with self.subTest(offset):
                await self.missed('r.ahead', {**place, 'offset': offset}, 'unknown_offset', 4, 3)

    async def test_an_epoch_that_is_not_this_one_is_new(self):
        place = await self.publish('r.epoch', range(3))
        strange = ['0' * 16, 'f' * 16, place['epoch'].upper() + 'A', place['epoch'] + '0', 'x',
                   place['epoch'][1:] + '\u00fc', '-1', ' ' + place['epoch'], 'e' * 64]
        for epoch in strange:
            with self.subTest(epoch):
                await self.missed('r.epoch', {'offset': 1, 'epoch': epoch}, 'new_epoch', 1, 3)

    async def test_a_restarted_server_begins_a_new_epoch(self):
        with Server(**self.settings) as server:
            sender = await self.join(server=server)
            place = await sender.publish_acked('r.life', 'old')
            await sender.socket.close()
        with Server(**self.settings) as server:
            early, answer = await self.missed('r.life', place, 'new_epoch', 1, 0, server)
            self.assertNotEqual(answer['epoch'], place['epoch'])
            for number in (1, 2):
                await early.publish('r.life', number)
                await early.expect('data_update', offset=number, payload=number)
            late, _ = await self.missed('r.life', place, 'new_epoch', 1, 2, server)
            other = await self.recovered('r.life', {**place, 'epoch': answer['epoch']}, 2, server)
            await asyncio.gather(*(peer.socket.close() for peer in (early, late, other)))


class OneShard(Recovery, Test):
    settings = {'shards': 1, 'topic': RULES, **UNLIMITED_RATE}


class TwoShards(Recovery, Test):
    settings = {'shards': 2, 'topic': RULES, **UNLIMITED_RATE}

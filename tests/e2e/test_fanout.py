"""Order over several shards, slow readers, dead peers, and the end of the server."""
import asyncio
import contextlib
import json
import time

import websockets

from harness import Peer, Server, Test, UNLIMITED_RATE, dial
from rawsock import CLOSE, PING, PONG, TEXT, RawClient, frame


class Shards(Test):
    settings = {'shards': 4, **UNLIMITED_RATE}

    async def test_every_subscriber_on_every_shard_sees_one_order(self):
        receivers = [await self.join() for _ in range(16)]
        senders = [await self.join() for _ in range(3)]
        for peer in receivers:
            await peer.subscribe('f.order')
        each = 100

        async def publish(name, sender):
            for number in range(each):
                await sender.publish('f.order', [name, number])

        async def collect(peer):
            return [await peer.expect('data_update') for _ in range(each * len(senders))]

        await asyncio.gather(*(publish(i, sender) for i, sender in enumerate(senders)))
        seen = await asyncio.gather(*(collect(peer) for peer in receivers))
        for updates in seen:
            offsets = [update['offset'] for update in updates]
            self.assertEqual(offsets, list(range(offsets[0], offsets[0] + len(updates))))
            self.assertEqual([u['payload'] for u in updates], [u['payload'] for u in seen[0]])
        for name in range(len(senders)):
            numbers = [u['payload'][1] for u in seen[0] if u['payload'][0] == name]
            self.assertEqual(numbers, list(range(each)))

    async def test_comings_and_goings_during_a_stream_lose_nothing_for_those_who_stay(self):
        stays, sender = await self.join(), await self.join()
        await stays.subscribe('f.storm')

        async def publish():
            for number in range(300):
                await sender.publish('f.storm', number)
                await asyncio.sleep(0)

        async def come_and_go():
            for _ in range(20):
                socket = await dial(self.server, '/raw?topic=f.storm')
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.01)
                socket.transport.abort()

        await asyncio.gather(publish(), *(come_and_go() for _ in range(4)))
        for number in range(300):
            await stays.expect('data_update', payload=number)


class SlowReaders(Test):
    """More is published than the log holds, while one reader of each kind does not read."""
    settings = {'shards': 2, 'log_memory': '8MiB', **UNLIMITED_RATE}
    count, batch, size = 3000, 50, 8000

    async def stream(self, topic):
        """Publishes at the pace of a fast reader, who must get everything."""
        fast, sender = await self.join(), await self.join()
        await fast.subscribe(topic)
        for begin in range(0, self.count, self.batch):
            for number in range(begin, begin + self.batch):
                await sender.publish(topic, {'n': number, 'fill': 'x' * self.size})
            for number in range(begin, begin + self.batch):
                update = await fast.expect('data_update')
                self.assertEqual(update['payload']['n'], number)

    async def test_on_ws_a_gap_names_exactly_what_was_missed(self):
        with RawClient(self.server, receive_buffer=4096) as slow:
            slow.handshake('/ws')
            slow.send(frame(TEXT, b'{"type":"subscribe","id":"1","topic":"s.ws"}'))
            envelopes = [json.loads(slow.frame()[1]) for _ in range(2)]
            self.assertEqual([e['type'] for e in envelopes], ['welcome', 'subscribed'])
            await self.stream('s.ws')

            first = envelopes[1]['payload']['offset'] + 1
            expected, missed = first, 0
            while expected < first + self.count:
                opcode, payload = slow.frame()
                self.assertEqual(opcode, TEXT)
                envelope = json.loads(payload)
                if envelope['type'] == 'gap':
                    gap = envelope['payload']
                    self.assertEqual((gap['from'], gap['next']), (expected, gap['to'] + 1))
                    missed += gap['next'] - expected
                    expected = gap['next']
                else:
                    self.assertEqual(envelope['offset'], expected)
                    self.assertEqual(envelope['payload']['n'], expected - first)
                    expected += 1
            self.assertGreater(missed, 0)

    async def test_on_raw_where_a_gap_cannot_be_told_the_reader_is_closed(self):
        with RawClient(self.server, receive_buffer=4096) as slow:
            slow.handshake('/raw?topic=s.raw')
            await self.stream('s.raw')
            number = 0
            while True:
                opcode, payload = slow.frame()
                if opcode != TEXT:
                    break
                self.assertEqual(json.loads(payload)['n'], number)
                number += 1
            self.assertLess(number, self.count)
            if opcode == CLOSE:  # the socket may be too full to say so
                self.assertIn(int.from_bytes(payload[:2], 'big'), range(4000, 4500))


class Heartbeat(Test):
    # Two seconds, since the live ones must answer within them on a busy machine too.
    settings = {'ping_interval': '300ms', 'pong_timeout': '2s'}
    silence_s = 2.3

    async def test_a_dead_peer_is_closed_in_time_and_a_live_one_stays(self):
        live = await self.join()
        with RawClient(self.server) as dead:
            start = time.monotonic()
            dead.handshake('/ws')
            await asyncio.to_thread(dead.ended)
            self.assertLess(time.monotonic() - start, 5 * self.silence_s)
            self.assertGreater(time.monotonic() - start, 0.9 * self.silence_s)
        await live.alive()  # the library answers pings by itself

    def test_who_answers_pings_stays(self):
        with RawClient(self.server) as client:
            client.handshake('/raw?topic=quiet')
            end = time.monotonic() + 1.5 * self.silence_s
            while time.monotonic() < end:
                opcode, payload = client.frame()
                self.assertEqual(opcode, PING)
                client.send(frame(PONG, payload))

    def test_any_byte_counts_as_life(self):
        with RawClient(self.server) as talker:
            talker.handshake('/echo')
            end = time.monotonic() + 1.5 * self.silence_s
            while time.monotonic() < end:  # never answers a ping
                self.assertFalse(talker.ended_within(0.1))
                talker.send(frame(TEXT, b'x'))
            talker.send(frame(TEXT, b'last'))
            while (seen := talker.frame()) != (TEXT, b'last'):
                self.assertIsNotNone(seen[0])


class End(Test):
    settings = {'drain_timeout': '2s'}

    async def test_on_sigterm_everyone_hears_1012_and_the_server_ends(self):
        peers = [await self.join() for _ in range(10)]
        sockets = [await self.open('/raw?topic=e'), await self.open('/echo')]
        everyone = peers + [Peer(socket) for socket in sockets]
        with RawClient(self.server) as deaf:
            deaf.handshake('/ws')
            self.server.terminate()
            closes = await asyncio.gather(*(peer.closed() for peer in everyone))
            self.assertEqual({code for code, _ in closes}, {1012})
            self.assertEqual(await asyncio.to_thread(self.server.wait), 0)

    async def test_the_end_cuts_a_stream_between_two_messages(self):
        with Server(drain_timeout='2s', **UNLIMITED_RATE) as server:
            receiver, sender = await self.join(server=server), await self.join(server=server)
            await receiver.subscribe('e.last')
            for number in range(50):
                await sender.publish('e.last', number)
            await receiver.expect('data_update', payload=0)
            server.terminate()
            seen = [0]
            with self.assertRaises(websockets.ConnectionClosed) as end:
                while True:
                    seen.append((await receiver.expect('data_update'))['payload'])
            self.assertEqual(end.exception.rcvd.code, 1012)
            self.assertEqual(seen, list(range(len(seen))))

"""permessage-deflate (RFC 7692): what is agreed upon, what comes in, what goes out, and bombs."""
import asyncio
import json
import os
import re
import zlib
from pathlib import Path

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from harness import PATIENCE_S, Test, UNLIMITED_RATE
from rawsock import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame, upgrade)
from test_raw_and_echo import NodeClient

TAIL = b'\x00\x00\xff\xff'
NO_CONTEXT = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'
TICK = {'symbol': 'AAPL', 'bid': 187.12, 'ask': 187.14, 'venue': 'XNAS', 'currency': 'USD'}


def deflated(data, level=6, flush=zlib.Z_SYNC_FLUSH, strategy=zlib.Z_DEFAULT_STRATEGY):
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    out = compressor.compress(data) + compressor.flush(flush)
    return out[:-4] if flush == zlib.Z_SYNC_FLUSH else out + b'\x00'


def inflated(data):
    return zlib.decompressobj(-15).decompress(data + TAIL)


def memory_kib(server):
    """Its own memory, as the kernel counts."""
    status = Path(f'/proc/{server.process.pid}/status').read_text(encoding='ascii')
    return int(re.search(r'RssAnon:\s+(\d+) kB', status)[1])


class DeflateClient(RawClient):
    def agree(self, path='/echo', offer='permessage-deflate'):
        """What the server answered to the offer."""
        self.send(upgrade(path, Sec_WebSocket_Extensions=offer))
        status, headers, _ = self.response()
        assert status == 101, (status, offer)
        return headers.get('sec-websocket-extensions')

    def message(self):
        """(opcode, RSV bits, payload as it came) of the next frame; None at the end."""
        head = self.take(2)
        if len(head) < 2:
            return None
        length = head[1]
        if length >= 126:
            length = int.from_bytes(self.take(2 if length == 126 else 8), 'big')
        return head[0] & 0x0f, head[0] >> 4 & 7, self.take(length)

    def echo(self):
        """(opcode, text) of the next message, or the code of a close frame."""
        opcode, reserved, payload = self.message()
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], 'big')
        return opcode, inflated(payload) if reserved == 4 else payload


class Negotiation(Test):
    settings = {**UNLIMITED_RATE, 'compression': True}

    def test_offers_are_answered_declined_or_refused(self):
        pmd = 'permessage-deflate'
        rows = [
            (pmd, NO_CONTEXT),
            (f'{pmd}; client_max_window_bits', NO_CONTEXT),
            (f'{pmd}; server_max_window_bits=9', f'{NO_CONTEXT}; server_max_window_bits=9'),
            (f'{pmd}; server_max_window_bits=8', f'{NO_CONTEXT}; server_max_window_bits=8'),
            (f'{pmd}; server_max_window_bits="1\\0"', f'{NO_CONTEXT}; server_max_window_bits=10'),
            (f'{pmd}; server_max_window_bits=7', None),
            (f'{pmd}; server_max_window_bits=16', None),
            (f'{pmd}; server_max_window_bits', None),
            (f'{pmd}; x, {pmd}; server_no_context_takeover', NO_CONTEXT),
            (f'{pmd}, {pmd}', NO_CONTEXT),
            ('x-webkit-deflate-frame, bzip2', None),
            ('constructor', None),
            (None, None),
            ('', None),
        ]
        for offer, answer in rows:
            with self.subTest(offer=offer), DeflateClient(self.server) as client:
                self.assertEqual(client.agree(offer=offer), answer)
        for offer in [f'{pmd};', ',;constructor', 'a;b="' + '\\c' * 1000, f'{pmd}; a="b',
                      f'{pmd} x', 'permessage/deflate']:
            with self.subTest(offer=offer[:40]), RawClient(self.server) as client:
                client.send(upgrade(Sec_WebSocket_Extensions=offer))
                self.assertEqual(client.response()[0], 400)

    def test_several_header_lines_are_one_list(self):
        lines = ('Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: permessage-deflate; '
                 'server_max_window_bits=10\r\nSec-WebSocket-Extensions: permessage-deflate\r\n')
        with RawClient(self.server) as client:
            client.send(upgrade(extra=lines))
            _, headers, _ = client.response()
            self.assertEqual(headers['sec-websocket-extensions'],
                             f'{NO_CONTEXT}; server_max_window_bits=10')


class Inbound(Test):
    settings = {**UNLIMITED_RATE, 'compression': True}

    def test_every_class_of_message_has_its_answer(self):
        hello = b'\xf2\x48\xcd\xc9\xc9\x07\x00'
        hello_in_two_blocks = b'\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00'
        text = json.dumps(TICK).encode() * 3
        noise = os.urandom(8192)
        rows = [  # name, frames, answer
            ('compressed text', frame(TEXT, hello, rsv=4), (TEXT, b'Hello')),
            ('compressed binary', frame(BINARY, deflated(noise), rsv=4), (BINARY, noise)),
            ('empty message as one octet', frame(TEXT, b'\x00', rsv=4), (TEXT, b'')),
            ('final block', frame(TEXT, deflated(text, flush=zlib.Z_FINISH), rsv=4), (TEXT, text)),
            ('final block and nothing behind it',
             frame(TEXT, deflated(text, flush=zlib.Z_FINISH)[:-1], rsv=4), (TEXT, text)),
            ('stored block', frame(TEXT, deflated(text, 0), rsv=4), (TEXT, text)),
            ('fixed codes', frame(TEXT, deflated(text, strategy=zlib.Z_FIXED), rsv=4),
             (TEXT, text)),
            ('two blocks', frame(TEXT, hello_in_two_blocks, rsv=4), (TEXT, b'Hello')),
            ('not compressed', frame(TEXT, text), (TEXT, text)),
            ('in fragments', frame(TEXT, hello[:3], fin=False, rsv=4) + frame(PING, b'p') +
             frame(CONTINUATION, b'', fin=False) + frame(CONTINUATION, hello[3:]),
             (TEXT, b'Hello')),
            ('as large as it may be', frame(TEXT, deflated(b'x' * 65536), rsv=4),
             (TEXT, b'x' * 65536)),
            ('stored, and of that size', frame(BINARY, deflated(noise * 8, 0), rsv=4),
             (BINARY, noise * 8)),
            ('0 octets', frame(TEXT, b'', rsv=4), 1007),
            ('a thousand empty blocks', frame(TEXT, b'\x02\x08\x20\x80\x00' * 250 + hello, rsv=4),
             (TEXT, b'Hello')),
            ('thirteen hundred', frame(TEXT, b'\x02\x08\x20\x80\x00' * 325 + hello, rsv=4), 1008),
            ('reserved block type', frame(TEXT, b'\x07\x00', rsv=4), 1007),
            ('nonsense', frame(TEXT, b'\xff' * 500, rsv=4), 1007),
            ('cut', frame(TEXT, deflated(text)[:-20], rsv=4), 1007),
            ('no UTF-8 inside', frame(TEXT, deflated(b'\xff\xfe'), rsv=4), 1007),
            ('cut within a character', frame(TEXT, deflated(b'x' * 99 + b'\xe2\x82'), rsv=4), 1007),
            ('one octet too large', frame(TEXT, deflated(b'x' * 65537), rsv=4), 1009),
            ('refers to an earlier message', frame(TEXT, b'\xf2\x00\x11\x00\x00', rsv=4), 1007),
            ('RSV1 on a continuation',
             frame(TEXT, b'a', fin=False) + frame(CONTINUATION, b'b', rsv=4), 1002),
            ('RSV1 on a continuation of a compressed one',
             frame(TEXT, hello[:3], fin=False, rsv=4) + frame(CONTINUATION, hello[3:], rsv=4),
             1002),
            ('RSV1 on a ping', frame(PING, b'a', rsv=4), 1002),
            ('RSV1 on a pong', frame(PONG, b'a', rsv=4), 1002),
            ('RSV1 on a close', frame(CLOSE, b'\x03\xe8', rsv=4), 1002),
            ('RSV2', frame(TEXT, hello, rsv=2), 1002),
            ('RSV3', frame(TEXT, hello, rsv=1), 1002),
        ]
        for size in (4092, 4093, 4094, 4095, 4096, 4097, 8192):
            data = noise[:size - 6]
            rows.append((f'a payload of {size}', frame(BINARY, deflated(data, 0), rsv=4),
                         (BINARY, data)))
        for name, frames, answer in rows:
            with self.subTest(name), DeflateClient(self.server) as client:
                self.assertEqual(client.agree(), NO_CONTEXT)
                client.send(frames)
                got = client.echo()
                while isinstance(got, tuple) and got[0] == PONG:
                    got = client.echo()
                self.assertEqual(got, answer)
                if isinstance(answer, tuple):
                    client.send(frame(TEXT, hello, rsv=4))
                    self.assertEqual(client.echo(), (TEXT, b'Hello'))

    def test_not_agreed_upon_it_is_an_error(self):
        for offer in (None, 'foo', 'permessage-deflate; x'):
            with self.subTest(offer=offer), DeflateClient(self.server) as client:
                self.assertIsNone(client.agree(offer=offer))
                client.send(frame(TEXT, b'\xf2\x48\xcd\xc9\xc9\x07\x00', rsv=4))
                self.assertEqual(client.close_code(), 1002)

    def test_any_split_of_the_bytes_is_the_same(self):
        sent = (frame(TEXT, deflated(b'Hello Hello'), rsv=4) +
                frame(BINARY, deflated(bytes(300)), rsv=4))
        with DeflateClient(self.server) as client:
            client.agree()
            for cut in range(1, len(sent)):
                client.send(sent[:cut])
                client.send(sent[cut:])
                self.assertEqual([client.echo(), client.echo()],
                                 [(TEXT, b'Hello Hello'), (BINARY, bytes(300))])

    def test_echoes_are_compressed_in_the_window_that_was_asked_for(self):
        text = os.urandom(3000).hex().encode() * 3
        for bits in range(8, 16):
            with self.subTest(bits=bits), DeflateClient(self.server) as client:
                client.agree(offer=f'permessage-deflate; server_max_window_bits={bits}')
                client.send(frame(TEXT, text))
                opcode, reserved, payload = client.message()
                self.assertEqual((opcode, reserved), (TEXT, 0 if bits == 8 else 4))
                plain = payload
                if reserved:
                    plain = zlib.decompressobj(-bits).decompress(payload + TAIL)
                    self.assertLess(len(payload), len(text) * 0.6)
                self.assertEqual(plain, text)

    async def test_python_websockets_echoes_whatever_it_agrees_to(self):
        factories = [ClientPerMessageDeflateFactory()] + [
            ClientPerMessageDeflateFactory(server_max_window_bits=9 + i,
                                           client_max_window_bits=15 - i,
                                           client_no_context_takeover=i % 2 == 0)
            for i in range(7)]
        for factory in factories:
            socket = await self.open('/echo', extensions=[factory])
            self.assertEqual([each.name for each in socket.extensions], ['permessage-deflate'])
            for message in ['', b'', 'text', json.dumps(TICK) * 50, os.urandom(60_000),
                            'x' * 65_536]:
                await socket.send(message)
                self.assertEqual(await asyncio.wait_for(socket.recv(), PATIENCE_S), message)

    async def test_npm_ws_echoes(self):
        async with await NodeClient.dial(self.server.url('/echo'), DEFLATE='1') as client:
            await client.tell(extensions=True)
            names = (await client.event())['names']
            self.assertIn('permessage-deflate', names)
            for message in [{'text': '\u00e9' * 1000}, {'text': ''},
                            {'text': json.dumps(TICK) * 99}]:
                await client.tell(**message)
                self.assertEqual(await client.event(), {'event': 'message', **message})


class Context(Test):
    settings = {**UNLIMITED_RATE, 'compression': True, 'compression_context': True}

    async def test_clients_may_keep_context_where_it_is_allowed(self):
        with DeflateClient(self.server) as client:
            self.assertEqual(client.agree(), 'permessage-deflate; server_no_context_takeover')
            for payload in (b'\xf2\x48\xcd\xc9\xc9\x07\x00', b'\xf2\x00\x11\x00\x00',
                            b'\xf3\x48\xcd\xc9\xc9\x07\x00\x00', b'\xf2\x00\x11\x00\x00'):
                client.send(frame(TEXT, payload, rsv=4))
                self.assertEqual(client.echo(), (TEXT, b'Hello'))
        for offer, answer in [
                ('permessage-deflate; client_max_window_bits',
                 'permessage-deflate; server_no_context_takeover; client_max_window_bits=12'),
                ('permessage-deflate; client_no_context_takeover', NO_CONTEXT)]:
            with DeflateClient(self.server) as client:
                self.assertEqual(client.agree(offer=offer), answer)
        sockets = [await self.open('/echo', compression='deflate') for _ in range(5)]
        for turn in range(50):
            for number, socket in enumerate(sockets):
                message = json.dumps({**TICK, 'turn': turn, 'number': number})
                await socket.send(message)
                self.assertEqual(await asyncio.wait_for(socket.recv(), PATIENCE_S), message)


class Bomber(Test):
    settings = {**UNLIMITED_RATE, 'compression': True, 'shards': 1}
    sanitized = 'san' in os.environ['RINGCASTD']  # their allocators take what they want

    def bomb(self, message):
        with DeflateClient(self.server) as client:
            client.agree()
            client.send(frame(BINARY, message, rsv=4))
            self.assertEqual(client.close_code(), 1009)

    def memory_with_clients(self):
        """... that sent something, and are gone: nothing of it was compressed."""
        for _ in range(20):
            with RawClient(self.server) as client:
                client.handshake()
                client.send(frame(BINARY, bytes(20_000)))
                self.assertEqual(client.frame(), (BINARY, bytes(20_000)))
        return memory_kib(self.server)


class Bombs(Bomber):
    def test_a_kibibyte_that_becomes_a_mebibyte_costs_the_limit_and_no_more(self):
        message = deflated(bytes(1 << 20), 9)
        self.assertLess(len(message), 1100)
        before = self.memory_with_clients()
        for _ in range(50):
            self.bomb(message)
            if not self.sanitized:
                self.assertLessEqual(memory_kib(self.server) - before, 64 + 64)


class LargeBombs(Bomber):
    settings = {**Bomber.settings, 'message_max': '1MiB'}

    def test_a_mebibyte_that_becomes_a_gibibyte_costs_the_limit_twice(self):
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        part = compressor.compress(bytes(1 << 24)) + compressor.flush(zlib.Z_FULL_FLUSH)
        message = (part * 64)[:-4]
        self.assertLess(len(message), (1 << 20) + 16_384)
        before = self.memory_with_clients()
        self.bomb(message)
        # The message as it came, and what it becomes.
        if not self.sanitized:
            self.assertLessEqual(memory_kib(self.server) - before, 2 * 1040 + 64)


class Outbound(Test):
    settings = {**UNLIMITED_RATE, 'compression': True, 'message_max': '256KiB', 'topic': [
        'd.plain.>: uncompressed', 'd.history: history=1000', 'd.keyed: keyed']}

    def listen(self, path, *said):
        """A client that takes compression, said these envelopes, and read as many answers."""
        client = DeflateClient(self.server)
        self.addCleanup(client.socket.close)
        client.agree(path)
        if path.startswith('/ws'):
            client.message()
        for envelope in said:
            client.send(frame(TEXT, json.dumps(envelope).encode()))
            self.assertEqual(client.message()[1], 0)  # what is for one client alone
        return client

    def update(self, client):
        opcode, reserved, payload = client.message()
        self.assertEqual(opcode, TEXT)
        return reserved, json.loads(inflated(payload) if reserved else payload)

    async def test_records_are_compressed_for_those_who_take_it_and_no_others(self):
        both = [self.listen('/ws', {'type': 'subscribe', 'topic': 'd.a'}) for _ in range(3)]
        raw = self.listen('/raw?topic=d.a')
        small = DeflateClient(self.server)
        self.addCleanup(small.socket.close)
        small.agree('/raw?topic=d.a', 'permessage-deflate; server_max_window_bits=12')
        plain = await self.join()
        await plain.subscribe('d.a')
        for number in range(20):
            tick = {**TICK, 'number': number}
            await plain.publish('d.a', tick)
            await plain.expect('data_update', payload=tick)
            frames = [client.message() for client in both]
            self.assertEqual(frames, [frames[0]] * 3)  # the same bytes for all of them
            self.assertEqual(frames[0][1], 4)
            update = json.loads(inflated(frames[0][2]))
            self.assertEqual((update['payload'], update['offset']), (tick, number + 1))
            self.assertLess(len(frames[0][2]), len(json.dumps(update)))
            _, reserved, payload = raw.message()
            self.assertEqual(json.loads(inflated(payload) if reserved else payload), tick)
            self.assertEqual(json.loads(small.message()[2]), tick)

    async def test_what_does_not_shrink_goes_as_it_is(self):
        raw = self.listen('/raw?topic=d.noise')
        to = await self.open('/raw?publish=d.noise')
        for message, compressed in [(os.urandom(1000), 0), (b'x' * 63, 0), (b'x' * 64, 4), (b'', 0),
                                    (bytes(100_000), 4), (bytes(200_000), 0), (b'ab' * 500, 4)]:
            await to.send(message)
            opcode, reserved, payload = raw.message()
            self.assertEqual((opcode, reserved), (BINARY, compressed))
            self.assertEqual(inflated(payload) if compressed else payload, message)

    async def test_some_topics_are_never_compressed(self):
        client = self.listen('/ws', {'type': 'subscribe', 'topic': 'd.plain.a'})
        peer = await self.join()
        await peer.publish('d.plain.a', TICK)
        self.assertEqual(self.update(client)[0], 0)

    async def test_history_and_recovery_are_whole_whoever_reads_them(self):
        peer = await self.join()
        for number in range(10):
            await peer.publish('d.history', {**TICK, 'number': number})
        place = (await peer.publish_acked('d.history', {**TICK, 'number': 10}))
        client = self.listen('/ws', {'type': 'subscribe', 'topic': 'd.history',
                                     'payload': {'offset': 3, 'epoch': place['epoch']}})
        await peer.publish('d.history', {**TICK, 'number': 11})
        updates = [self.update(client) for _ in range(9)]
        self.assertEqual([each['offset'] for _, each in updates], list(range(4, 13)))
        self.assertEqual(updates[-1][0], 4)
        again = self.listen('/ws', {'type': 'subscribe', 'topic': 'd.history',
                                    'payload': {'offset': 11, 'epoch': place['epoch']}})
        self.assertEqual(self.update(again)[1]['offset'], 12)
        again.send(frame(TEXT, b'{"type":"history","topic":"d.history","id":"h"}'))
        _, reserved, answer = again.message()
        self.assertEqual((reserved, len(json.loads(answer)['payload']['records'])), (0, 12))

    async def test_keyed_topics_patterns_and_acks(self):
        peer = await self.join()
        for key in 'abc':
            await peer.publish('d.keyed', TICK, key=key)
        await peer.alive()
        client = self.listen('/ws', {'type': 'subscribe', 'topic': 'd.keyed'})
        self.assertEqual([self.update(client)[1]['key'] for _ in range(3)], ['a', 'b', 'c'])
        await peer.publish('d.keyed', {**TICK, 'bid': 1}, key='b')
        reserved, update = self.update(client)
        self.assertEqual((reserved, update['key'], update['payload']['bid']), (4, 'b', 1))

        reader = self.listen('/ws', {'type': 'subscribe', 'topic': 'd.by.*',
                                     'payload': {'acks': True}})
        await peer.publish('d.by.one', TICK, ack_required=True, id='first')
        self.assertEqual(json.loads(reader.message()[2])['topic'], 'd.by.one')  # it is brought
        _, update = self.update(reader)
        self.assertEqual(update['id'], 'first')
        ack = {'type': 'ack', 'id': 'first', 'topic': 'd.by.one'}
        reader.send(frame(TEXT, json.dumps(ack).encode()))
        await peer.expect('ack', id='first')
        await peer.publish('d.by.one', TICK)
        self.assertEqual(self.update(reader)[0], 4)

    async def test_libraries_read_what_is_compressed(self):
        async with await NodeClient.dial(self.server.url('/raw?topic=d.lib'), DEFLATE='1') as node:
            await node.tell(extensions=True)
            self.assertIn('permessage-deflate', (await node.event())['names'])
            python = await self.open('/raw?topic=d.lib', compression='deflate')
            to = await self.open('/raw?publish=d.lib', compression='deflate')
            for number in range(30):
                text = json.dumps({**TICK, 'number': number, 'more': 'x' * number * 50})
                await to.send(text)
                self.assertEqual(await asyncio.wait_for(python.recv(), PATIENCE_S), text)
                self.assertEqual(await node.event(), {'event': 'message', 'text': text})


class Off(Test):
    def test_nothing_is_agreed_upon_by_default(self):
        for offer in ('permessage-deflate', ',;constructor', 'a;b="\\c\\c', 'x' * 6000):
            with self.subTest(offer=offer[:40]), DeflateClient(self.server) as client:
                self.assertIsNone(client.agree(offer=offer))
                client.send(frame(TEXT, b'\xf2\x48\xcd\xc9\xc9\x07\x00', rsv=4))
                self.assertEqual(client.close_code(), 1002)

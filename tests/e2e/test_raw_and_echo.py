"""/raw (payloads only) and /echo, also through an independent client, npm ws."""
import asyncio
import base64
import json
import os

from harness import PATIENCE_S, ROOT, Test, UNLIMITED_RATE
from rawsock import BINARY, CONTINUATION, PING, PONG, TEXT, RawClient, frame

GREETING = 'Gr\u00fc\u00dfe \U0001f600'


class NodeClient:
    """tests/e2e/client.mjs: npm ws, driven by lines of JSON."""

    async def __aenter__(self):
        return self

    def __init__(self, process):
        self.process = process

    @classmethod
    async def dial(cls, url, *protocols, **environment):
        client = cls(await asyncio.create_subprocess_exec(
            'node', str(ROOT / 'tests/e2e/client.mjs'), url, *protocols, limit=1 << 24,
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE))
        assert await client.event() == {'event': 'open'}
        return client

    async def __aexit__(self, *_):
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def event(self):
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        return json.loads(line)

    async def tell(self, **command):
        self.process.stdin.write(json.dumps(command).encode() + b'\n')
        await self.process.stdin.drain()


class RawAndEcho(Test):
    settings = {**UNLIMITED_RATE, 'message_max': '2MiB'}

    async def receive(self, socket):
        return await asyncio.wait_for(socket.recv(), PATIENCE_S)

    async def test_echo_gives_back_what_it_gets(self):
        socket = await self.open('/echo')
        for message in ['', b'', 'text', b'\x00\xff', GREETING, 'x' * 125, 'x' * 126, 'x' * 65535,
                        b'\x80' * 65536, os.urandom(1 << 20), 'y' * (1 << 20)]:
            with self.subTest(size=len(message), type=type(message)):
                await socket.send(message)
                self.assertEqual(await self.receive(socket), message)

    def test_echo_answers_a_ping_behind_a_large_message(self):
        with RawClient(self.server) as client:
            client.handshake()
            for _ in range(3):
                client.send(frame(TEXT, b'x' * 60_000) + frame(PING, b'and this'))
                self.assertEqual(client.frame(), (TEXT, b'x' * 60_000))
                self.assertEqual(client.frame(), (PONG, b'and this'))

    async def test_echo_puts_fragments_together(self):
        socket = await self.open('/echo')
        for parts in [['a', 'b', 'c'], ['', '', ''], [b'\x00' * 1000] * 50, ['\u00e9'] * 100]:
            with self.subTest(parts=len(parts)):
                await socket.send(parts)
                self.assertEqual(await self.receive(socket), type(parts[0])().join(parts))

    def test_a_ping_between_fragments_is_answered_at_once(self):
        with RawClient(self.server) as client:
            client.handshake()
            client.send(frame(TEXT, b'one ', fin=False) + frame(PING, b'are you there'))
            self.assertEqual(client.frame(), (PONG, b'are you there'))
            client.send(frame(CONTINUATION, b'two'))
            self.assertEqual(client.frame(), (TEXT, b'one two'))

    def test_any_split_of_the_bytes_is_the_same_to_echo(self):
        messages = [(TEXT, b'hello'), (BINARY, bytes(200)), (TEXT, GREETING.encode())]
        sent = b''.join(frame(*message) for message in messages)
        with RawClient(self.server) as client:
            client.handshake()
            for cut in range(1, len(sent)):
                client.send(sent[:cut])
                client.send(sent[cut:])
                self.assertEqual([client.frame() for _ in messages], messages, cut)

    async def test_raw_carries_text_as_text_and_binary_as_binary(self):
        receiver = await self.open('/raw?topic=r.a&topic=r.b')
        to_a, to_b = await self.open('/raw?publish=r.a'), await self.open('/raw?publish=r.b')
        for socket, message in [(to_a, 'text'), (to_b, b'\x00\xff\xfe'), (to_a, b'text'),
                                (to_b, '{"a": 1}'), (to_a, GREETING), (to_a, b'z' * 100000)]:
            with self.subTest(message=message[:20]):
                await socket.send(message)
                self.assertEqual(await self.receive(receiver), message)

    async def test_raw_and_envelope_meet_on_a_topic(self):
        peer = await self.join()
        await peer.subscribe('r.mixed')
        raw = await self.open('/raw?topic=r.mixed&publish=r.mixed')
        rows = [('{"a": [1, 2]}', {'payload': {'a': [1, 2]}}),
                ('not json', {'payload': 'not json'}),
                (b'\x00\xff', {'payload': base64.b64encode(b'\x00\xff').decode(),
                               'encoding': 'base64'})]
        for message, seen in rows:
            with self.subTest(message=message):
                await raw.send(message)
                self.assertEqual(await self.receive(raw), message)
                await peer.expect('data_update', topic='r.mixed', **seen)
        await peer.publish('r.mixed', {'b': 2})
        self.assertEqual(json.loads(await self.receive(raw)), {'b': 2})

    async def test_npm_ws_subscribes_and_publishes(self):
        async with await NodeClient.dial(self.server.url(), 'ringcast.v1') as client:
            async def expect(kind):
                envelope = json.loads((await client.event())['text'])
                self.assertEqual(envelope['type'], kind)
                return envelope
            await expect('welcome')
            await client.tell(text=json.dumps({'type': 'subscribe', 'id': '1', 'topic': 'r.npm'}))
            await expect('subscribed')
            await client.tell(text=json.dumps(
                {'type': 'publish', 'id': '2', 'topic': 'r.npm', 'payload': {'x': 1}}))
            self.assertEqual((await expect('data_update'))['payload'], {'x': 1})
            await client.tell(ping='hi')
            self.assertEqual(await client.event(), {'event': 'pong', 'data': 'hi'})
            await client.tell(close=1000)
            self.assertEqual(await client.event(), {'event': 'close', 'code': 1000})

    async def test_npm_ws_echoes_and_reads_raw(self):
        async with await NodeClient.dial(self.server.url('/echo')) as client:
            binary = base64.b64encode(b'\xff' * 70000).decode()
            for message in [{'text': '\u00e9' * 1000}, {'binary': binary}, {'text': ''}]:
                await client.tell(**message)
                self.assertEqual(await client.event(), {'event': 'message', **message})
        async with await NodeClient.dial(self.server.url('/raw?topic=r.n')) as client:
            sender = await self.open('/raw?publish=r.n')
            await sender.send(b'\x01\x02')
            self.assertEqual(await client.event(), {'event': 'message', 'binary': 'AQI='})

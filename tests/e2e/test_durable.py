"""Durable topics: what was acknowledged is there after kill -9, and a full disk harms nobody else.

RINGCAST_KILL_ROUNDS says how often the server is killed under load (5).
"""
import asyncio
import collections
import contextlib
import json
import os
import random
import subprocess
from pathlib import Path

import websockets

from harness import FolderTest, PATIENCE_S, Peer, Server, UNLIMITED_RATE, command, dial
from rawsock import TEXT, frame

ROUNDS = int(os.environ.get('RINGCAST_KILL_ROUNDS', '5'))
KILLS_PER_FILE = 5  # every record of the file is read again in every round
TOPIC = 'd.load'
RULE = 'd.>: durable, history=1000000, history-bytes=64MiB'
WINDOW = 200  # publications of one client that wait for their ack


class WithFile(FolderTest):
    """Each test has a file of its own, and the servers it starts."""
    def file(self, name='store'):
        return str(Path(self.folder.name) / name)

    def serve(self, file, **settings):
        settings = {'topic': RULE, 'log_memory': '256MiB', 'dedup_window': '1h', **UNLIMITED_RATE,
                    **settings}
        server = Server(store=file, **settings)
        self.addCleanup(server.process.wait)  # where a test failed before its end
        self.addCleanup(server.process.kill)
        return server

    @contextlib.asynccontextmanager
    async def serving(self, file, **settings):
        server = self.serve(file, **settings)
        try:
            yield server
        finally:
            await asyncio.to_thread(server.stop)  # our side of a close takes part


class Publisher:
    """A client that says everything until it is acknowledged, under the same id."""

    def __init__(self, name):
        self.name = name
        self.count = 0
        self.unanswered = collections.OrderedDict()  # id: payload
        self.offsets = {}                            # id: as acknowledged
        self.heard = asyncio.Event()                 # an ack came, or the end

    async def connect(self, server):
        self.socket = await dial(server, f'/ws?client_id={self.name}')
        self.peer = Peer(self.socket)
        await self.peer.expect('welcome')

    async def say(self, record, payload):
        self.unanswered[record] = payload
        await self.peer.publish(TOPIC, payload, id=record, ack_required=True)

    def envelope(self, record):
        return frame(TEXT, json.dumps({
            'type': 'publish', 'topic': TOPIC, 'id': record, 'ack_required': True,
            'payload': self.unanswered[record]}).encode())

    async def stream(self):
        """New ones until the connection breaks."""
        with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
            while not self.socket.closed:
                burst = []
                while len(self.unanswered) < WINDOW:
                    self.count += 1
                    record = f'{self.name}.{self.count}'
                    self.unanswered[record] = [self.name, self.count]
                    burst.append(self.envelope(record))
                # All at once, so that the server is killed with its hands full.
                self.socket.transport.write(b''.join(burst))
                self.heard.clear()
                await self.heard.wait()

    async def hear(self, epochs, until_answered=False):
        with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
            while self.unanswered or not until_answered:
                ack = await self.peer.expect('ack', topic=TOPIC)
                offset = ack['payload']['offset']
                known = self.offsets.setdefault(ack['id'], offset)
                assert known == offset, f'{ack} was {known} before'
                epochs.add(ack['payload']['epoch'])
                self.unanswered.pop(ack['id'], None)
                self.heard.set()
        self.heard.set()

    async def repeat(self, epochs):
        """What had no answer, and some of what had."""
        for record, payload in list(self.unanswered.items()):
            await self.say(record, payload)
        for record in random.sample(sorted(self.offsets), min(20, len(self.offsets))):
            number = int(record.split('.')[1])
            await self.say(record, [self.name, number])
        await self.hear(epochs, until_answered=True)
        assert not self.unanswered, f'{self.name}: no answer to {list(self.unanswered)[:5]}'


class Watcher:
    """Reads the topic, and goes on where it stopped."""

    def __init__(self):
        self.seen = {}  # offset: id
        self.offset = 0

    async def connect(self, server, epoch):
        self.socket = await dial(server)
        self.peer = Peer(self.socket)
        await self.peer.expect('welcome')
        answer = await self.peer.subscribe(TOPIC, offset=self.offset, epoch=epoch)
        assert answer['payload']['recovered'] is True, answer
        assert answer['payload']['offset'] == self.offset, answer

    async def hear(self, until=None):
        with contextlib.suppress(websockets.ConnectionClosed, ConnectionError):
            while until is None or self.offset < until:
                update = await self.peer.expect('data_update', topic=TOPIC)
                assert update['offset'] == self.offset + 1, update
                self.offset += 1
                self.seen[self.offset] = update['id']


class KillUnderLoad(WithFile):
    async def test_what_was_acknowledged_is_there_once_and_offsets_go_on(self):
        kills = 0
        totals = collections.Counter()
        while kills < ROUNDS:
            rounds = min(KILLS_PER_FILE, ROUNDS - kills)
            await self.one_file(self.file(f'store{kills}'), rounds, totals)
            kills += rounds
            print(f'    {kills} kills: {totals["acknowledged"]} acknowledged before one, '
                  f'{totals["unanswered"]} without answer by then, '
                  f'of these {totals["committed"]} were there', flush=True)
        self.assertGreater(totals['acknowledged'], 50 * ROUNDS)

    async def one_file(self, file, rounds, totals):
        publishers = [Publisher(f'p{i}') for i in range(4)]
        watcher, epochs = Watcher(), set()
        server = self.serve(file)
        for publisher in publishers:
            await publisher.connect(server)
        await publishers[0].say('p0.0', ['p0', 0])
        await publishers[0].hear(epochs, until_answered=True)
        epoch = next(iter(epochs))
        await watcher.connect(server, epoch)
        for _ in range(rounds):
            tasks = [asyncio.ensure_future(work) for publisher in publishers
                     for work in (publisher.stream(), publisher.hear(epochs))]
            tasks.append(asyncio.ensure_future(watcher.hear()))
            before = sum(len(publisher.offsets) for publisher in publishers)
            enough = before + random.randrange(200, 3000)
            while sum(len(publisher.offsets) for publisher in publishers) < enough:
                publisher = random.choice(publishers)
                publisher.heard.clear()
                await publisher.heard.wait()
            server.kill()
            await asyncio.gather(*tasks)
            totals['acknowledged'] += sum(len(publisher.offsets) for publisher in publishers)
            totals['acknowledged'] -= before
            lost = [record for publisher in publishers for record in publisher.unanswered]
            totals['unanswered'] += len(lost)

            server = self.serve(file)
            head = await self.head(server)
            for publisher in publishers:
                await publisher.connect(server)
            await asyncio.gather(*(publisher.repeat(epochs) for publisher in publishers))
            offsets = {**publishers[0].offsets, **publishers[1].offsets,
                       **publishers[2].offsets, **publishers[3].offsets}
            totals['committed'] += sum(offsets[record] <= head for record in lost)
            await watcher.connect(server, epoch)
            await self.check(server, epoch, publishers, watcher)
            self.assertEqual(epochs, {epoch})
        await asyncio.to_thread(server.stop)

    async def head(self, server):
        probe = await self.join(server=server)
        head = (await probe.subscribe(TOPIC))['payload']['offset']
        await probe.socket.close()
        return head

    async def check(self, server, epoch, publishers, watcher):
        """Reads the topic from its begin."""
        head = await self.head(server)
        reader = Watcher()
        await reader.connect(server, epoch)
        await reader.hear(until=head)
        await reader.socket.close()
        where = {record: offset for offset, record in reader.seen.items()}
        self.assertEqual(len(where), len(reader.seen), 'an id is there twice')
        self.assertEqual(sorted(reader.seen), list(range(1, head + 1)))
        for publisher in publishers:
            for record, offset in publisher.offsets.items():
                self.assertEqual(where.get(record), offset, f'{record} was acknowledged')
        for offset, record in watcher.seen.items():
            self.assertEqual(reader.seen.get(offset), record, 'a reader had it')


class Stop(WithFile):
    async def test_what_was_taken_in_is_acknowledged_before_1012_and_is_there_afterwards(self):
        server = self.serve(self.file(), drain_timeout='20s')
        peer = await self.join('/ws?client_id=a', server)
        for number in range(500):
            await peer.publish('d.stop', number, id=f'i{number}', ack_required=True)
        request = await peer.send('ping')
        offsets = []
        while True:  # answers to publications may come before the pong, and behind it
            envelope = await peer.receive()
            if envelope['type'] == 'pong':
                self.assertEqual(envelope['id'], request)
                break
            self.assertEqual(envelope['type'], 'ack', envelope)
            offsets.append(envelope['payload']['offset'])
        server.terminate()
        while len(offsets) < 500:
            offsets.append((await peer.expect('ack'))['payload']['offset'])
        self.assertEqual(offsets, list(range(1, 501)))
        self.assertEqual((await peer.closed())[0], 1012)
        await asyncio.to_thread(server.stop)

        async with self.serving(self.file()) as server:
            peer = await self.join('/ws?client_id=a', server)
            await peer.publish('d.stop', 499, id='i499', ack_required=True)
            ack = await peer.expect('ack', id='i499')
            self.assertEqual(ack['payload']['offset'], 500)
            await peer.publish('d.stop', 500, id='i500', ack_required=True)
            self.assertEqual((await peer.expect('ack'))['payload']['offset'], 501)


class Full(WithFile):
    async def until_full(self, server, code):
        """Publishes until the answer is always no; then a plain topic still flows."""
        durable, plain = await self.join(server=server), await self.join(server=server)
        await plain.subscribe('plain')
        taken, refused = 0, 0
        while refused < 10:  # after the first one the store may still find some room
            await durable.publish('d.full', 'x' * 20_000, ack_required=True)
            answer = await durable.receive()
            if answer['type'] == 'error':
                self.assertEqual(answer['payload']['code'], code, answer)
                refused += 1
                continue
            self.assertEqual(answer['payload']['offset'], taken + 1)
            taken, refused = taken + 1, 0
            self.assertLess(taken, 2000)
        for number in range(20):
            await durable.publish('d.full', 'x' * 20_000, id=f'f{number}', ack_required=True)
            await durable.publish('plain', number, id=f'p{number}', ack_required=True)
            answers = [await durable.receive(), await durable.receive()]
            self.assertEqual({answer['id']: answer['type'] for answer in answers},
                             {f'f{number}': 'error', f'p{number}': 'ack'})
            await plain.expect('data_update', payload=number)
        raw = await self.open('/raw?publish=d.full', server)
        await raw.send('x' * 20_000)
        self.assertEqual((await Peer(raw).closed())[0], 1013)
        self.assertGreater(taken, 5)
        lines = server.stderr().count('is refused until it can be written again')
        self.assertIn(lines, range(1, 4))  # of at least 30 refusals
        return taken

    async def test_a_file_that_may_not_grow(self):
        async with self.serving(self.file(), store_size_max='1MiB') as server:
            taken = await self.until_full(server, 'store_full')
        async with self.serving(self.file()) as server:  # more room now
            peer = await self.join(server=server)
            await peer.publish('d.full', 1, ack_required=True)
            self.assertEqual((await peer.expect('ack'))['payload']['offset'], taken + 1)

    async def test_a_limit_of_file_sizes(self):
        async with self.serving(self.file(), shards=1, log_memory='2MiB',
                                file_size=3 << 20) as server:
            await self.until_full(server, 'store_failed')  # to SQLite, EFBIG is not ENOSPC


class Refusing(WithFile):
    def refused(self, code, word, **settings):
        done = subprocess.run(command(**settings), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, code, done)
        self.assertIn(word, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    async def test_a_store_that_cannot_be_used_is_one_line(self):
        self.refused(2, 'durable needs --store', topic=RULE)
        self.refused(1, '--store', topic=RULE, store=self.folder.name)
        self.refused(1, '--store', topic=RULE, store=self.file('no/such/folder'))
        Path(self.file('text')).write_text('this is no database, whatever else it may be' * 100,
                                           encoding='ascii')
        self.refused(1, '--store', topic=RULE, store=self.file('text'))
        async with self.serving(self.file()):
            self.refused(1, '--store', topic=RULE, store=self.file())

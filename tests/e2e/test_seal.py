"""Sealed topics: what leaves the server opens with its key alone, over rotation, recovery and kill
-9; what opens it here is the client package (WebCrypto) and `ringcast sub` (OpenSSL)."""
import asyncio
import base64
import json
import os
import signal
import subprocess
from pathlib import Path

from harness import FolderTest, PATIENCE_S, Server, UNLIMITED_RATE, command
from test_package_client import PackageClient

CANARY = 'canary-that-nobody-may-read'
KEYS = {name: f'{number:02x}' * 31 + '00' for number, name in enumerate(['p1', 'p2', 'c1'], 17)}
RULES = ['s.>: seal=prices, history=1000', 'keyed: keyed, seal=prices', 'chat: seal=chat',
         'd.>: durable, seal=prices, history=1000']


def lines(*ids):
    """A key file: ids of `prices`, the first of which seals, and one of `chat`."""
    return '# keys of a test\n' + ''.join(
        f'{"chat" if name == "c1" else "prices"} {name} {KEYS[name]}\n' for name in ids)


def box_of(record):
    """(key id, salt and nonce) of a sealed payload."""
    box = record['payload']['sealed']
    assert set(box) == {'v', 'alg', 'kid', 'data'}, box
    data = base64.urlsafe_b64decode(box['data'] + '=' * (-len(box['data']) % 4))
    return box['kid'], data[:28]


class Sealed(FolderTest):
    def setUp(self):
        super().setUp()
        self.keys = self.write('keys', lines('p1', 'c1'))

    def write(self, name, text, mode=0o600):
        path = Path(self.folder.name) / name
        path.touch()
        path.write_text(text, encoding='utf-8')
        path.chmod(mode)
        return str(path)

    def serve(self, **settings):
        settings = {'topic': RULES, 'seal_keys_file': self.keys,
                    'store': str(Path(self.folder.name) / 'store'), **UNLIMITED_RATE, **settings}
        server = Server(**settings)
        self.addCleanup(server.process.wait)  # where a test failed before its end
        self.addCleanup(server.process.kill)
        return server

    async def reload(self, server, text, word):
        """Writes the key file, and waits for the line about it."""
        seen = server.stderr().count(word)
        self.write('keys', text)
        server.process.send_signal(signal.SIGHUP)
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while server.stderr().count(word) == seen:
            self.assertLess(asyncio.get_running_loop().time(), deadline, server.stderr())
            await asyncio.to_thread(os.stat, self.keys)  # others have their turn

    @staticmethod
    async def reading(server, topic, *ids, **options):
        client = await PackageClient.connect(
            server, sealed={'keys': {name: KEYS[name] for name in ids}, **options})
        await client.subscribe(topic)
        return client

    async def sub(self, server, key_file, count, *topics):
        """(exit code, stdout, stderr) of `ringcast sub`, which has subscribed when this returns."""
        process = await asyncio.create_subprocess_exec(
            os.environ['RINGCAST'], 'sub', *topics, '-n', str(count), '--key-file', key_file,
            '--url', f'ws://127.0.0.1:{server.port}', stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.reap, process)
        return process

    @staticmethod
    def reap(process):
        if process.returncode is None:
            process.kill()

    @staticmethod
    async def ended(process):
        out, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        return process.returncode, out.decode(), errors.decode()


class Reading(Sealed):
    async def test_who_has_the_key_reads_and_nobody_else(self):
        with self.serve() as server:
            peer = await self.join(server=server)
            epoch = (await peer.subscribe('s.a'))['payload']['epoch']
            raw = await self.open('/raw?topic=s.a', server)
            publisher = await self.join(server=server)
            async with await self.reading(server, 's.a', 'p1', required=True) as client, \
                    await self.reading(server, 's.a', 'c1') as stranger:
                for payload in [{'n': CANARY}, CANARY, None, [1e300, 'x' * 50_000]]:
                    await publisher.publish('s.a', payload)
                    record = await peer.expect('data_update')
                    self.assertNotIn('canary', json.dumps(record))
                    self.assertEqual(box_of(record)[0], 'p1')
                    message = await asyncio.wait_for(raw.recv(), PATIENCE_S)
                    box = json.loads(message)['sealed']
                    self.assertEqual((box['topic'], box['epoch'], box['offset']),
                                     ('s.a', epoch, record['offset']))
                    self.assertEqual(box['data'], record['payload']['sealed']['data'])
                    self.assertEqual((await client.until('message'))['payload'], payload)
                    self.assertEqual((await stranger.until('error'))['code'], 'sealed')
                    self.assertEqual((await stranger.until('gap'))['reason'], 'sealed')

    async def test_text_and_binary_of_raw(self):
        with self.serve() as server:
            async with await self.reading(server, 's.b', 'p1') as client:
                raw = await self.open('/raw?publish=s.b', server)
                for payload in ['no JSON', '[1]', b'\x00\xff']:
                    await raw.send(payload)
                got = [(await client.until('message'))['payload'] for _ in range(3)]
                self.assertEqual(got, ['no JSON', [1], {'0': 0, '1': 255}])

    async def test_a_keyed_topic_and_one_that_is_not_sealed(self):
        with self.serve() as server:
            peer = await self.join(server=server)
            for value in [1, 2]:
                await peer.publish('keyed', value, key='a')
            await peer.publish('plain', {'sealed': CANARY})
            await peer.alive()
            async with await self.reading(server, 'keyed', 'p1') as client:
                record = await client.until('message')
                self.assertEqual((record['key'], record['payload']), ('a', 2))
            await peer.subscribe('plain')
            await peer.publish('plain', {'sealed': CANARY})
            await peer.expect('data_update', payload={'sealed': CANARY})

    async def test_the_tool_opens_and_says_what_it_cannot(self):
        with self.serve() as server:
            publisher = await self.join(server=server)
            good = await self.sub(server, self.keys, 2, 's.t')
            wrong = await self.sub(server, self.write('other', lines('c1')), 2, 's.t', 'plain')
            # Until both are there: until then nobody gets what is published.
            while good.returncode is None or wrong.returncode is None:
                await publisher.publish('s.t', {'n': CANARY})
                await publisher.publish('plain', 1)
                waits = [asyncio.ensure_future(one.wait()) for one in (good, wrong)]
                await asyncio.wait(waits, timeout=0.05)
            code, out, errors = await self.ended(good)
            self.assertEqual((code, out), (0, f'{{"n": "{CANARY}"}}\n' * 2), errors)
            code, out, errors = await self.ended(wrong)
            self.assertEqual((code, out), (3, ''), errors)
            self.assertRegex(errors, 'the key p1 is not in the key file|that is not sealed')


class Rotating(Sealed):
    async def test_new_keys_on_sighup_and_the_old_ones_after_a_bad_file(self):
        with self.serve() as server:
            peer = await self.join(server=server)
            await peer.subscribe('s.a')

            async def kid(payload):
                await peer.publish('s.a', payload)
                return box_of(await peer.expect('data_update'))[0]

            async with await self.reading(server, 's.a', 'p1', 'p2') as client:
                self.assertEqual(await kid(0), 'p1')
                for text, word in [
                        (lines('p2'), 'seal=chat: there is no key of this name'),
                        (lines('p1', 'c1').replace(KEYS['p1'], KEYS['p2']), 'another key than'),
                        ('prices p2 ' + KEYS['p2'][1:], 'line 1: a key has 64'),
                        ('', 'no key is in it')]:
                    await self.reload(server, text, 'the keys of before stay in use')
                    self.assertIn(word, server.stderr())
                    self.assertEqual(await kid(text), 'p1')
                for name in KEYS.values():
                    self.assertNotIn(name[1:], server.stderr())
                await self.reload(server, lines('p2', 'p1', 'c1'), 'keys are in use')
                while await kid('until all shards have them') != 'p2':
                    pass
                self.assertEqual(await kid('last'), 'p2')
                offsets = []
                while (message := await client.until('message'))['payload'] != 'last':
                    offsets.append(message['offset'])
                self.assertEqual(offsets, list(range(1, len(offsets) + 1)))
                self.assertGreaterEqual(len(offsets), 6)

    async def test_recovery_gives_the_same_bytes(self):
        with self.serve() as server:
            other = await self.join(server=server)
            await other.subscribe('s.r')
            async with await self.reading(server, 's.r', 'p1') as client:
                for loss in range(3):
                    await client.drop()
                    for number in range(5):
                        await other.publish('s.r', [loss, number])
                    await client.until('recovered')
                    got = [(await client.until('message'))['payload'] for _ in range(5)]
                    self.assertEqual(got, [[loss, number] for number in range(5)])
                self.assertNotIn('error', [event['event'] for event in client.seen])
                await client.tell(history='s.r', options={})
                records = (await client.until('resolved'))['value']['records']
                self.assertEqual([record['payload'] for record in records][-1], [2, 4])
            live = [await other.expect('data_update') for _ in range(15)]
            await other.send('history', topic='s.r')
            self.assertEqual((await other.expect('history'))['payload']['records'], live)


class Durable(Sealed):
    async def test_kill_9_brings_back_the_same_boxes_and_nonces_never_come_again(self):
        boxes, records, epoch = set(), [], None
        for life in range(4):
            if life == 2:
                self.write('keys', lines('p2', 'c1'))  # nothing has to be opened here
            server = self.serve()
            peer = await self.join('/ws?client_id=c', server=server)
            begun = await peer.subscribe('d.a', **(
                {'offset': 0, 'epoch': epoch} if records else {}))
            epoch = begun['payload']['epoch']
            back = [await peer.expect('data_update') for _ in records]
            self.assertEqual(back, records)
            for number in range(10):
                await peer.publish('d.a', [CANARY, number], id=f'{life}.{number}',
                                   ack_required=True)
            for _ in range(20):
                answer = await peer.receive()
                if answer['type'] == 'data_update':
                    records.append(answer)
                else:
                    self.assertEqual(answer['type'], 'ack')
            boxes |= {box_of(record)[1] for record in records}
            self.assertEqual(len(boxes), len(records))
            server.kill()
        self.assertEqual({box_of(record)[0] for record in records}, {'p1', 'p2'})
        for path in Path(self.folder.name).glob('store*'):
            self.assertNotIn(b'canary', path.read_bytes(), path)
        with self.serve() as server:
            async with await PackageClient.connect(
                    server, sealed={'keys': KEYS}) as client:
                await client.subscribe('d.a', since={'offset': 0, 'epoch': epoch})
                got = [(await client.until('message'))['payload'] for _ in records]
                self.assertEqual(got, [[CANARY, number] for _ in range(4) for number in range(10)])


class Refusing(Sealed):
    def refused(self, code, *words, **settings):
        done = subprocess.run(command(**{'topic': 'a: seal=prices', **settings}),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=PATIENCE_S)
        self.assertEqual(done.returncode, code, done)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for key in KEYS.values():
            self.assertNotIn(key[:16], done.stderr)

    async def test_a_key_file_that_will_not_do_is_one_line(self):
        self.refused(2, "--topic: 'a': seal needs --seal-keys-file")
        self.refused(2, "'seal=x/y' is not allowed", topic='a: seal=x/y',
                     seal_keys_file=self.keys)
        self.refused(1, '--seal-keys-file', 'No such file',
                     seal_keys_file=str(Path(self.folder.name) / 'nowhere'))
        self.refused(1, 'it is no regular file', seal_keys_file=self.folder.name)
        fifo = str(Path(self.folder.name) / 'fifo')
        os.mkfifo(fifo, 0o600)
        self.refused(1, 'it is no regular file', seal_keys_file=fifo)
        for mode in [0o604, 0o602, 0o620, 0o601]:
            self.refused(1, 'others may read or write it: chmod 600',
                         seal_keys_file=self.write('open', lines('p1'), mode))
        for text, word in [('', 'no key is in it'), (lines('c1'), 'no key of this name'),
                           ('prices p1', 'line 1: a line is NAME ID KEY'),
                           (lines('p1', 'p1'), 'line 3: this id is there already'),
                           ('# ' + 'x' * (256 << 10), 'larger than 256KiB')]:
            with self.subTest(word):
                self.refused(1, word, seal_keys_file=self.write('bad', text))
        self.serve(seal_keys_file=self.write('group', lines('p1', 'c1'), 0o640)).stop()

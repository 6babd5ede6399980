"""`ringcast`, the tool: publishing and subscribing from a shell, and its load test as a check."""
import asyncio
import contextlib
import json
import os
import re
import subprocess
import tempfile

from harness import PATIENCE_S, Server, Test, UNLIMITED_RATE


class ToolTest(Test):
    @contextlib.asynccontextmanager
    async def running(self, *arguments, server=None):
        process = await asyncio.create_subprocess_exec(
            os.environ['RINGCAST'], *arguments, '--url',
            f'ws://127.0.0.1:{(server or self.server).port}',
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    @staticmethod
    async def ended(process, given=''):
        """(exit code, stdout, stderr)"""
        out, errors = await asyncio.wait_for(process.communicate(given.encode()), 6 * PATIENCE_S)
        return process.returncode, out.decode(), errors.decode()

    async def ringcast(self, *arguments, given=''):
        async with self.running(*arguments) as process:
            return await self.ended(process, given)


class Tool(ToolTest):
    settings = UNLIMITED_RATE

    async def test_pub_publishes_a_message_or_each_line(self):
        peer = await self.join()
        await peer.subscribe('tool.pub')
        code, _, errors = await self.ringcast('pub', 'tool.pub', '{"a": 1}')
        self.assertEqual(code, 0, errors)
        await peer.expect('data_update', topic='tool.pub', payload={'a': 1})
        code, _, errors = await self.ringcast('pub', 'tool.pub', given='one\n2\n"three"\n')
        self.assertEqual(code, 0, errors)
        for payload in ['one', 2, 'three']:
            await peer.expect('data_update', payload=payload)

    async def test_sub_prints_what_is_published(self):
        sender = await self.join()
        listening = asyncio.create_task(self.ringcast('sub', 'tool.sub', '-n', '2'))
        while not listening.done():  # until it has subscribed and heard two
            await sender.publish('tool.sub', {'b': [1, 2]})
            await asyncio.wait([listening], timeout=0.05)
        code, out, errors = listening.result()
        self.assertEqual((code, out), (0, '{"b": [1, 2]}\n' * 2), errors)

    async def test_a_load_test_finds_nothing_lost_repeated_or_out_of_order(self):
        for arguments in [['fanout', '-c', '50', '-t', '3', '-m', '2000'],
                          ['fanout', '-c', '50', '-t', '3', '-m', '2000', '--envelope'],
                          ['echo', '-c', '20', '-m', '2000']]:
            with self.subTest(' '.join(arguments)):
                code, _, errors = await self.ringcast('bench', *arguments, '--check', '--quiet')
                self.assertEqual(code, 0, errors)


class Keyed(ToolTest):
    settings = {**UNLIMITED_RATE, 'topic': 'k: keyed'}

    async def test_a_keyed_topic_gives_fast_ones_all_and_slow_ones_the_latest_of_each_key(self):
        with tempfile.NamedTemporaryFile('r') as file:
            code, out, errors = await self.ringcast(
                'bench', 'keyed', '--topic', 'k', '-c', '40', '--slow', '10', '--keys', '50',
                '-r', '5000', '-d', '1', '-s', '1000', '--compare', '--quiet',
                '--json', file.name)
            self.assertEqual(code, 0, errors)
            figures = json.load(file)
        self.assertTrue(figures['verdict']['sound'], figures)
        for phase in ('delivery', 'without_slow'):
            self.assertEqual(figures[phase]['published'], 5000)
            self.assertEqual(figures[phase]['delivered'] + figures[phase]['conflated'],
                             30 * 5000)
        # Ten times 5,000 kB are more than sockets hold, so the rest was superseded.
        self.assertGreater(figures['slow']['conflated'], 0)
        self.assertEqual(figures['slow']['delivered'] + figures['slow']['conflated'], 10 * 5000)
        self.assertIn('p99 with / without slow', out)

    async def test_a_topic_without_keys_is_refused_by_the_load_test_for_keys(self):
        code, _, errors = await self.ringcast('bench', 'keyed', '--topic', 'plain', '-c', '2',
                                              '--slow', '0', '-d', '1')
        self.assertEqual(code, 1)
        self.assertIn('the topic is not keyed', errors)


class Lines(ToolTest):
    """`ringcast pub` from stdin, with the rates that are the default, and short timers."""
    # Two seconds, since our own clients must answer within them on a busy machine too.
    settings = {'ping_interval': '300ms', 'pong_timeout': '2s'}
    counted = re.compile(r'lines published: ([\d,]+); sent, and perhaps published: ([\d,]+)')

    async def test_pub_stays_through_a_pause_of_many_pings(self):
        peer = await self.join()
        await peer.subscribe('lines.pause')
        async with self.running('pub', 'lines.pause') as process:
            for line in ['one', 'two']:
                process.stdin.write(f'{line}\n'.encode())
                await peer.expect('data_update', payload=line)
                await peer.nothing_more(3.5)
            code, _, errors = await self.ended(process)
            self.assertEqual((code, errors), (0, ''))

    async def test_pub_keeps_to_the_rate_that_the_server_allows(self):
        peer = await self.join()
        await peer.subscribe('lines.many')
        numbers = range(1000)
        publishing = asyncio.create_task(
            self.ringcast('pub', 'lines.many', given=''.join(f'{n}\n' for n in numbers)))
        for number in numbers:
            await peer.expect('data_update', payload=number)
        code, _, errors = await publishing
        self.assertEqual((code, errors), (0, ''))

    async def test_pub_says_why_it_was_closed_and_what_got_through(self):
        peer = await self.join()
        await peer.subscribe('lines.fast')
        code, _, errors = await self.ringcast(
            'pub', 'lines.fast', '--rate', 'max', given='line\n' * 1000)
        self.assertEqual(code, 1)
        self.assertIn('code 4029: too many messages', errors)
        known, perhaps = (int(n.replace(',', '')) for n in self.counted.search(errors).groups())
        for _ in range(known):
            await peer.expect('data_update', payload='line')
        more = 0
        with contextlib.suppress(asyncio.TimeoutError):
            while await asyncio.wait_for(peer.socket.recv(), 0.5):
                more += 1
        self.assertLessEqual(more, perhaps)

    async def test_pub_leaves_when_the_server_does_without_waiting_for_a_line(self):
        with Server() as server:
            peer = await self.join(server=server)
            await peer.subscribe('lines.end')
            async with self.running('pub', 'lines.end', server=server) as process:
                process.stdin.write(b'one\n')
                await peer.expect('data_update', payload='one')
                server.terminate()
                errors = await asyncio.wait_for(process.stderr.read(), PATIENCE_S)
                self.assertEqual(await process.wait(), 1)
                self.assertIn('code 1012', errors.decode())
                self.assertIn('lines published: 1; sent, and perhaps published: 0', errors.decode())

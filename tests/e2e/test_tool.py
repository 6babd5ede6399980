"""`ringcast`, the tool: publishing and subscribing from a shell, and its load test as a check."""
import asyncio
import os
import subprocess

from harness import PATIENCE_S, Test, UNLIMITED_RATE


class Tool(Test):
    settings = UNLIMITED_RATE

    async def ringcast(self, *arguments, given=''):
        """(exit code, stdout, stderr)"""
        process = await asyncio.create_subprocess_exec(
            os.environ['RINGCAST'], *arguments, '--url', f'ws://127.0.0.1:{self.server.port}',
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, errors = await asyncio.wait_for(
                process.communicate(given.encode()), 6 * PATIENCE_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, out.decode(), errors.decode()

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

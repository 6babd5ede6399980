"""Memory that was promised: what is printed at start is kept, whoever asks for more."""
import contextlib
import json
import re
import subprocess
from pathlib import Path

from harness import PATIENCE_S, Server, Test, UNLIMITED_RATE, command
from rawsock import TEXT, RawClient, frame, upgrade

LIMIT_MIB = 160
SMALL = {'memory_max': f'{LIMIT_MIB}MiB', 'log_memory': '32MiB', 'message_max': '1MiB',
         'shards': 2, **UNLIMITED_RATE}


def in_memory(server):
    """MiB of the server's own memory and of its logs, as the kernel counts."""
    status = Path(f'/proc/{server.process.pid}/status').read_text(encoding='ascii')
    anonymous, shared = (int(re.search(rf'{name}:\s+(\d+) kB', status)[1]) / 1024
                         for name in ('RssAnon', 'RssShmem'))
    return anonymous, shared


class Memory(Test):
    settings = SMALL

    async def test_history_goes_first_then_newcomers_get_503_and_nobody_dies(self):
        reader, writer = await self.join(), await self.join()
        with RawClient(self.server, receive_buffer=4096) as slow:
            slow.send(upgrade('/raw?topic=m.full'))
            slow.response()
            for _ in range(64):
                await writer.publish('m.full', 'x' * 500_000)
            await writer.alive()
            _, logs = in_memory(self.server)
            self.assertGreater(logs, 4)

            half = frame(TEXT, b'x' * 900_000)[:-10]
            with contextlib.ExitStack() as stack:
                statuses = []
                while 503 not in statuses and len(statuses) < 200:
                    client = stack.enter_context(RawClient(self.server))
                    client.send(upgrade('/ws'))
                    status, headers, _ = client.response()
                    statuses.append(status)
                    if status == 101:
                        client.send(half)
                    await reader.alive()  # somebody who asks for little is served all the time
                self.assertEqual(set(statuses), {101, 503})
                self.assertGreaterEqual(int(headers['retry-after']), 1)
                self.assertGreater(len(statuses), 15)
                self.assertLess(in_memory(self.server)[1], logs)
                if not self.sanitized:
                    self.assertLess(sum(in_memory(self.server)), LIMIT_MIB)

    async def test_the_plan_is_printed_at_start(self):
        text = self.server.stderr()
        self.assertIn(f'memory: at most {LIMIT_MIB}MiB of {LIMIT_MIB}MiB (--memory-max)', text)
        self.assertRegex(text, r'memory: what grows: logs 2 x 16MiB = 32MiB, messages')

    @property
    def sanitized(self):
        """Their allocators take what they want."""
        return 'asan' in command()[0] or 'tsan' in command()[0]


class Refusing(Test):
    async def test_limits_that_do_not_fit_are_refused_in_one_line(self):
        for settings, lower in (({'memory_max': '64MiB'}, '--log-memory'),
                                ({'memory_max': '900000GiB'}, 'is more than'),
                                ({'memory_max': '128MiB', 'log_memory': '16MiB',
                                  'message_max': '64MiB'}, '--message-max')):
            with self.subTest(settings):
                done = subprocess.run(command(**settings), capture_output=True, text=True,
                                      stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
                self.assertEqual(done.returncode, 1, done)
                self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
                self.assertIn('memory', done.stderr)
                self.assertIn(lower, done.stderr)

"""What the process has given up once it serves, seen from inside and from outside."""
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from harness import PATIENCE_S, ROOT, Server, Test, command
from test_auth import log_of
from test_tls import certificate


def run(*arguments, **settings):
    done = subprocess.run(command(*arguments, **settings), stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def threads(server):
    """The status file of each thread of a server, as a dictionary."""
    for task in Path(f'/proc/{server.process.pid}/task').iterdir():
        lines = (line.split(':', 1) for line in Path(task, 'status').read_text().splitlines())
        yield {name: value.strip() for name, value in lines}


class Sandbox(Test):
    def need_sandbox(self):
        if 'this build has sanitizers' in self.server.stderr():
            self.skipTest('a build with sanitizers has no sandbox')

    async def test_all_that_must_fail_fails(self):
        self.need_sandbox()
        with tempfile.TemporaryDirectory() as folder:
            for settings in [{}, {'shards': 3}, {'store': f'{folder}/store.db'}]:
                with self.subTest(**settings):
                    code, out, errors = run('--sandbox-selftest', sandbox='on', **settings)
                    self.assertEqual(code, 0, out + errors)
                    self.assertRegex(out, r'sandbox: (\d+) of \1 as it should be')
                    self.assertNotIn('WRONG', out)
                    for what in ['read /etc/passwd', 'run a program', 'connect elsewhere',
                                 "signal another's thread", 'signals of a socket',
                                 "read another's limits", "write a process's memory",
                                 'open a process', 'trace a process']:
                        self.assertRegex(out, rf'{what} +(EPERM|EACCES) +ok')
                    rings = 'ring: connect elsewhere' in out
                    self.assertEqual(rings, os.environ['RINGCAST_IO'] == 'uring')

    async def test_without_a_sandbox_the_selftest_fails(self):
        code, out, errors = run('--sandbox-selftest', sandbox='off')
        self.assertEqual(code, 1, out + errors)
        self.assertIn('WRONG', out)
        self.assertIn('sandbox: off', errors)

    async def test_every_thread_is_inside(self):
        self.need_sandbox()
        with Server(shards=3) as server:
            inside = list(threads(server))
            self.assertGreaterEqual(len(inside), 4)
            for status in inside:
                with self.subTest(status['Name']):
                    self.assertEqual((status['Seccomp'], status['NoNewPrivs']), ('2', '1'))
            await (await self.join(server=server)).alive()
            self.assertIn('info sandbox: no new privileges, Landlock', server.stderr())
        with Server(sandbox='off') as server:
            self.assertEqual({status['Seccomp'] for status in threads(server)}, {'0'})

    async def test_root_becomes_somebody_else(self):
        if os.geteuid() != 0:
            self.skipTest('needs root')
        nobody = pwd.getpwnam('nobody')
        with Server(user='nobody') as server:
            for status in threads(server):
                self.assertEqual(status['Uid'].split(), [str(nobody.pw_uid)] * 4)
                self.assertEqual(status['Gid'].split(), [str(nobody.pw_gid)] * 4)
                self.assertEqual(status['Groups'], '')
                self.assertEqual(int(status['CapEff'], 16), 0)
            peer = await self.join(server=server)
            await peer.subscribe('t')
            await peer.publish('t', 1)
            await peer.expect('data_update')

    async def test_files_that_the_user_cannot_read_again_are_named(self):
        if os.geteuid() != 0:
            self.skipTest('needs root')
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            files = {flag: Path(folder, flag) for flag in
                     ['auth_key_file', 'seal_keys_file', 'tls_cert', 'tls_key']}
            texts = [b'a secret of the server, long enough\n',
                     f'k k1 {bytes(range(32)).hex()}'.encode(),
                     *(Path(file).read_bytes() for file in certificate('user', 'a.test'))]
            for file, text in zip(files.values(), texts):
                file.write_bytes(text)
                file.chmod(0o600)
            settings = {**files, 'dev': False, 'user': 'nobody', 'auth_alg': 'HS256',
                        'topic': 's: seal=k', 'tls_listen': '127.0.0.1:0'}
            with Server(**settings) as server:
                for flag in files:
                    self.assertRegex(log_of(server), 'warn.* a SIGHUP will fail, as user nobody: '
                                     f"--{flag.replace('_', '-')} .*: Permission denied")
            for file in files.values():  # the one that runs may own them, from the start
                shutil.chown(file, 'nobody')
            with Server(**settings) as server:
                self.assertNotIn('will fail', log_of(server))
                server.process.send_signal(signal.SIGHUP)
                end = time.monotonic() + PATIENCE_S
                for words in ['certificates are read again', 'keys of tokens were read again',
                              'seal keys: 1 keys']:
                    while words not in log_of(server):
                        self.assertLess(time.monotonic(), end)

    async def test_a_store_is_written_from_inside(self):
        with tempfile.TemporaryDirectory() as folder:
            settings = {'store': f'{folder}/store.db', 'topic': 'd: durable, history=10'}
            for round_ in range(2):
                with Server(**settings) as server:
                    peer = await self.join(server=server)
                    answer = await peer.publish_acked('d', 'x' * 30_000)
                    self.assertEqual(answer['offset'], round_ + 1)

    async def test_what_is_wrong_is_said_in_one_line(self):
        for settings, code, what in [({'user': 'no-such-user'}, 1, "--user 'no-such-user'"),
                                     ({'sandbox': 'maybe'}, 2, "'maybe'"),
                                     ({'user': ''}, 2, '--user')]:
            with self.subTest(**settings):
                got, _, errors = run(**settings)
                self.assertEqual(got, code, errors)
                self.assertEqual(len(errors.strip().splitlines()), 1, errors)
                self.assertIn(what, errors)

    async def test_a_crash_is_still_one(self):
        server = Server()
        server.process.send_signal(signal.SIGABRT)
        self.assertEqual(server.wait(), -signal.SIGABRT)
        server.errors.close()


class Deploy(unittest.TestCase):
    def test_the_unit_is_tight(self):
        if not shutil.which('systemd-analyze'):
            self.skipTest('systemd-analyze is not installed')
        unit = ROOT / 'deploy/ringcast.service'
        done = subprocess.run(['systemd-analyze', 'security', '--offline=yes', str(unit)],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        level = re.search(r'exposure level for \S+: ([\d.]+)', done.stdout)
        self.assertIsNotNone(level, done.stdout + done.stderr)
        self.assertLessEqual(float(level[1]), 1.4, done.stdout)

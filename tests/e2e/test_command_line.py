"""What the command line answers: one line naming the flag, what was given and what is allowed."""
import os
import re
import socket
import subprocess
import unittest
from pathlib import Path

from harness import FLAGS, PATIENCE_S, Server, command


def run(*arguments, **settings):
    done = subprocess.run(command(*arguments, **settings), stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


class CommandLine(unittest.TestCase):
    def test_a_wrong_flag_is_answered_in_one_line(self):
        rows = [
            ('shards', '65'),
            ('shards', '-1'),
            ('shards', 'many'),
            ('shards', '1.5'),
            ('io', 'kqueue'),
            ('listen', 'nonsense'),
            ('listen', '127.0.0.1:99999'),
            ('ping_interval', '-1s'),
            ('ping_interval', 'soon'),
            ('ping_interval', '25'),
            ('message_max', '64KB!'),
            ('connections_max', '1e9'),
        ]
        for name, given in rows:
            with self.subTest(flag=name, given=given):
                code, out, errors = run(**{name: given})
                self.assertEqual((code, out), (2, ''))
                self.assertEqual(len(errors.strip().splitlines()), 1, errors)
                self.assertIn(FLAGS[name], errors)
                self.assertIn(given, errors)

    def test_an_unknown_flag_is_named(self):
        code, _, errors = run('--no-such-flag')
        self.assertEqual(code, 2)
        self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        self.assertIn('--no-such-flag', errors)

    def test_a_port_in_use_is_said_in_one_line(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            address = f'127.0.0.1:{taken.getsockname()[1]}'
            code, _, errors = run(listen=address)
        self.assertEqual(code, 1)
        self.assertEqual(len(errors.strip().splitlines()), 1, errors)
        self.assertIn(address, errors)

    def test_too_low_a_file_limit_is_said_in_one_line(self):
        done = subprocess.run(['prlimit', '--nofile=100:100', *command('--shards', '8')],
                              capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn('the file limit is 100', done.stderr)

    def test_a_port_that_we_may_not_use_is_said_in_one_line(self):
        if os.geteuid() != 0:
            self.skipTest('needs root, to give up the right to low ports')
        if int(Path('/proc/sys/net/ipv4/ip_unprivileged_port_start').read_text()) <= 1:
            self.skipTest('here everybody may use low ports, as in many containers')
        line = ['setpriv', '--bounding-set=-net_bind_service', *command(listen='127.0.0.1:1')]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn('127.0.0.1:1: Permission denied', done.stderr)

    def test_help_and_version(self):
        for arguments, what in [(['--help'], 'serve'), (['serve', '--help'], '--listen'),
                                (['version'], r'\d+\.\d+\.\d+')]:
            with self.subTest(arguments):
                done = subprocess.run([command()[0], *arguments], stdout=subprocess.PIPE, text=True,
                                      timeout=PATIENCE_S)
                self.assertEqual(done.returncode, 0)
                self.assertRegex(done.stdout, what)

    def test_the_ready_line_says_which_back_end_and_how_many_shards(self):
        with Server(shards=3) as server:
            self.assertRegex(server.ready_line, re.escape(
                f'listening on http://127.0.0.1:{server.port} (')
                + r'(uring|epoll), 3 shards\)')

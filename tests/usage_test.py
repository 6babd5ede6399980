#!/usr/bin/python3
"""What the server and the testers say to wrong words: one line on standard error, and exit code 2.

    tests/usage_test.py RINGCAST_SIM REPLAY RINGCASTD     three programs; the scripts it knows
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIM, REPLAY, RINGCASTD = None, None, None  # set below, from the command line


class UsageTest(unittest.TestCase):
    def refuses(self, *command):
        done = subprocess.run([str(word) for word in command], text=True, errors='replace',
                              capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        with self.subTest(command=' '.join(str(word) for word in command[1:])):
            self.assertEqual(done.returncode, 2, done)
            self.assertRegex(done.stderr, r'^[a-z-]+: [^\n]+\n$')
            self.assertEqual(done.stdout, '')
        return done.stderr

    def test_ringcast_sim_refuses_wrong_options(self):
        for words in (
                [], ['--seed'], ['--seed', ''], ['--seed', '-1'], ['--seed', '1x'],
                ['--seed', '18446744073709551616'], ['--seeds', '1'], ['--seeds', '2..1'],
                ['--seeds', '1..'], ['--seed', '1', '--seeds', '1..2'],
                ['--seed', '1', '--nonsense', '1'], ['--seed', '1', '--nonsense'],
                ['--seed', '1', '--conns', '0'], ['--seed', '1', '--shards', '65'],
                ['--seed', '1', '--topics', '11'], ['--seed', '1', '--jobs', '65'],
                ['--seed', '1', '--plant', '41'],
                ['--seed', '1', '--ledger', '/nowhere/at/all'],
                ['--seed', '1', '--record', '/nowhere/at/all'],
                ['--seeds', '1..2', '--record', '/dev/null'],
                ['--seed', '1', '--conns', '3', '--record', '/dev/null'],
                ['--seed', '1', '--replay', '/dev/null'],
                ['--record', '/dev/null', '--replay', '/dev/null']):
            self.refuses(SIM, *words)

    def test_ringcast_sim_refuses_files_that_are_not_there_or_wrong(self):
        with tempfile.TemporaryDirectory() as folder:
            seeds = Path(folder, 'seeds')
            for text in ('', '# nothing\n', 'x marks\n', '12 fine\n-3 not\n', '1,2\n'):
                seeds.write_text(text)
                self.refuses(SIM, '--regress', seeds)
            for option in ('--regress', '--replay'):
                self.refuses(SIM, option, Path(folder, 'none'))
                self.refuses(SIM, option, folder)

    def test_a_replay_refuses_files_that_are_not_there(self):
        with tempfile.TemporaryDirectory() as folder:
            self.refuses(REPLAY)
            self.refuses(REPLAY, folder)
            self.refuses(REPLAY, Path(folder, 'none'))

    def test_ringcastd_refuses_wrong_rules(self):
        for rule in ('', 'prices.*', ': keyed', 'a: histry=1', 'a: history', 'a: history=-1',
                     'a: history-age=60', 'a: keyed, keyed', 'a: keyed, history=1',
                     'a: policy=drop', 'a.>.b: keyed', 'a\nb'):
            self.refuses(RINGCASTD, 'serve', '--topic', rule)

    def test_ringcastd_refuses_wrong_files_and_names_them(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'ringcast.toml')
            for text in ('pingx = 3', 'shards = "2"', 'shards = 65', 'shards = 1\nshards = 2',
                         'listen = "a"', 'listen = ["a"]', 'dev = 1', '[dev]', 'a.b = 1', 'x',
                         'topic = 1', '[[topic]]\nkeyed = true', '"a\\nb" = 1',
                         '[[topic]]\npattern = "a"\nhistory = -1',
                         'dev = true\nlisten = ["0.0.0.0:80"]'):
                file.write_text(text)
                said = self.refuses(RINGCASTD, 'serve', '--config', file)
                self.assertRegex(said, f'^ringcastd: {file}:[12]?[0-9]: ')
            file.write_text('dev = true')
            self.refuses(RINGCASTD, 'serve', '--config', file, '--listen', '0.0.0.0:80')
            for nothing in (Path(folder, 'none'), folder, ''):
                self.refuses(RINGCASTD, 'serve', '--config', nothing)

    def test_scripts_fuzz_refuses_wrong_words(self):
        for words in (['nonsense'], ['--keep', 'nonsense'], ['framer', '0'], ['framer', '-1'],
                      ['framer', '1e3'], ['framer', '99999'], ['framer', '5', '5'],
                      ['--keep', 'framer', '5'], ['--nonsense']):
            self.refuses(ROOT / 'scripts/fuzz', *words)

    def test_scripts_plants_refuses_wrong_words(self):
        for words in (['0'], ['41'], ['five'], ['--seeds'], ['--seeds', '0'], ['--seeds', 'x', '5'],
                      ['--sim', '/nowhere/at/all', '5'], ['--sim', ROOT, '5'], ['--nonsense']):
            self.refuses(ROOT / 'scripts/plants', *words)


if __name__ == '__main__':
    SIM, REPLAY, RINGCASTD = sys.argv[1:4]
    unittest.main(argv=sys.argv[:1])

#!/usr/bin/env python3
"""Tests of scripts/run_tests.py: what is counted, from programs that say what real ones say."""
import importlib.util
import os
import re
import sys
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = importlib.util.spec_from_file_location('run_tests',
                                              os.path.join(HERE, '../scripts/run_tests.py'))
run_tests = importlib.util.module_from_spec(SPEC)
sys.modules['run_tests'] = run_tests  # its dataclasses look there
SPEC.loader.exec_module(run_tests)

# One seed of these worlds fails, and one kills the program.
SIMULATOR = """#!/bin/sh
first=${{2%%..*}} last=${{2##*..}}
for bad in {bad}; do
    [ "$bad" -ge "$first" ] && [ "$bad" -le "$last" ] || continue
    echo "FAILED: a hole" >&2
    echo "seed $bad" >&2
    echo "replay: ringcast-sim --seed $bad" >&2
    echo "$((bad - first + 1)) seeds (0 run twice), 7 events"
    exit 1
done
for worst in {worst}; do
    if [ "$worst" -ge "$first" ] && [ "$worst" -le "$last" ]; then kill -9 $$; fi
done
echo "$((last - first + 1)) seeds (1 run twice), 1000 events"
"""


class RunTestsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.shown = []
        for name, value in {'print': lambda *words, **_: self.shown.append(' '.join(words)),
                            'simulator': lambda kind: str(self.folder / kind),
                            'base_seed': lambda: (5000, 'commit abc')}.items():
            patch = mock.patch.object(run_tests, name, value, create=True)
            patch.start()
            self.addCleanup(patch.stop)

    def program(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding='ascii')
        path.chmod(0o755)

    def seeds(self, kind):
        seeds = run_tests.FreshSeeds(kind)
        with ThreadPoolExecutor(2) as pool:
            seeds.start(pool)
        return seeds()

    def test_seeds_are_counted_in_blocks_and_their_figures_summed(self):
        self.program('release', SIMULATOR.format(bad='', worst=''))
        tally = self.seeds('release')
        self.assertEqual((tally.passed, tally.failed), (run_tests.BLOCKS, []))
        self.assertEqual(self.shown, ['release, commit abc: 10,000 seeds (40 run twice), '
                                      '40,000 events'])

    def test_no_build_runs_the_seeds_of_another(self):
        ranges = []
        for kind in run_tests.KINDS:
            seeds = run_tests.FreshSeeds(kind)
            with ThreadPoolExecutor(2) as pool, \
                    mock.patch.object(run_tests, 'run', lambda *_: (0, '')):
                seeds.start(pool)
            ranges += [[int(n) for n in name.split('..')] for name, _ in seeds.blocks]
        ranges.sort()
        self.assertEqual(ranges[0][0], 5000)
        for (_, last), (first, _) in zip(ranges, ranges[1:]):
            self.assertEqual(first, last + 1)

    def test_a_seed_that_fails_is_named_with_its_command(self):
        self.program('release', SIMULATOR.format(bad='5003 9999', worst=''))
        tally = self.seeds('release')
        self.assertEqual(tally.passed, run_tests.BLOCKS - 2)
        self.assertEqual(tally.failed, [
            f'seeds:release 5000..5249: {self.folder}/release --seed 5003',
            f'seeds:release 9750..9999: {self.folder}/release --seed 9999'])
        self.assertTrue(any('replay: ringcast-sim --seed 5003' in text for text in self.shown))

    def test_a_simulator_that_dies_is_a_failure(self):
        self.program('asan', SIMULATOR.format(bad='', worst='15010'))
        tally = self.seeds('asan')
        self.assertEqual(tally.passed, run_tests.BLOCKS - 1)
        self.assertEqual(tally.failed, ['seeds:asan 15000..15024: exit code -9'])

    def test_no_simulator_is_a_failure_too(self):
        self.assertEqual(len(self.seeds('release').failed), run_tests.BLOCKS)

    def ways(self, **hashes):
        for kind, text in hashes.items():
            self.program(kind, f'#!/bin/sh\nfor seed in 1 2 3 4 5 6 7 8 9 10; do\n'
                               f'    echo "seed $seed hash {text} events 5"\ndone\n')
        return run_tests.same_ways()

    def test_traces_are_compared(self):
        same, other = '0123456789abcdef', '0123456789abcdee'
        self.assertEqual(self.ways(release=same, asan=same).passed, 1)
        tally = self.ways(release=same, asan=other)
        self.assertEqual((tally.passed, len(tally.failed)), (0, 1))
        self.assertEqual((tally.failed), ['same-ways: exit code 1'])
        tally = self.ways(release=same, asan='none')
        self.assertEqual((tally.passed, tally.failed), (0, ['same-ways: exit code 2']))
        (self.folder / 'asan').unlink()
        self.assertEqual(run_tests.same_ways().failed, ['same-ways: exit code 2'])

    def test_a_commit_gives_the_base_seed(self):
        with mock.patch.object(run_tests, 'run', lambda *_: (0, '0123456789ab' + 28 * 'c' + '\n')):
            self.assertEqual(REAL_BASE_SEED(), (0x0123456789ab, 'commit 0123456789ab'))
        for answer in [(128, 'fatal: not a git repository\n'), (127, 'no git'), (0, 'HEAD\n')]:
            with mock.patch.object(run_tests, 'run', lambda *_, said=answer: said):
                self.assertEqual(REAL_BASE_SEED()[0], 1_000_000)

    def test_doctest_cases_are_counted_and_named(self):
        text = ('TEST CASE:  log: one\n\na.cc:1: ERROR: CHECK( a ) is NOT correct!\n'
                'SKIPPED K1: no kernel\n'
                'b.cc:9: MESSAGE: SKIPPED K2: no seccomp\n'
                '[doctest] test cases: 10 | 9 passed | 1 failed | 0 skipped\n')
        tally = run_tests.count_meson_test(
            {'name': 'ringcast:unit / feed', 'result': 'FAIL', 'stdout': text}, 'asan')
        self.assertEqual((tally.passed, tally.failed, tally.skipped),
                         (7, ['asan feed: log: one'],
                          ['asan K1: no kernel', 'asan K2: no seccomp']))
        for result, failed in [('OK', 0), ('TIMEOUT', 1), ('ERROR', 1)]:
            tally = run_tests.count_meson_test({'name': 'tidy', 'result': result}, 'asan')
            self.assertEqual((tally.passed, len(tally.failed)), (1 - failed, failed))

    def test_every_step_can_be_named_alone(self):
        names = [step.name for step in run_tests.STEPS]
        self.assertEqual(len(set(names)), len(names))
        for step in run_tests.STEPS:
            chosen = [each.name for each in run_tests.choose([step.name])]
            self.assertEqual(chosen, [name for name in names if name == step.name
                                      or name in [f'build:{kind}' for kind in step.builds]])

    def test_a_step_that_runs_nothing_is_a_failure(self):
        step = run_tests.Step('empty', run_tests.Tally)
        total = run_tests.run_steps([step], None)
        self.assertEqual((total.passed, total.failed), (0, ['empty: no test ran']))

    def test_steps_of_a_group_run_at_the_same_time(self):
        both = threading.Barrier(2)  # passed by two, or broken after the time

        def meet():
            both.wait(60)
            return run_tests.Tally(1)

        steps = [run_tests.Step(name, meet, group='g') for name in 'ab']
        total = run_tests.run_steps([*steps, run_tests.Step('c', lambda: run_tests.Tally(1))], None)
        self.assertEqual(str(total), '3 passed, 0 failed, 0 skipped')

    def test_a_step_whose_build_failed_is_not_run(self):
        steps = [run_tests.Step('build:x', run_tests.build, ('no such kind',), ('x',), alone=True),
                 run_tests.Step('a', lambda: run_tests.Tally(1), (), ('x',), group='g'),
                 run_tests.Step('b', lambda: run_tests.Tally(1), group='g')]
        total = run_tests.run_steps(steps, None)
        self.assertEqual(total.passed, 1)
        self.assertEqual(total.failed, ['build no such kind', 'a: not run'])

    def test_a_program_that_takes_too_long_may_clean_up(self):
        self.program('slow', f"""#!/bin/sh
trap 'echo cleaned; touch {self.folder}/cleaned; exit 0' TERM
sleep 60 & echo begun; wait
""")
        code, text = run_tests.run([self.folder / 'slow'], 1)
        self.assertEqual((code, text), (124, 'begun\ncleaned\n\nstopped after 1 s'))
        self.assertTrue((self.folder / 'cleaned').exists())


REAL_BASE_SEED = run_tests.base_seed

if __name__ == '__main__':
    unittest.main()

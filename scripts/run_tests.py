#!/usr/bin/python3
"""Runs every test and ends with one line: `N passed, N failed, N skipped`.

    scripts/test                 all steps
    scripts/test e2e:uring       only the steps whose name contains an argument
    scripts/test --list          their names

Each step is a build, a meson test run or one program; the counts are what those programs report of
themselves: doctest cases, node tests, end-to-end tests, and one for each test that has no cases
(a fuzz target, a block of the simulator's seeds, a benchmark that runs for a moment, the house
rules). A case that found that this machine cannot show its fact prints `SKIPPED <name>: <why>` and
is counted as skipped. A program that dies counts as a failure whatever it printed before.

Seeds of the simulator and of the fuzzers follow from the commit: each commit gets worlds that no
other had, and the same ones again when it is run again. The worlds run beside the steps that mostly
wait, at a low priority; builds, unit tests and chaos scenarios have the machine to themselves.

Standard library only. Run it through scripts/test, which installs what is missing first.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent
PYTHON = '/usr/bin/python3'  # the one that has Debian's modules, whatever PATH says
E2E_LIMIT_S = 600
CHAOS_LIMIT_S = 900
TESTS_LIMIT_S = 900
THREADS_LIMIT_S = 180  # a program
END_LIMIT_S = 20       # to clean up after SIGTERM
BUILD_LIMIT_S = 1800
SEEDS_LIMIT_S = 900  # a block, which may have a small share of a CPU only
FUZZ_S = 5           # a target
FRESH_SEEDS = {'release': 10_000, 'asan': 1_000}
BLOCKS = 40          # of seeds, a build
TSAN_TARGETS = ['tests/base/base_test', 'tests/node/node_threads_test']
# Where the scheduler groups by session (sched_autogroup) niceness counts within one only: the group
# has its own.
GIVE_WAY = ['sh', '-c', 'echo 5 >/proc/self/autogroup; exec nice -n 5 "$@"', 'give-way']
# Abort: ringcast-sim then says which world it was.
SANITIZERS = {'ASAN_OPTIONS': 'detect_leaks=1:strict_string_checks=1:abort_on_error=1',
              'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1:abort_on_error=1'}


def cpu_count():
    """How many we may use: a container's share may be less than what it sees."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path('/sys/fs/cgroup/cpu.max').read_text(encoding='ascii').split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no such file, or no limit ("max")
    return count


CPUS = cpu_count()


@dataclass
class Tally:
    passed: int = 0
    failed: list[str] = field(default_factory=list)   # names
    skipped: list[str] = field(default_factory=list)  # "name: why"

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f'{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped'


def end(process):
    """Ends a program that took too long, and what it started: SIGTERM first, so that meson writes
    its log and scenarios take down what they have put up."""
    for number, limit_s in [(signal.SIGTERM, END_LIMIT_S), (signal.SIGKILL, END_LIMIT_S)]:
        try:
            os.killpg(process.pid, number)
            return process.communicate(timeout=limit_s)[0]
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
    return ''


def run(command, limit_s, env=None):
    """(exit code, output of both streams). A program that takes too long is a failed one."""
    try:
        process = subprocess.Popen(command, cwd=ROOT, text=True, errors='replace',
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env={**os.environ, **(env or {})},
                                   start_new_session=True)
    except OSError as why:
        return 127, str(why)
    try:
        text = process.communicate(timeout=limit_s)[0]
        return process.returncode, text
    except subprocess.TimeoutExpired:
        return 124, f'{end(process)}\nstopped after {limit_s} s'
    except KeyboardInterrupt:
        end(process)
        raise


def base_seed():
    """(the first of this commit's seeds, where it comes from)"""
    code, text = run(['git', '-c', 'safe.directory=*', 'rev-parse', 'HEAD'], 30)
    if code or not re.fullmatch(r'[0-9a-f]{40,64}\n', text):
        return 1_000_000, 'no commit here, so the same as ever'
    return int(text[:12], 16), f'commit {text[:12]}'


def show(text, lines=60):
    print('\n'.join('    ' + line for line in text.rstrip().splitlines()[-lines:]))


# --- What the programs say of themselves ---------------------------------------------------------

DOCTEST = re.compile(r'^\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed \|'
                     r' +(\d+) skipped', re.M)
FAILED_CASE = re.compile(r'^TEST CASE: +(.+)\n(?:(?!TEST CASE:).*\n)*?.*\bERROR\b', re.M)
SKIPPED = re.compile(r'^(?:\S+: MESSAGE: )?SKIPPED (.+?): (.+)$', re.M)  # doctest says where
ESCAPE = re.compile(r'\x1b\[[0-9;]*m')
TAP = re.compile(r'^# (pass|fail|skipped|todo) (\d+)$', re.M)


def count_meson_test(test, where):
    """One line of meson's testlog.json."""
    name = f"{where} {test['name'].split(' / ')[-1]}"  # without the project and the suite
    text = ESCAPE.sub('', (test.get('stdout') or '') + '\n' + (test.get('stderr') or ''))
    ok = test['result'] in ('OK', 'EXPECTEDFAIL')
    if test['result'] == 'SKIP':
        return Tally(skipped=[f'{name}: exit code 77'])
    skipped = [f'{where} {m[1]}: {m[2]}' for m in SKIPPED.finditer(text)]
    summary = DOCTEST.search(text)
    if not summary:
        return Tally(1 if ok and not skipped else 0, [] if ok else [name], skipped)
    passed, failed = int(summary[1]), int(summary[2])
    failures = [f'{name}: {case.strip()}' for case in dict.fromkeys(FAILED_CASE.findall(text))]
    if failed == 0 and ok:
        failures = []
    elif len(failures) != failed or not failures:
        failures = failures[:failed] + [name] * (max(failed, 1) - len(failures[:failed]))
    return Tally(max(passed - len(skipped), 0), failures, skipped)


def count_tap(text, code, name):
    found = {word: int(number) for word, number in TAP.findall(text)}
    failed = re.findall(r'^\s*not ok \d+ - ([^#\n]+)', text, re.M)
    if code != 0 and not failed:
        failed = [f'exit code {code}']
    return Tally(found.get('pass', 0), [f'{name} {what.strip()}' for what in failed],
                 [f'{name}: skipped'] * (found.get('skipped', 0) + found.get('todo', 0)))


# --- Steps ---------------------------------------------------------------------------------------

def build(kind, *targets):
    code, text = run(['scripts/build', kind, *targets], BUILD_LIMIT_S)
    if code:
        show(text)
    return Tally(failed=[f'build {kind}']) if code else Tally()


def meson_tests(kind):
    folder = ROOT / 'build' / kind
    log = folder / 'meson-logs' / 'testlog.json'
    log.unlink(missing_ok=True)
    # Sanitizers and a busy machine are slower than the limits that each test states.
    code, text = run(['meson', 'test', '-C', str(folder), '--no-rebuild', '--print-errorlogs',
                      '--timeout-multiplier', '4'], TESTS_LIMIT_S, SANITIZERS)
    tally = Tally()
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            tally.add(count_meson_test(json.loads(line), kind))
        except ValueError:
            tally.failed.append(f'{kind}: meson test, a torn line in its log')
    if code and not tally.failed:
        tally.failed.append(f'{kind}: meson test, exit code {code}')
    if code:
        show(text)
    return tally


def threads():
    """What threads share, under ThreadSanitizer. It misses a race now and then, so five times."""
    options = f'suppressions={ROOT}/tests/tsan.supp exitcode=66'
    tally = Tally()

    def run_once(chosen):
        program, cases = chosen
        return program, *run([f'build/tsan/tests/{program}_test', f'-tc={cases}'],
                             THREADS_LIMIT_S, {'TSAN_OPTIONS': options})

    with ThreadPoolExecutor(CPUS) as pool:
        results = list(pool.map(run_once, [('base/base', 'mpsc*'), ('node/node_threads', '*')] * 5))
    for program, code, text in results:
        found = DOCTEST.search(text)
        skipped = SKIPPED.findall(text)
        tally.passed += max(0, int(found[1]) - len(skipped)) if found else 0
        tally.skipped += [f'threads {case}: {why}' for case, why in skipped]
        if code or not found or found[1] == '0':
            tally.failed.append(f'threads {program}: exit code {code}')
            show(text, 100)
    return tally


def page_tests():
    """The demo page and the client package, which is built as it would be published."""
    code, text = run(['node', 'web/client/build.mjs'], 120)
    if code:
        show(text)
        return Tally(failed=['web: the client does not build'])
    tests = sorted(str(p.relative_to(ROOT)) for folder in ('web', 'web/client/test')
                   for p in (ROOT / folder).glob('*.test.mjs'))
    code, text = run(['node', '--test', '--test-reporter=tap', *tests], 300)
    tally = count_tap(text, code, 'web')
    if tally.failed:
        show(text)
    return tally


def scenarios(name, program, kind, io, limit_s):
    code, text = run([PYTHON, program, '--build', f'build/{kind}', '--io', io], limit_s)
    words = re.findall(r'^(PASSED|FAILED|SKIPPED) (.+)$', text, re.M)
    tally = Tally(sum(word == 'PASSED' for word, _ in words),
                  [f'{name} {what}' for word, what in words if word == 'FAILED'],
                  [f'{name} {what}' for word, what in words if word == 'SKIPPED'])
    if code and not tally.failed:
        tally.failed.append(f'{name}: exit code {code}')
    if tally.failed:
        show(text, 150)
    return tally


def e2e(kind, io):
    """tests/e2e/run.py prints `PASSED|FAILED|SKIPPED <test>[: why]`, a line a test."""
    return scenarios(f'e2e:{kind}:{io}', 'tests/e2e/run.py', kind, io, E2E_LIMIT_S)


def chaos(kind, io):
    """tests/chaos/run.py prints `PASSED|FAILED|SKIPPED <scenario>[: figures or why]` likewise."""
    return scenarios(f'chaos:{kind}:{io}', 'tests/chaos/run.py', kind, io, CHAOS_LIMIT_S)


def fuzz(kind):
    """Each fuzz target for a moment, from the corpus on, with a seed of this commit."""
    seed = base_seed()[0] % (1 << 31) or 1  # 0 would be any
    found = ROOT / 'build' / kind / 'found'  # crashes of earlier runs stay there

    def run_target(program):
        target = program.name.removesuffix('_fuzz')
        shutil.rmtree(found / target / 'inputs', ignore_errors=True)
        (found / target / 'inputs').mkdir(parents=True)  # libFuzzer writes into the first folder
        inputs = [found / target / 'inputs', *(ROOT / 'tests/fuzz' / folder / target
                                               for folder in ('corpus', 'regressions'))]
        words = ROOT / 'tests/fuzz' / f'{target}.dict'
        options = ROOT / 'tests/fuzz' / f'{target}.options'
        code, text = run([program, f'-max_total_time={FUZZ_S}', f'-seed={seed}', '-max_len=1024',
                          *(options.read_text().split() if options.exists() else []),
                          '-timeout=60',
                          f'-artifact_prefix={found}/{target}/',
                          *([f'-dict={words}'] if words.exists() else []),
                          *(folder for folder in inputs if folder.is_dir())], 120, SANITIZERS)
        return target, code, text

    programs = sorted((ROOT / 'build' / kind / 'tests/fuzz').glob('*_fuzz'))
    tally = Tally() if programs else Tally(failed=[f'fuzz:{kind}: no targets'])
    with ThreadPoolExecutor(CPUS) as pool:
        for target, code, text in pool.map(run_target, programs):
            tally.passed += code == 0
            if code:
                show(text)
                unit = re.search(r'Test unit written to (\S+)', text)
                tally.failed.append(
                    f'fuzz {target}: build/{kind}/tests/fuzz/{target}_fuzz '
                    + (os.path.relpath(unit[1], ROOT) if unit else f': exit code {code}'))
    return tally


# --- Worlds --------------------------------------------------------------------------------------

def simulator(kind):
    return f'build/{kind}/tests/sim/ringcast-sim'


def same_ways():
    """A seed means the same world to both compilers, and with sanitizers: a trace has a hash."""
    code, text = run([PYTHON, 'tests/sim/same_hashes.py', '1..10', *map(simulator, KINDS)],
                     TESTS_LIMIT_S, SANITIZERS)
    if code:
        show(text)
    return Tally(failed=[f'same-ways: exit code {code}']) if code else Tally(1)


class FreshSeeds:
    """This commit's worlds, in blocks. A block that fails says how to run its last seed again."""

    def __init__(self, kind):
        self.kind, self.blocks, self.origin = kind, [], ''

    def start(self, pool):
        """From now on the blocks run, as many at once as there are CPUs, and give way to all else:
        but not without end, so not at the lowest priority."""
        base, self.origin = base_seed()
        first = base + sum(FRESH_SEEDS[kind] for kind in KINDS[:KINDS.index(self.kind)])
        size = FRESH_SEEDS[self.kind] // BLOCKS
        for begin in range(first, first + FRESH_SEEDS[self.kind], size):
            seeds = f'{begin}..{begin + size - 1}'
            command = [*GIVE_WAY, simulator(self.kind), '--seeds', seeds]
            self.blocks.append((seeds, pool.submit(run, command, SEEDS_LIMIT_S, SANITIZERS)))

    def __call__(self):
        """Waits for the rest of them."""
        tally, sums, shape = Tally(), [], ''
        for seeds, block in self.blocks:
            code, text = block.result()
            line = re.search(r'^\d+ seeds .*', text, re.M)
            if line:
                shape, numbers = line[0], [int(n) for n in re.findall(r'\d+', line[0])]
                sums = [a + b for a, b in zip(sums or [0] * len(numbers), numbers)]
            if code == 0 and line and numbers[0] > 0:
                tally.passed += 1
                continue
            show(text)
            seed = re.search(r'^seed (\d+)$', text, re.M)
            tally.failed.append(f'seeds:{self.kind} {seeds}: '
                                + (f'{simulator(self.kind)} --seed {seed[1]}' if seed
                                   else f'exit code {code}'))
        totals = iter(sums)
        print(f'{self.kind}, {self.origin}: '
              + re.sub(r'\d+', lambda _: f'{next(totals):,}', shape), flush=True)
        return tally


# --- All of it -----------------------------------------------------------------------------------

@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[..., Tally]
    arguments: tuple = ()
    builds: tuple = ()     # what it needs
    alone: bool = False    # no worlds beside it
    group: str = ''        # neighbours of one group run at the same time: they mostly wait


KINDS = ['release', 'asan']
STEPS = [
    *(Step(f'build:{kind}', build, (kind,), (kind,), alone=True) for kind in KINDS),
    Step('build:tsan', build, ('tsan', *TSAN_TARGETS), ('tsan',), alone=True),
    *(Step(f'unit:{kind}', meson_tests, (kind,), (kind,), alone=True) for kind in KINDS),
    Step('chaos:release:uring', chaos, ('release', 'uring'), ('release',), alone=True),
    Step('threads:tsan', threads, (), ('tsan',)),
    Step('web', page_tests),
    *(Step(f'e2e:{kind}:{io}', e2e, (kind, io), (kind,), group=f'e2e:{kind}')
      for kind in KINDS for io in ['uring', 'epoll']),
    Step('fuzz:asan', fuzz, ('asan',), ('asan',)),
    Step('same-ways', same_ways, (), tuple(KINDS)),
    *(Step(f'seeds:{kind}', FreshSeeds(kind), (), (kind,)) for kind in KINDS),
]


def run_step(step):
    start = time.monotonic()
    tally = step.run(*step.arguments)
    if step.run is not build and not (tally.passed or tally.failed or tally.skipped):
        tally.failed.append(f'{step.name}: no test ran')
    print(f'{step.name:20} {tally}  ({time.monotonic() - start:.0f} s)', flush=True)
    return tally


def run_steps(chosen, pool):
    total, broken, started = Tally(), set(), False
    for _, group in groupby(chosen, lambda step: step.group or step.name):
        steps = list(group)
        if not steps[0].alone and not started:
            started = True
            for other in chosen:
                if isinstance(other.run, FreshSeeds) and not broken.intersection(other.builds):
                    other.run.start(pool)
        runnable = [step for step in steps if not broken.intersection(step.builds)]
        for step in steps:
            if step not in runnable:
                print(f'{step.name:20} not run: its build failed', flush=True)
                total.failed.append(f'{step.name}: not run')
        with ThreadPoolExecutor(len(steps)) as at_once:
            for step, tally in zip(runnable, at_once.map(run_step, runnable)):
                if step.run is build and tally.failed:
                    broken.update(step.builds)
                total.add(tally)
    return total


def choose(words):
    """The steps whose name contains one of the words, and the builds that these need."""
    named = [step for step in STEPS if not words or any(word in step.name for word in words)]
    needed = {f'build:{kind}' for step in named for kind in step.builds}
    return [step for step in STEPS if step in named or step.name in needed]


def main():
    parser = argparse.ArgumentParser(prog='scripts/test', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--list', action='store_true', help='print the names of the steps')
    parser.add_argument('only', nargs='*', help='run only steps whose name contains one of these')
    options = parser.parse_args()
    chosen = choose(options.only)
    if options.list:
        print('\n'.join(step.name for step in chosen))
        return 0

    start = time.monotonic()
    pool = ThreadPoolExecutor(CPUS)
    try:
        total = run_steps(chosen, pool)
    finally:
        pool.shutdown(cancel_futures=True)  # there are some left only after Ctrl-C
    print(f'in {(time.monotonic() - start) / 60:.1f} minutes on {CPUS} CPUs')
    for line in total.skipped:
        print(f'skipped: {line}')
    for line in total.failed:
        print(f'FAILED: {line}')
    if not total.passed and not total.failed:
        total.failed.append('no test ran')
    print(total)
    return 1 if total.failed else 0


if __name__ == '__main__':
    sys.exit(main())

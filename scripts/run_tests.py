#!/usr/bin/python3
"""Runs every test and ends with one line: `N passed, N failed, N skipped`.

    scripts/test                 all steps
    scripts/test e2e:uring       only the steps whose name contains an argument
    scripts/test --list          their names

Each step is a build, a meson test run or one program; the counts are what those programs report of
themselves: doctest cases, node tests, end-to-end tests, and one for each test that has no cases
(a fuzz target, a benchmark that runs for a moment, the house rules). A case that found that this
machine cannot show its fact prints `SKIPPED <name>: <why>` and is counted as skipped. A program
that dies counts as a failure whatever it printed before.

Standard library only. Run it through scripts/test, which installs what is missing first.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = '/usr/bin/python3'  # the one that has Debian's modules, whatever PATH says
E2E_LIMIT_S = 420
TESTS_LIMIT_S = 900
BUILD_LIMIT_S = 1200


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


def run(command, limit_s, env=None):
    """(exit code, output of both streams). A program that takes too long is a failed one."""
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=limit_s, text=True, errors='replace',
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        text = late.stdout or b''
        text = text if isinstance(text, str) else text.decode(errors='replace')
        return 124, f'{text}\nstopped after {limit_s} s'
    except FileNotFoundError as missing:
        return 127, str(missing)


def show(text, lines=60):
    print('\n'.join('    ' + line for line in text.rstrip().splitlines()[-lines:]))


# --- What the programs say of themselves ---------------------------------------------------------

DOCTEST = re.compile(r'^\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed \|'
                     r' +(\d+) skipped', re.M)
FAILED_CASE = re.compile(r'^TEST CASE: +(.+)\n(?:(?!TEST CASE:).*\n)*?.*\bERROR\b', re.M)
SKIPPED = re.compile(r'^SKIPPED (.+?): (.+)$', re.M)
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

def build(kind):
    code, text = run(['scripts/build', kind], BUILD_LIMIT_S)
    if code:
        show(text)
    return Tally(failed=[f'build {kind}']) if code else Tally()


def meson_tests(kind):
    folder = ROOT / 'build' / kind
    log = folder / 'meson-logs' / 'testlog.json'
    log.unlink(missing_ok=True)
    # Sanitizers and a busy machine are slower than the limits that each test states.
    code, text = run(['meson', 'test', '-C', str(folder), '--no-rebuild', '--print-errorlogs',
                      '--timeout-multiplier', '4'], TESTS_LIMIT_S,
                     {'ASAN_OPTIONS': 'detect_leaks=1:strict_string_checks=1',
                      'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1'})
    tally = Tally()
    if log.exists():
        for line in log.read_text().splitlines():
            tally.add(count_meson_test(json.loads(line), kind))
    if code and not tally.failed:
        tally.failed.append(f'{kind}: meson test, exit code {code}')
    if code:
        show(text)
    return tally


def threads():
    """What threads share, under ThreadSanitizer. It misses a race now and then, so five times."""
    code, text = run(['scripts/build', 'tsan', 'tests/base/base_test', 'tests/node/node_test'],
                     BUILD_LIMIT_S)
    if code:
        show(text)
        return Tally(failed=['build tsan'])
    options = f'suppressions={ROOT}/tests/tsan.supp exitcode=66'
    tally = Tally()
    for program, cases in [('base', 'mpsc*'), ('node', 'mesh*,server*,registry*')] * 5:
        code, text = run([f'build/tsan/tests/{program}/{program}_test', f'-tc={cases}'],
                         TESTS_LIMIT_S, {'TSAN_OPTIONS': options})
        found = DOCTEST.search(text)
        tally.passed += int(found[1]) if found else 0
        if code:
            tally.failed.append(f'threads {program}: exit code {code}')
            show(text, 100)
    return tally


def page_tests():
    tests = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'web').glob('*.test.mjs'))
    code, text = run(['node', '--test', '--test-reporter=tap', *tests], 120)
    tally = count_tap(text, code, 'web')
    if tally.failed:
        show(text)
    return tally


def scenarios(name, program, kind, io):
    code, text = run([*program, '--build', f'build/{kind}', '--io', io], E2E_LIMIT_S)
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
    return scenarios(f'e2e:{kind}:{io}', [PYTHON, 'tests/e2e/run.py'], kind, io)


def chaos(kind, io):
    """tests/chaos/run.py prints `PASSED|FAILED|SKIPPED <scenario>[: figures or why]` likewise."""
    return scenarios(f'chaos:{kind}:{io}', [PYTHON, 'tests/chaos/run.py'], kind, io)


KINDS = ['release', 'asan']
STEPS = [(f'build:{kind}', build, [kind]) for kind in KINDS]
STEPS += [(f'unit:{kind}', meson_tests, [kind]) for kind in KINDS]
STEPS += [('threads:tsan', threads, [])]
STEPS += [('web', page_tests, [])]
STEPS += [('chaos:release:uring', chaos, ['release', 'uring'])]
STEPS += [(f'e2e:{kind}:{io}', e2e, [kind, io]) for kind in KINDS for io in ['uring', 'epoll']]


def main():
    parser = argparse.ArgumentParser(prog='scripts/test', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--list', action='store_true', help='print the names of the steps')
    parser.add_argument('only', nargs='*', help='run only steps whose name contains one of these')
    options = parser.parse_args()
    chosen = [step for step in STEPS
              if not options.only or any(word in step[0] for word in options.only)]
    if options.list:
        print('\n'.join(name for name, _, _ in chosen))
        return 0

    total, broken = Tally(), set()
    for name, step, arguments in chosen:
        if broken.intersection(arguments):
            print(f'{name:20} not run: its build failed', flush=True)
            total.failed.append(f'{name}: not run')
            continue
        start = time.monotonic()
        tally = step(*arguments)
        print(f'{name:20} {tally}  ({time.monotonic() - start:.0f} s)', flush=True)
        if step is build and tally.failed:
            broken.add(arguments[0])
        total.add(tally)

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

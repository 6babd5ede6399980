#!/usr/bin/python3
"""Runs the chaos scenarios, each in a network namespace of its own, and prints a line for each:
`PASSED <scenario>: <figures>`, `FAILED <scenario>` or `SKIPPED <scenario>: <why>`.

    tests/chaos/run.py --build build/release --io uring [--long] [words of the scenarios' names]

Needs root, for the namespaces, and the tools that a scenario names; without them it is skipped.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from scenarios import SCENARIOS  # noqa: E402


def uring_refused():
    sys.path.insert(0, str(ROOT / 'tests' / 'e2e'))
    import run as e2e  # pylint: disable=import-outside-toplevel
    return e2e.uring_refused()


def missing(needs, io):
    """Why this machine cannot show a scenario, or ''."""
    if os.geteuid() != 0:
        return 'needs root'
    absent = [tool for tool in ['ip', *needs] if not shutil.which(tool)]
    if absent:
        return f'needs {", ".join(absent)}'
    refused = io == 'uring' and uring_refused()
    return f'no io_uring here: {refused}' if refused else ''


class Namespace:
    """An own network with nothing in it but lo."""

    def __init__(self, number):
        self.name = f'ringcast-{os.getpid()}-{number}'

    def __enter__(self):
        self.ip('netns', 'add', self.name)
        self.ip('-n', self.name, 'link', 'set', 'lo', 'up')
        return self

    def __exit__(self, *_):
        self.ip('netns', 'del', self.name)

    @staticmethod
    def ip(*words):
        subprocess.run(['ip', *words], check=True, capture_output=True, text=True, timeout=30)


def run_scenario(name, seconds, number):
    """(exit code, what was said). All that it started ends with it."""
    with Namespace(number) as namespace:
        child = subprocess.Popen(['ip', 'netns', 'exec', namespace.name, sys.executable, __file__,
                                  '--inside', name], stdin=subprocess.DEVNULL, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            said, _ = child.communicate(timeout=seconds)
            return child.returncode, said
        except subprocess.TimeoutExpired:
            return 124, f'stopped after {seconds} s'
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)  # its own session: only what it started
            except ProcessLookupError:
                pass
            child.wait()
            child.stdout.close()


def inside(name):
    """In the namespace: the figures on the last line, or a traceback and 1."""
    function = next(row[1] for row in SCENARIOS if row[0] == name)
    try:
        print(function())
        return 0
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default='build/release')
    parser.add_argument('--io', default='uring', choices=['uring', 'epoll'])
    parser.add_argument('--long', action='store_true', help='the large forms too')
    parser.add_argument('--inside', help=argparse.SUPPRESS)
    parser.add_argument('words', nargs='*')
    options = parser.parse_args()
    if options.inside:
        return inside(options.inside)
    for name in ['ringcastd', 'ringcast', 'faultproxy']:
        os.environ[name.upper()] = str((ROOT / options.build / name).absolute())
    os.environ['RINGCAST_IO'] = options.io
    failures = 0
    for number, (name, _, seconds, needs, long) in enumerate(SCENARIOS):
        if options.words and not any(word in name for word in options.words):
            continue
        if long and not options.long:
            continue
        why = missing(needs, options.io)
        if why:
            print(f'SKIPPED {name}: {why}', flush=True)
            continue
        start = time.monotonic()
        code, said = run_scenario(name, seconds, number)
        lines = said.rstrip().splitlines() or ['']
        if code == 0:
            print(f'PASSED {name}: {lines[-1]} ({time.monotonic() - start:.0f} s)', flush=True)
            continue
        failures += 1
        print('\n'.join(f'    {line}' for line in lines[-40:]))
        print(f'FAILED {name}', flush=True)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())

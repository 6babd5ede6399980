#!/usr/bin/python3
"""Runs the end-to-end tests against one build and one I/O back end, and prints a line a test:
`PASSED <test>`, `FAILED <test>` or `SKIPPED <test>: <why>`.

    tests/e2e/run.py --build build/release --io uring [words, one of which a test's name contains]
"""
import argparse
import ctypes
import os
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Printer(unittest.TestResult):
    """A table-driven test is one test: its rows show up only when they fail."""

    def __init__(self):
        super().__init__()
        self.bad_rows = []

    def startTest(self, test):
        super().startTest(test)
        self.bad_rows = []

    def say(self, word, test, why=''):
        name = test.id() if hasattr(test, 'id') else str(test)
        print(f'{word} {name}' + (f': {why}' if why else ''), flush=True)

    def failure(self, test, err):
        print(self._exc_info_to_string(err, test))
        self.say('FAILED', test)

    def addSuccess(self, test):
        self.say('PASSED', test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say('SKIPPED', test, reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failure(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.failure(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            print(self._exc_info_to_string(err, test))
            print(f'    in row {subtest._subDescription()}')
            if not self.bad_rows:
                self.say('FAILED', test)
            self.bad_rows.append(subtest)


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def uring_refused():
    """Why this machine cannot do io_uring, or ''. Containers often forbid it."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)  # struct io_uring_params
    ring = libc.syscall(425, 1, parameters)        # io_uring_setup, the same on all machines
    if ring < 0:
        return os.strerror(ctypes.get_errno())
    os.close(ring)
    return ''


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--build', default='build/release')
    parser.add_argument('--io', default='uring', choices=['uring', 'epoll'])
    parser.add_argument('words', nargs='*')
    options = parser.parse_args()
    for name in ['ringcastd', 'ringcast']:
        os.environ[name.upper()] = str((ROOT / options.build / name).absolute())
    os.environ['RINGCAST_CLIENT'] = str((ROOT / options.build / 'web/ringcast.js').absolute())
    os.environ['RINGCAST_IO'] = options.io
    sys.path.insert(0, str(HERE))
    everything = unittest.defaultTestLoader.discover(str(HERE), 'test_*.py', str(HERE))
    chosen = unittest.TestSuite(
        case for case in cases(everything)
        if not options.words or any(word in case.id() for word in options.words))
    result = Printer()
    refused = uring_refused() if options.io == 'uring' else ''
    if refused:
        for case in chosen:
            result.addSkip(case, f'no io_uring here: {refused}')
        return 0
    chosen.run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == '__main__':
    sys.exit(main())

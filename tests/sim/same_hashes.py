#!/usr/bin/env python3
"""Whether builds of ringcast-sim agree on what happens in the same worlds.

    tests/sim/same_hashes.py 1..10 BINARY BINARY...

One seed must give one story: with another compiler, optimised or not, with sanitizers or without.
Prints one line; 0 if all agree, 1 if not (it names the first seed), 2 if a build did not run.
"""
import subprocess
import sys


def stories(binary, seeds):
    run = subprocess.run([binary, '--seeds', seeds, '--verbose'], stdout=subprocess.PIPE,
                         check=False, text=True, timeout=600)
    if run.returncode != 0:
        print(f'{binary}: exit code {run.returncode}', file=sys.stderr)
        sys.exit(2)
    return [line for line in run.stdout.splitlines() if line.startswith('seed ')]


def main():
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    seeds, first, *others = sys.argv[1:]
    expected = stories(first, seeds)
    for other in others:
        for mine, theirs in zip(expected, stories(other, seeds), strict=True):
            if mine != theirs:
                print(f'two ways:\n{first}: {mine}\n{other}: {theirs}')
                return 1
    print(f'{len(others) + 1} builds, {len(expected)} seeds: the same hashes')
    return 0


if __name__ == '__main__':
    sys.exit(main())

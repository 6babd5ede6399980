#!/usr/bin/env python3
"""Whether builds of ringcast-sim agree on what happens in the same worlds.

    tests/sim/same_hashes.py 1..10 BINARY BINARY...

One seed must give one story: with another compiler, optimised or not, with sanitizers or without.
Prints one line; 0 if all agree, 1 if not (it names the first seed), 2 if a build did not run.
"""
import re
import subprocess
import sys


def stop(why):
    print(f'same_hashes: {why}', file=sys.stderr)
    sys.exit(2)


def stories(binary, seeds):
    """A line a seed."""
    try:
        run = subprocess.run([binary, '--seeds', seeds, '--verbose'], stdout=subprocess.PIPE,
                             check=False, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as why:
        stop(f'{binary}: {why}')
    lines = re.findall(r'^seed \d+ hash [0-9a-f]{16}.*', run.stdout, re.M)
    if run.returncode != 0 or not lines:
        stop(f'{binary}: exit code {run.returncode}, {len(lines)} seeds')
    return lines


def main():
    if len(sys.argv) < 4:
        stop('wants A..B and two programs or more')
    seeds, first, *others = sys.argv[1:]
    expected = stories(first, seeds)
    for other in others:
        found = stories(other, seeds)
        if len(found) != len(expected):
            stop(f'{other}: {len(found)} seeds, and {len(expected)} of {first}')
        for mine, theirs in zip(expected, found):
            if mine != theirs:
                print(f'two ways:\n{first}: {mine}\n{other}: {theirs}')
                return 1
    print(f'{len(others) + 1} builds, {len(expected)} seeds: the same hashes')
    return 0


if __name__ == '__main__':
    sys.exit(main())

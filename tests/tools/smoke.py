#!/usr/bin/python3
"""Runs the tools against the floor, end to end: smoke.py FLOOR RINGCAST METHOD.

Real processes on loopback, on a port that the kernel chooses, bounded in count and time.
"""
import json
import re
import subprocess
import sys
import tempfile

TIMEOUT_S = 60


def run(*command, want=0, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != want:
        sys.exit(f'{" ".join(command)}: exit code {done.returncode}, not {want}\n'
                 f'{done.stderr}{done.stdout}')
    return done.stdout


def check_fanout(tool, url, pid):
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        run(tool, 'bench', 'fanout', '--url', url, '-c', '100', '-m', '2000', '--check', '-q',
            '--server-pid', pid, '--json', file.name)
        report = json.load(open(file.name))
    assert report['verdict']['sound'] is True, report
    assert report['delivery']['delivered'] == 200_000, report
    assert report['delivery']['latency_us']['count'] == 200_000, report
    assert report['server']['cpu_s'] > 0, report
    # Larger than any read, in bursts, and at a rate.
    run(tool, 'bench', 'fanout', '--url', url, '-c', '5', '-m', '40', '-s', '300000', '--window',
        '8', '--check', '-q')
    run(tool, 'bench', 'fanout', '--url', url, '-c', '20', '-m', '640', '--burst', '32',
        '--warmup', '64', '--binary', '--check', '-q')
    run(tool, 'bench', 'fanout', '--url', url, '-c', '20', '-d', '0.3', '-r', '1000', '--burst',
        '5', '--check', '-q')


def check_slow_readers(tool, url):
    """They do not hold up the others, and get everything in the end."""
    run(tool, 'bench', 'fanout', '--url', url, '-c', '20', '-m', '2000', '-s', '1000',
        '--slow-readers', '25', '--slow-rate', '1000', '--check', '-q')


def check_loss(tool, url):
    """The floor knows one log only: with two topics everybody gets what is not theirs."""
    said = run(tool, 'bench', 'fanout', '--url', url, '-c', '4', '-m', '10', '-t', '2', '--check',
               '--grace', '0.5', '-q', want=3)
    assert 'first offender' in said, said


def check_talk(tool, url):
    listener = subprocess.Popen([tool, 'sub', 'a', '--url', url, '-n', '3'],
                                stdout=subprocess.PIPE, text=True)
    try:
        # Publishes until the listener has its three: there is no sign from which moment it is in.
        for _ in range(100):
            run(tool, 'pub', 'a', 'hello', '--url', url)
            if listener.poll() is not None:
                break
        heard, _ = listener.communicate(timeout=TIMEOUT_S)
    finally:
        listener.kill()
    assert heard == 'hello\n' * 3, heard
    run(tool, 'pub', 'a', '--rate', 'max', '--url', url, text='one\ntwo\n')
    run(tool, 'pub', 'a', '--file', __file__, '--binary', '--url', url)


def main():
    floor, tool, method = sys.argv[1:]
    server = subprocess.Popen([floor, '--method', method], stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r'127\.0\.0\.1:(\d+)', server.stdout.readline())[1]
        url, pid = f'ws://127.0.0.1:{port}', str(server.pid)
        check_fanout(tool, url, pid)
        check_slow_readers(tool, url)
        check_loss(tool, url)
        check_talk(tool, url)
        run(tool, 'bench', 'connect', '--url', url, '-c', '500', '--concurrency', '32', '-q')
        run(tool, 'bench', 'connect', '--url', url, '-c', '200', '--abort', '-q')
        run(tool, 'bench', 'idle', '--url', url, '-c', '200', '--hold', '0.1', '--server-pid', pid,
            '-q')
        run(tool, 'bench', 'echo', '--url', url, '-c', '10', '--inflight', '4', '-m', '2000',
            '--check', '-q')
        assert server.poll() is None, 'the floor is gone'
    finally:
        server.terminate()
        server.wait(10)
    run(tool, 'bench', 'fanout', '--url', url, '-c', '1', want=1)
    run(tool, 'bench', 'fanout', '--connections', '0', want=2)


main()

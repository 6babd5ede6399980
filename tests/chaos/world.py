"""What scenarios are made of: a server whose counters are read at its end, the load test and its
report, the namespace's network, and raw clients.

Everything here runs inside a namespace of its own (run.py puts it there): rules, rates and resets
touch nobody else.
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / 'tests' / 'e2e'))

import harness  # noqa: E402
from harness import UNLIMITED_RATE  # noqa: E402

COUNTER = re.compile(r'([a-z ]+) (\d+)')
UPGRADE = ('GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n'
           'Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
           'Sec-WebSocket-Version: 13\r\n\r\n')


def sh(command):
    """Runs a line of shell; what it prints is its complaint if it fails."""
    done = subprocess.run(['sh', '-c', command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
    return done.stdout


def wait_until(happened, limit_s, what):
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, f'not within {limit_s} s: {what}'
        time.sleep(0.02)


def pause(seconds):
    """What is done lasts so long: not a wait for something."""
    time.sleep(seconds)


class Server(harness.Server):
    """Ends with the test, soundly; then `counters` holds its shards' sums."""

    def __init__(self, shards=2, **settings):
        super().__init__(shards=shards, **{**UNLIMITED_RATE, **settings})
        self.counters = {}

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.terminate()
        code, errors = self.wait(), self.stderr()
        self.errors.close()
        for line in re.findall(r'shard \d+: (accepted .*)', errors):
            for name, number in COUNTER.findall(line):
                self.counters[name.strip()] = self.counters.get(name.strip(), 0) + int(number)
        assert code == 0 and not harness.COMPLAINTS.search(errors), f'ended with {code}:\n{errors}'
        assert self.counters, f'no counters:\n{errors}'

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def memory(self):
        """Bytes of (private memory, log segments)."""
        text = Path(f'/proc/{self.pid}/status').read_text()
        return tuple(int(re.search(rf'{name}:\s+(\d+)', text)[1]) * 1024
                     for name in ('RssAnon', 'RssShmem'))


class CrowdedServer(Server):
    """One that runs out of descriptors before it expects to: see crowded.py."""

    def __init__(self, limit, taken, **settings):
        program = os.environ['RINGCASTD']
        os.environ['CROWDED'] = f'{limit} {taken} {program}'
        os.environ['RINGCASTD'] = str(Path(__file__).resolve().parent / 'crowded.py')
        try:
            super().__init__(**settings)
        finally:
            os.environ['RINGCASTD'] = program
            del os.environ['CROWDED']


class Load:
    """`ringcast bench ...` against a server, in the background, with its check on."""

    def __init__(self, url, *arguments, verb='fanout', check=True):
        self.file = tempfile.NamedTemporaryFile(suffix='.json')
        self.errors = tempfile.TemporaryFile('w+')
        line = [os.environ['RINGCAST'], 'bench', verb, '--url', url, '--json', self.file.name]
        line += ['--check'] if check and verb in ('fanout', 'echo') else []
        self.started = time.monotonic()
        self.process = subprocess.Popen(line + [str(a) for a in arguments],
                                        stdin=subprocess.DEVNULL, stdout=self.errors,
                                        stderr=subprocess.STDOUT)

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def connected(self, limit_s=60):
        """Until it publishes: its progress lines say so, once a second."""
        wait_until(lambda: self.process.poll() is not None or 'published' in self.said(), limit_s,
                   'the load test publishes')
        assert self.process.poll() is None, self.said()

    def finish(self, limit_s=120, want=0):
        """The report; the exit code must be `want` (None: any)."""
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f'the load test hangs:\n{self.said()}') from None
        said = self.said()
        assert want is None or code == want, f'the load test ended with {code}:\n{said}'
        report = json.loads(Path(self.file.name).read_text() or '{}')
        self.file.close()
        self.errors.close()
        return report

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def load(server, *arguments, limit_s=120, **options):
    return Load(server.url(''), *arguments, **options).finish(limit_s)


def p99_ms(report):
    return report['delivery']['latency_us']['p99'] / 1000


def figures(report):
    """The line that a reader of the results wants."""
    delivery, errors = report['delivery'], report['errors']
    latency = delivery['latency_us']
    text = (f"{delivery['delivered']:,} deliveries, p50 {latency['p50'] / 1000:.2f} ms, "
            f"p99 {latency['p99'] / 1000:.1f} ms, max {latency['max'] / 1000:.0f} ms")
    for name in ('told', 'lost', 'duplicated', 'reordered', 'corrupt', 'readers_ended',
                 'slow_ended', 'refused'):
        if errors.get(name):
            text += f", {name} {errors[name]:,}"
    return text


class RawClient:
    """Speaks the handshake by hand, and then holds its connection."""

    def __init__(self, port, path='/raw?topic=quiet'):
        self.socket = socket.create_connection(('127.0.0.1', port), 10)
        self.socket.sendall(UPGRADE.format(path=path, port=port).encode())
        self.head = b''

    def status(self, limit_s=0.0):
        """The answer's status; None if there is none yet, 0 if the connection ended instead."""
        self.socket.settimeout(limit_s)
        try:
            while b'\r\n\r\n' not in self.head:
                got = self.socket.recv(4096)
                if not got:
                    return 0
                self.head += got
        except (BlockingIOError, TimeoutError):
            return None
        except ConnectionError:
            return 0
        return int(self.head.split(b' ')[1])

    def close(self):
        self.socket.close()


class Firewall:
    """Drops a share of all packets of one port, both ways, while it stands."""

    def __init__(self, port, percent):
        rules = '\n'.join(f'  tcp {way} {port} numgen random mod 100 < {percent} counter drop'
                          for way in ('dport', 'sport'))
        self.name = 'chaos'
        sh(f"nft -f - <<'END'\ntable inet {self.name} {{\n chain input {{\n"
           f"  type filter hook input priority 0;\n{rules}\n }}\n}}\nEND")

    def dropped(self):
        return sum(int(n) for n in re.findall(r'packets (\d+)', sh('nft list ruleset')))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        sh(f'nft delete table inet {self.name}')

"""A real server for a test, and a client that speaks the envelope.

Servers listen on a port the kernel chose and print it; every server must end with exit code 0 and
without a sanitizer's word, whatever the test did to it. What the command line calls things stands
in FLAGS alone.
"""
import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parent.parent.parent
START_LIMIT_S = 60
STOP_LIMIT_S = 30
CHROMIUM = '/usr/bin/chromium'
PATIENCE_S = 30  # for any one answer; sanitizers on a busy machine are slow

FLAGS = {
    'shards': '--shards',
    'io': '--io',
    'listen': '--listen',
    'ack_attempts': '--ack-attempts',
    'ack_expiry': '--ack-expiry',
    'ack_timeout': '--ack-timeout',
    'compression': '--compression',
    'compression_context': '--compression-context',
    'auth_alg': '--auth-alg',
    'auth_audience': '--auth-audience',
    'auth_issuer': '--auth-issuer',
    'auth_jwks_file': '--auth-jwks-file',
    'auth_key_file': '--auth-key-file',
    'auth_leeway': '--auth-leeway',
    'connections_max': '--connections-max',
    'connections_per_address': '--connections-per-address',
    'connections_per_user': '--connections-per-user',
    'connects_burst': '--connects-burst',
    'connects_per_second': '--connects-per-second',
    'dedup_max': '--dedup-max',
    'dedup_window': '--dedup-window',
    'drain_timeout': '--drain-timeout',
    'fragments_max': '--fragments-max',
    'handshake_timeout': '--handshake-timeout',
    'limit_loopback': '--limit-loopback',
    'log_memory': '--log-memory',
    'mail_max': '--mail-max',
    'memory_max': '--memory-max',
    'message_max': '--message-max',
    'messages_burst': '--messages-burst',
    'messages_per_second': '--messages-per-second',
    'origin': '--origin',
    'pending_max': '--pending-max',
    'pending_per_address': '--pending-per-address',
    'ping_interval': '--ping-interval',
    'proxy_protocol': '--proxy-protocol',
    'sandbox': '--sandbox',
    'seal_keys_file': '--seal-keys-file',
    'session_time': '--session-time',
    'store': '--store',
    'store_size_max': '--store-size-max',
    'tls_cert': '--tls-cert',
    'tls_handshakes_max': '--tls-handshakes-max',
    'tls_key': '--tls-key',
    'tls_listen': '--tls-listen',
    'topic': '--topic',
    'pong_timeout': '--pong-timeout',
    'topic': '--topic',
    'topic_log_max': '--topic-log-max',
    'topics_per_client_max': '--topics-per-client-max',
    'trusted_proxies': '--trusted-proxies',
    'user': '--user',
}
UNLIMITED_RATE = {'messages_per_second': 0}
COMPLAINTS = re.compile(
    r'AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|check failed:')


def command(*arguments, dev=True, **settings):
    """The command line of a server with these settings."""
    settings = {'listen': '127.0.0.1:0', 'io': os.environ['RINGCAST_IO'], **settings}
    line = [os.environ['RINGCASTD'], 'serve'] + (['--dev'] if dev else [])
    for name, value in settings.items():
        for one in value if isinstance(value, list) else [value]:
            line += [FLAGS[name]] if one is True else [FLAGS[name], str(one)]
    return line + list(arguments)


class Server:
    def __init__(self, shards=2, dev=True, files=None, file_size=None, **settings):
        """`files`, `file_size`: limits of its descriptors and its files, if not ours."""
        line = command(dev=dev, shards=shards, **settings)
        limit = [f'--{name}={value}:{value}'
                 for name, value in (('nofile', files), ('fsize', file_size)) if value is not None]
        limit = ['prlimit'] + limit if limit else []
        self.errors = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen(limit + line, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.ready_line, self.port, self.tls_port = '', 0, 0
        self.trust = None  # of clients; with it they all come over TLS
        self.speaks_tls = 'tls_listen' in settings
        ready = threading.Event()
        threading.Thread(target=self._read, args=[ready], daemon=True).start()
        ready.wait(START_LIMIT_S)
        if not self.port:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'no server within {START_LIMIT_S} s:\n{self.stderr()}')

    def _read(self, ready):
        # To the end, so that a talkative server never blocks on a full pipe.
        with self.process.stdout as lines:
            for line in lines:
                found = re.search(r'(https?)://127\.0\.0\.1:(\d+)', line)
                if found and found[1] == 'https':
                    self.tls_port = int(found[2])
                elif found and not self.port:
                    self.ready_line, self.port = line.strip(), int(found[2])
                if self.port and (self.tls_port or not self.speaks_tls):
                    ready.set()
        ready.set()

    def url(self, path='/ws'):
        if self.trust:
            return f'wss://localhost:{self.tls_port}{path}'
        return f'ws://127.0.0.1:{self.port}{path}'

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()

    def wait(self):
        """The exit code. A server that does not end is killed and a failure."""
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'no end within {STOP_LIMIT_S} s:\n{self.stderr()}') from None

    def terminate(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self):
        """Without a chance to write anything down."""
        self.process.kill()
        self.wait()
        errors = self.stderr()
        self.errors.close()
        if COMPLAINTS.search(errors):
            raise AssertionError(f'before it was killed:\n{errors}')

    def stop(self):
        self.terminate()
        code, errors = self.wait(), self.stderr()
        self.errors.close()
        if code != 0 or COMPLAINTS.search(errors):
            raise AssertionError(f'the server ended with {code}:\n{errors}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Peer:
    """A client of /ws. Strict: what comes next must be what the test expects."""

    def __init__(self, socket):
        self.socket = socket
        self.next_id = 0
        self.welcome = None

    async def send(self, kind, **members):
        self.next_id += 1
        envelope = {'type': kind, 'id': f'm{self.next_id}', **members}
        await self.socket.send(json.dumps(envelope))
        return envelope['id']

    async def receive(self):
        text = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
        assert isinstance(text, str), f'/ws sent binary: {text[:40]!r}'
        envelope = json.loads(text)
        assert isinstance(envelope.get('type'), str), text
        assert isinstance(envelope.get('id'), str), text
        assert isinstance(envelope.get('timestamp'), (int, float)), text
        return envelope

    async def expect(self, kind, **members):
        envelope = await self.receive()
        for name, value in {'type': kind, **members}.items():
            assert envelope.get(name) == value, f'{name} should be {value!r} in {envelope}'
        return envelope

    async def subscribe(self, *topics, **options):
        answers = []
        for topic in topics:
            extra = {'payload': options} if options else {}
            request = await self.send('subscribe', topic=topic, **extra)
            answers.append(await self.expect('subscribed', topic=topic, id=request))
        return answers[0]

    async def publish(self, topic, payload, **members):
        return await self.send('publish', topic=topic, payload=payload, **members)

    async def publish_acked(self, topic, payload, **members):
        """The place of the record: {'offset', 'epoch'}."""
        request = await self.publish(topic, payload, ack_required=True, **members)
        return (await self.expect('ack', id=members.get('id', request), topic=topic))['payload']

    async def alive(self):
        """An answer proves that everything sent before was handled."""
        await self.expect('pong', id=await self.send('ping'))

    async def nothing_more(self, seconds=0.2):
        with contextlib.suppress(asyncio.TimeoutError):
            late = await asyncio.wait_for(self.socket.recv(), seconds)
            raise AssertionError(f'unexpected: {late[:200]!r}')

    async def closed(self):
        """(code, reason) of the close frame the server sent."""
        try:
            while True:
                await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
        except websockets.ConnectionClosed as end:
            return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, '')


def dial(server, path='/ws', **options):
    options = {'compression': None, **options}
    if server.trust:
        options = {'ssl': server.trust, 'host': '127.0.0.1', 'server_hostname': 'localhost',
                   **options}
    return websockets.connect(server.url(path), ping_interval=None, max_size=None, max_queue=None,
                              close_timeout=2, open_timeout=PATIENCE_S, **options)


class Test(unittest.IsolatedAsyncioTestCase):
    """One server for all tests of a class, with the class's settings; each test cleans up."""
    settings = {}
    server = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.settings)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    async def asyncSetUp(self):
        # unittest turns asyncio's debug mode on, which is slow and talks about slow steps.
        asyncio.get_running_loop().set_debug(False)

    async def open(self, path='/ws', server=None, **options):
        socket = await dial(server or self.server, path, **options)
        self.addAsyncCleanup(socket.close)
        return socket

    async def join(self, path='/ws', server=None, **options):
        peer = Peer(await self.open(path, server, **options))
        peer.welcome = await peer.expect('welcome')
        return peer


@contextlib.asynccontextmanager
async def browser(script, url):
    """The process of a script that has Chromium open the URL."""
    process = await asyncio.create_subprocess_exec(
        'node', str(ROOT / 'tests/e2e' / script), CHROMIUM, url,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class LoneTest(Test):
    """There is no server but those that a test starts."""
    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass


class FolderTest(LoneTest):
    """Each test has a folder, and the servers it starts."""
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

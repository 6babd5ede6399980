"""TLS as clients that are not ours meet it: Python's ssl, OpenSSL's s_client, and no client at all.
Certificates are made by `openssl` for each run."""
import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import websockets

from certificates import FOLDER, certificate, trust
from harness import PATIENCE_S, Peer, Server, Test, UNLIMITED_RATE, command
from rawsock import BINARY, TEXT, RawClient, frame


class TlsRawClient(RawClient):
    """The client made of bytes, over TLS."""

    def __init__(self, server, context, name='a.test'):
        super().__init__(SimpleNamespace(port=server.tls_port))
        self.socket = context.wrap_socket(self.socket, server_hostname=name)


class TlsTest(Test):
    settings = {'topic': 't.>: history=100', **UNLIMITED_RATE}

    @classmethod
    def setUpClass(cls):
        cls.files = certificate(cls.__name__, 'a.test', 'also.test')
        cls.server = Server(tls_listen='127.0.0.1:0', tls_cert=cls.files[0], tls_key=cls.files[1],
                            **cls.settings)

    async def dial(self, context=None, name='a.test', server=None, path='/ws'):
        socket = await websockets.connect(
            f'wss://localhost:{(server or self.server).tls_port}{path}', host='127.0.0.1',
            server_hostname=name,
            ssl=context or trust(self.files[0]), compression=None, ping_interval=None,
            max_size=None, max_queue=None, close_timeout=2, open_timeout=PATIENCE_S)
        self.addAsyncCleanup(socket.close)
        return socket

    async def enter(self, *arguments, **options):
        peer = Peer(await self.dial(*arguments, **options))
        await peer.expect('welcome')
        return peer


class Clients(TlsTest):
    async def test_both_versions_speak_with_each_other_and_with_plain_ones(self):
        peers = [await self.join()]
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trust(self.files[0], minimum_version=version, maximum_version=version)
            peers += [await self.enter(context), await self.enter(context, name='also.test')]
        for peer in peers:
            await peer.subscribe('t.all')
        for sender in peers:
            for size in [0, 1, 16_000, 40_000]:
                await sender.publish('t.all', 'x' * size)
                for peer in peers:
                    await peer.expect('data_update', payload='x' * size)

    async def test_recovery_works_over_tls(self):
        peer, sender = await self.enter(), await self.join()
        await peer.subscribe('t.back')
        first = await sender.publish_acked('t.back', 'one')
        await peer.expect('data_update', payload='one')
        peer.socket.transport.abort()
        for payload in ['two', 'three']:
            await sender.publish_acked('t.back', payload)
        again = await self.enter()
        await again.send('subscribe', topic='t.back', payload=first)
        await again.expect('subscribed')
        for payload in ['two', 'three']:
            await again.expect('data_update', payload=payload)

    async def test_one_who_reads_late_gets_everything_in_order(self):
        sender = await self.join()
        with TlsRawClient(self.server, trust(self.files[0])) as slow:
            slow.handshake('/ws')
            slow.send(frame(TEXT, b'{"type":"subscribe","id":"1","topic":"t.slow"}'))
            self.assertIn(b'"welcome"', slow.frame()[1])
            self.assertIn(b'"subscribed"', slow.frame()[1])
            for number in range(400):
                await sender.publish('t.slow', f'{number}:' + 'x' * 40_000)
            await sender.alive()
            for number in range(400):
                self.assertIn(f'"payload":"{number}:'.encode(), slow.frame()[1][:200])

    async def test_the_load_test_finds_nothing_lost(self):
        process = await asyncio.create_subprocess_exec(
            os.environ['RINGCAST'], 'bench', 'fanout', '--url',
            f'wss://127.0.0.1:{self.server.tls_port}', '--insecure', '-c', '50', '-t', '3', '-m',
            '1000', '--check', '--quiet', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, errors = await asyncio.wait_for(process.communicate(), 6 * PATIENCE_S)
        self.assertEqual(process.returncode, 0, errors)

    async def test_pub_and_sub_trust_whom_they_are_told_to(self):
        url = f'wss://127.0.0.1:{self.server.tls_port}'
        rows = [(['--insecure'], 0, ''), ([], 1, 'self-signed'),
                (['--tls-ca', self.files[0]], 1, 'IP address mismatch'),
                (['--tls-ca', self.files[1]], 1, '--tls-ca')]
        for flags, code, what in rows:
            with self.subTest(flags):
                done = subprocess.run([os.environ['RINGCAST'], 'pub', 't.p', 'x', '--url', url,
                                       *flags], capture_output=True, text=True, timeout=PATIENCE_S)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(what, done.stderr)

    async def test_the_page_comes_over_tls(self):
        with TlsRawClient(self.server, trust(self.files[0])) as client:
            client.send(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
            status, headers, body = client.response()
            self.assertEqual((status, len(body)), (200, int(headers['content-length'])))
            self.assertTrue(client.ended())


class BadInput(TlsTest):
    """Below the requests; those and what follows them: test_bad_input_tls.py."""

    async def test_a_message_in_records_of_a_byte(self):
        with TlsRawClient(self.server, trust(self.files[0])) as client:
            client.handshake()
            for byte in frame(BINARY, b'x' * 200):
                client.send(bytes([byte]))
            self.assertEqual(client.frame(), (BINARY, b'x' * 200))

    async def test_what_is_no_tls_ends_and_nobody_notices(self):
        bystander = await self.enter()
        for data in [b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', bytes(100), os.urandom(3000),
                     b'\x16\x03\x01\xff\xff' + bytes(70_000), b'\x15\x03\x03\x00\x02\x02\x28',
                     b'\x16\x03\x01\x40\x00\x01\x01\xff\xff' + bytes(80_000)]:
            with self.subTest(data[:9]), RawClient(
                    SimpleNamespace(port=self.server.tls_port)) as client:
                client.send(data)
                self.assertTrue(client.ended())
            await bystander.alive()

    async def test_a_record_that_was_changed_ends_the_connection(self):
        bystander = await self.enter()
        with TlsRawClient(self.server, trust(self.files[0])) as client:
            client.handshake()
            with socket.socket(fileno=os.dup(client.socket.fileno())) as below:
                below.sendall(b'\x17\x03\x03\x00\x20' + bytes(32))
            with self.assertRaises(ssl.SSLError):
                client.frame()
        await bystander.alive()


class Limits(TlsTest):
    settings = {**TlsTest.settings, 'handshake_timeout': '400ms', 'tls_handshakes_max': 4}

    async def test_slow_handshakes_are_closed_at_the_deadline(self):
        hello = ssl.MemoryBIO()
        half = trust(self.files[0]).wrap_bio(ssl.MemoryBIO(), hello, server_hostname='a.test')
        with contextlib.suppress(ssl.SSLWantReadError):
            half.do_handshake()
        said = hello.read()
        peer = await self.enter()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(SimpleNamespace(port=self.server.tls_port)))
                       for _ in range(30)]
            for number, client in enumerate(clients):  # nothing, a part, or all and no more
                client.send(said[:number % 3 * len(said) // 2])
            for client in clients:
                self.assertTrue(client.ended_within(PATIENCE_S))
        await peer.alive()
        # The places are free again. (It has to be quick: its time runs, too.)
        await self.enter()


class Several(TlsTest):
    @classmethod
    def setUpClass(cls):
        cls.files = certificate('a', 'a.test')
        cls.others = certificate('b', '*.b.test')
        cls.server = Server(tls_listen='127.0.0.1:0', tls_cert=[cls.files[0], cls.others[0]],
                            tls_key=[cls.files[1], cls.others[1]], **cls.settings)

    def s_client(self, *flags, given=''):
        return subprocess.run(
            ['openssl', 's_client', '-connect', f'127.0.0.1:{self.server.tls_port}', *flags],
            input=given, capture_output=True, text=True, timeout=PATIENCE_S)

    def test_versions_suites_groups_protocols_and_names(self):
        low = 'ALL:@SECLEVEL=0'
        rows = [
            ('-tls1_3', True), ('-tls1_2', True), (f'-tls1_1 -cipher {low}', False),
            (f'-tls1 -cipher {low}', False),
            *((f'-tls1_3 -ciphersuites {suite}', good) for suite, good in [
                ('TLS_AES_128_GCM_SHA256', True), ('TLS_AES_256_GCM_SHA384', True),
                ('TLS_CHACHA20_POLY1305_SHA256', True), ('TLS_AES_128_CCM_SHA256', False)]),
            *((f'-tls1_2 -cipher {suite}', good) for suite, good in [
                ('ECDHE-ECDSA-AES128-GCM-SHA256', True), ('ECDHE-ECDSA-AES256-GCM-SHA384', True),
                ('ECDHE-ECDSA-CHACHA20-POLY1305', True), ('ECDHE-ECDSA-AES128-SHA', False),
                ('ECDHE-ECDSA-AES256-SHA384', False), ('AES128-GCM-SHA256', False),
                ('DHE-RSA-AES256-GCM-SHA384', False)]),
            ('-groups X25519 -tls1_3', True), ('-groups P-256', True), ('-groups P-384', False),
            ('-alpn http/1.1', True), ('-alpn h2,http/1.1', True), ('-alpn h2', False),
            ('-servername a.test', True), ('-servername x.b.test', True),
            ('-servername c.test', False), ('-noservername', True),
        ]
        for flags, good in rows:
            with self.subTest(flags):
                done = self.s_client(*flags.split())
                self.assertEqual(done.returncode == 0, good, done.stdout + done.stderr)
        self.assertIn('CN = b', self.s_client('-servername', 'x.b.test').stdout)
        self.assertIn('CN = a', self.s_client('-noservername').stdout)
        self.assertIn('ALPN protocol: http/1.1', self.s_client('-alpn', 'h2,http/1.1').stdout)
        self.assertIn('Compression: NONE', self.s_client('-tls1_2').stdout)

    def test_sessions_are_resumed(self):
        request = 'GET /ws HTTP/1.1\r\nHost: a\r\n\r\n'
        for version in ['-tls1_2', '-tls1_3']:
            file = str(Path(FOLDER.name) / 'ticket')
            self.s_client(version, '-ign_eof', '-sess_out', file, given=request)
            again = self.s_client(version, '-ign_eof', '-sess_in', file, given=request).stdout
            self.assertRegex(again, r'(?m)^Reused, TLSv1\.[23]', version)


class Reload(TlsTest):
    async def until_logged(self, peer, words):
        while not re.search(words, self.server.stderr()):
            await peer.alive()
            await peer.nothing_more(0.02)  # or it said too much

    async def test_a_hangup_reads_certificates_again_and_drops_nobody(self):
        old_trust = trust(self.files[0])
        stays = await self.enter(old_trust)
        await stays.subscribe('t.stays')

        good = [Path(file).read_bytes() for file in self.files]
        other = certificate('other', 'a.test')
        Path(self.files[0]).write_bytes(Path(other[0]).read_bytes())  # and not its key
        self.server.process.send_signal(signal.SIGHUP)
        await self.until_logged(stays, 'is not the key of')
        line = next(line for line in self.server.stderr().split('\n') if 'is not the key' in line)
        self.assertIn(self.files[1], line)
        self.assertIn('stays in use', line)
        await self.enter(old_trust)  # as before

        Path(self.files[1]).write_bytes(Path(other[1]).read_bytes())
        self.server.process.send_signal(signal.SIGHUP)
        await self.until_logged(stays, 'are read again')
        fresh = await self.enter(trust(other[0]))
        with self.assertRaises(ssl.SSLCertVerificationError):
            await self.dial(old_trust)
        await fresh.publish('t.stays', 'to all')
        await stays.expect('data_update', payload='to all')

        Path(self.files[1]).unlink()
        self.server.process.send_signal(signal.SIGHUP)
        await self.until_logged(stays, 'cannot be read')
        await self.enter(trust(other[0]))
        for file, text in zip(self.files, good):
            Path(file).write_bytes(text)


class Start(TlsTest):
    def refused(self, **settings):
        done = subprocess.run(command(**settings), capture_output=True, text=True,
                              timeout=PATIENCE_S)
        self.assertEqual(len(done.stderr.strip().split('\n')), 1, done.stderr)
        return done.returncode, done.stderr

    def test_what_cannot_be_is_said_in_one_line(self):
        other = certificate('stranger', 'a.test')
        crt, key = self.files
        rows = [
            ({'tls_listen': '127.0.0.1:0'}, 2, '--tls-cert'),
            ({'tls_cert': crt, 'tls_key': key}, 2, '--tls-listen'),
            ({'tls_listen': '127.0.0.1:0', 'tls_cert': crt}, 2, '--tls-key'),
            ({'tls_listen': 'localhost:0', 'tls_cert': crt, 'tls_key': key}, 2, '--tls-listen'),
            ({'tls_listen': '0.0.0.0:0', 'tls_cert': crt, 'tls_key': key}, 2, 'loopback'),
            ({'tls_listen': '127.0.0.1:0', 'tls_cert': crt, 'tls_key': other[1]}, 1, other[1]),
            ({'tls_listen': '127.0.0.1:0', 'tls_cert': '/nowhere', 'tls_key': key}, 1, '/nowhere'),
            ({'tls_listen': '127.0.0.1:0', 'tls_cert': key, 'tls_key': key}, 1, 'certificate'),
        ]
        for settings, code, word in rows:
            with self.subTest(settings):
                exit_code, line = self.refused(**settings)
                self.assertEqual(exit_code, code)
                self.assertIn(word, line)

    async def test_a_stop_tells_clients_over_tls_too(self):
        with Server(tls_listen='127.0.0.1:0', tls_cert=self.files[0],
                    tls_key=self.files[1]) as server:
            peer = await self.enter(server=server)
            server.terminate()
            self.assertEqual((await peer.closed())[0], 1012)

    async def test_a_key_that_others_may_read_is_warned_of(self):
        crt, key = certificate('loose', 'a.test')
        words = f'warning --tls-key {key}: others may read or write it (mode %s)'
        with Server(tls_listen='127.0.0.1:0', tls_cert=crt, tls_key=key) as server:
            peer = await self.enter(trust(crt), server=server)
            self.assertNotIn('others may', server.stderr())
            Path(key).chmod(0o644)
            server.process.send_signal(signal.SIGHUP)
            while words % 644 not in server.stderr():
                await peer.alive()
                await peer.nothing_more(0.02)
        Path(key).chmod(0o640)
        with Server(tls_listen='127.0.0.1:0', tls_cert=crt, tls_key=key) as server:
            self.assertIn(words % 640, server.stderr())

    async def test_there_need_be_no_plain_listener(self):
        line = command(tls_listen='127.0.0.1:0', tls_cert=self.files[0], tls_key=self.files[1],
                       listen='none')
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as process:
            first = process.stdout.readline()
            process.terminate()
            self.assertNotIn('http://', first + process.stdout.read())
            self.assertRegex(first, r'listening on https://127\.0\.0\.1:\d+ ')

"""Whose address it is, behind proxies: X-Forwarded-For, the PROXY protocol, and a real nginx."""
import asyncio
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

import websockets

from harness import CHROMIUM, PATIENCE_S, Peer, Server, Test, browser
from rawsock import RawClient, upgrade

LISTEN = '127.0.0.1:0'
NGINX = shutil.which('nginx') or '/usr/sbin/nginx'
TWO = {'dev': False, 'connections_per_address': 2, 'connects_per_second': 0}


def v1(source, family='TCP4'):
    return f'PROXY {family} {source} 10.0.0.9 4711 80\r\n'.encode()


def v2(source, command=1, extra=b''):
    body = socket.inet_aton(source) + socket.inet_aton('10.0.0.9') + struct.pack('>HH', 4711, 80)
    head = b'\r\n\r\n\0\r\nQUIT\n' + bytes([0x20 | command, 0x11])
    return head + struct.pack('>H', len(body) + len(extra)) + body + extra


class Proxies(Test):
    def ask(self, server, front=b'', bytewise=False, **headers):
        """The status; 0: hung up. The connection stays until the end of the test."""
        client = RawClient(server)
        self.addCleanup(client.socket.close)
        data = front + upgrade('/ws', **headers)
        for piece in ([data[i:i + 1] for i in range(len(data))] if bytewise else [data]):
            if not client.send(piece):
                return 0
        return client.response()[0]

    async def test_forwarded_for_of_a_trusted_proxy(self):
        with Server(trusted_proxies=['127.0.0.0/8', '10.0.0.0/8'], **TWO) as server:
            for _ in range(2):
                self.assertEqual(self.ask(server, X_Forwarded_For='192.0.2.1'), 101)
                self.assertEqual(self.ask(server, X_Forwarded_For='lies, 192.0.2.2, 10.1.1.1'), 101)
                self.assertEqual(self.ask(server, X_Forwarded_For='2001:db8:0:7::1'), 101)
                self.assertEqual(self.ask(server), 101)
            self.assertEqual(self.ask(server, X_Forwarded_For='192.0.2.1'), 429)
            self.assertEqual(self.ask(server, X_Forwarded_For='192.0.2.9, 192.0.2.2'), 429)
            self.assertEqual(self.ask(server, X_Forwarded_For='2001:db8:0:7:ffff::'), 429)
            self.assertEqual(self.ask(server, X_Forwarded_For='2001:db8:0:8::'), 101)
            for wrong in ['nobody', '192.0.2.1, unknown', '', '192.0.2.3;', '1.2.3']:
                with self.subTest(wrong):
                    # Without a value it is as if there were none.
                    self.assertEqual(self.ask(server, X_Forwarded_For=wrong),
                                     400 if wrong else 101)

    async def test_forwarded_for_of_anybody_else_is_not_looked_at(self):
        with Server(trusted_proxies='10.0.0.0/8', limit_loopback=True, **TWO) as server:
            self.assertEqual(self.ask(server, X_Forwarded_For='192.0.2.1'), 101)
            self.assertEqual(self.ask(server, X_Forwarded_For='nobody'), 101)
            self.assertEqual(self.ask(server, X_Forwarded_For='192.0.2.3'), 429)

    async def test_the_proxy_protocol(self):
        with Server(listen=LISTEN, proxy_protocol=LISTEN, trusted_proxies='127.0.0.1',
                    handshake_timeout='700ms', **TWO) as server:
            self.assertEqual(self.ask(server, v1('192.0.2.1')), 101)
            self.assertEqual(self.ask(server, v2('192.0.2.1'), bytewise=True), 101)
            self.assertEqual(self.ask(server, v1('192.0.2.1'), bytewise=True), 429)
            self.assertEqual(self.ask(server, v2('192.0.2.1', extra=b'\x03\0\x04tail')), 429)
            self.assertEqual(self.ask(server, v2('192.0.2.2')), 101)
            # The proxy itself, as when it looks whether we are there.
            for front in [b'PROXY UNKNOWN\r\n', v2('192.0.2.1', command=0)] * 2:
                self.assertEqual(self.ask(server, front), 101)
            for wrong in [b'', v1('192.0.2.1', 'TCP6'), v1('192.0.2.300'), v1('192.0.2.1')[:-2],
                          v2('192.0.2.1', command=2), b'\x16\x03\x01\x02\0\x01', b'\r\n\r\n']:
                with self.subTest(wrong):
                    self.assertEqual(self.ask(server, wrong), 0)
            with RawClient(server) as slow:
                slow.send(v1('192.0.2.4')[:20])
                self.assertTrue(slow.ended_within(10))

    async def test_the_proxy_protocol_of_strangers(self):
        with Server(listen=LISTEN, proxy_protocol=LISTEN, trusted_proxies='127.0.0.9',
                    dev=False) as server:
            self.assertEqual(self.ask(server, v1('192.0.2.1')), 0)
            self.assertEqual(self.ask(server), 0)
            with RawClient(server, source='127.0.0.9') as proxy:
                proxy.send(v1('192.0.2.1') + upgrade('/ws'))
                self.assertEqual(proxy.response()[0], 101)


@contextlib.contextmanager
def nginx(port):
    """A real one in front of `port`: the site of deploy/nginx.conf, scaled down. Its own port."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(64)
    listener.set_inheritable(True)
    own = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as prefix:
        Path(prefix, 'logs').mkdir()
        Path(prefix, 'nginx.conf').write_text(f'''
daemon off; worker_processes 1; pid {prefix}/pid; error_log {prefix}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/b; proxy_temp_path {prefix}/p; fastcgi_temp_path {prefix}/f;
    uwsgi_temp_path {prefix}/u; scgi_temp_path {prefix}/s;
    map $http_upgrade $ringcast_connection {{ websocket upgrade; default close; }}
    server {{
        listen 127.0.0.1:{own};
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $ringcast_connection;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_read_timeout 3s;
            proxy_send_timeout 3s;
        }}
    }}
}}''')
        # It takes over a listener that it is given by number, so no port is taken twice. (Without
        # a master process it does not survive that.)
        process = subprocess.Popen([NGINX, '-p', prefix, '-c', f'{prefix}/nginx.conf'],
                                   pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, 'NGINX': f'{listener.fileno()};'})
        listener.close()
        try:
            yield own
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@unittest.skipUnless(Path(NGINX).exists(), 'nginx is not installed')
class Nginx(Test):
    async def connect(self, port, source):
        socket_ = await websockets.connect(f'ws://127.0.0.1:{port}/ws', local_addr=(source, 0),
                                           compression=None, ping_interval=None)
        self.addAsyncCleanup(socket_.close)
        peer = Peer(socket_)
        await peer.expect('welcome')
        return peer

    async def test_clients_stay_through_its_time_outs_and_have_their_own_addresses(self):
        """RINGCAST_NGINX_S=300 stays as long."""
        seconds = float(os.environ.get('RINGCAST_NGINX_S', 4.5))
        with Server(trusted_proxies='127.0.0.1', limit_loopback=True, ping_interval='1s',
                    **{**TWO, 'dev': True}) as server, nginx(server.port) as port:
            peers = [await self.connect(port, f'127.0.0.{2 + i // 2}') for i in range(8)]
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                await self.connect(port, '127.0.0.2')
            self.assertEqual(refused.exception.status_code, 429)
            self.assertIn('Retry-After', refused.exception.headers)
            for peer in peers:
                await peer.subscribe('t')
            await asyncio.gather(*(peer.nothing_more(seconds) for peer in peers))
            await peers[0].publish('t', {'n': 1})
            for peer in peers:
                await peer.expect('data_update', topic='t')
            server.terminate()
            for peer in peers:
                self.assertEqual((await peer.closed())[0], 1012)

    @unittest.skipUnless(os.path.exists(CHROMIUM), f'no {CHROMIUM}')
    async def test_a_browser_stays_through_its_time_outs(self):
        """RINGCAST_NGINX_S=300 stays as long."""
        seconds = float(os.environ.get('RINGCAST_NGINX_S', 4.5))
        with Server(trusted_proxies='127.0.0.1', ping_interval='1s') as server, \
                nginx(server.port) as port:
            async with browser('stay.mjs', f'http://127.0.0.1:{port}/') as page:
                async def line():
                    return json.loads(await asyncio.wait_for(page.stdout.readline(), 120) or '{}')

                self.assertEqual(await line(), {'state': 'connected'})
                quiet = await self.connect(port, '127.0.0.2')
                page.stdin.write(b'now\n')
                before = await line()
                await quiet.nothing_more(seconds)  # through its time-outs of 3 s
                page.stdin.write(b'now\n')
                after = await line()
                self.assertEqual(after['state'], 'connected')
                self.assertEqual((after['opened'], after['closed']), (before['opened'], 0))
                self.assertGreater(after['messages'], before['messages'])
                page.stdin.close()
                self.assertEqual(await asyncio.wait_for(page.wait(), PATIENCE_S), 0)

"""Opening handshakes that broke other servers. Each row: the bytes, and the statuses allowed; 0
means that the server may hang up without a word. After each the bystander must still be served."""
import contextlib
import time
import unittest

from harness import PATIENCE_S, Server, Test
from rawsock import KEY, TEXT, RawClient, frame, upgrade

REFUSED = {400}
TOO_LARGE = {400, 431}


def request(line, *headers):
    return ('\r\n'.join([line, 'Host: localhost', *headers, '', ''])).encode('latin-1')


def many(count, line='X-{}: y\r\n'):
    return ''.join(line.format(i) for i in range(count))


GOOD = [
    ('plain', upgrade()),
    ('upgrade in capitals, in a list', upgrade(Upgrade='foo, WEBSOCKET', Connection='x, upgrade')),
    ('names in small letters', upgrade().replace(b'Sec-WebSocket-Key', b'sec-websocket-key')),
    ('60 headers', upgrade(extra=many(50))),
    ('blanks in the protocol list', upgrade(Sec_WebSocket_Protocol='b' + ' ' * 1000 + 'x')),
    ('unclosed quote', upgrade(Sec_WebSocket_Extensions='a;b="' + '\\c' * 2000)),
    ('extension called constructor', upgrade(Sec_WebSocket_Extensions='constructor')),
    ('window bits of 99', upgrade(
        Sec_WebSocket_Extensions='permessage-deflate;server_max_window_bits=99')),
    ('an extension twice', upgrade(
        Sec_WebSocket_Extensions='permessage-deflate, permessage-deflate')),
    ('header of blanks only', upgrade(X_A='   ')),
]

BAD = [
    ('version 8', upgrade(Sec_WebSocket_Version='8'), {426}),
    ('version 1777', upgrade(Sec_WebSocket_Version='1777'), {426}),
    ('no version', upgrade(Sec_WebSocket_Version=None), {400, 426}),
    ('version twice', upgrade(extra='Sec-WebSocket-Version: 13\r\n'), REFUSED),
    ('no key', upgrade(Sec_WebSocket_Key=None), REFUSED),
    ('empty key', upgrade(Sec_WebSocket_Key=''), REFUSED),
    ('short key', upgrade(Sec_WebSocket_Key='AAAA'), REFUSED),
    ('long key', upgrade(Sec_WebSocket_Key='A' * 2000), REFUSED),
    ('key is not base64', upgrade(Sec_WebSocket_Key='!' * 24), REFUSED),
    ('key twice', upgrade(extra=f'Sec-WebSocket-Key: {KEY}\r\n'), REFUSED),
    ('no upgrade', upgrade(Upgrade=None), {400, 426}),
    ('upgrade to something else', upgrade(Upgrade='h2c'), {400, 426}),
    ('no connection header', upgrade(Connection=None), {400, 426}),
    ('connection: keep-alive', upgrade(Connection='keep-alive'), {400, 426}),
    ('plain GET of a socket', request('GET /ws HTTP/1.1'), {400, 426}),
    ('no host', upgrade(Host=None), REFUSED),
    ('host twice', upgrade(extra='Host: other\r\n'), REFUSED),
    ('POST', upgrade().replace(b'GET', b'POST', 1), {405}),
    ('HTTP/1.0', upgrade().replace(b'HTTP/1.1', b'HTTP/1.0', 1), {400, 426, 505}),
    ('HTTP/2 preface', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', {400, 405, 505}),
    ('HTTP/9.9', upgrade().replace(b'HTTP/1.1', b'HTTP/9.9', 1), {400, 505}),
    ('no such place', upgrade('/no/such/place'), {404}),
    ('no slash', request('GET x HTTP/1.1'), REFUSED),
    ('no target', request('GET  HTTP/1.1'), REFUSED),
    ('blank before the colon', upgrade(extra='X-A : b\r\n'), REFUSED),
    ('Host with a blank', upgrade().replace(b'Host:', b'Host :', 1), REFUSED),
    ('folded header', upgrade(extra='X-A: b\r\n c\r\n'), REFUSED),
    ('bare LF', upgrade().replace(b'\r\n', b'\n'), REFUSED),
    ('NUL in a value', upgrade(X_A='a\0b'), REFUSED),
    ('header without a colon', upgrade(extra='nonsense\r\n'), REFUSED),
    ('header without a name', upgrade(extra=': x\r\n'), REFUSED),
    ('negative content length', upgrade(Content_Length='-100'), REFUSED),
    ('body announced', upgrade(Content_Length='5') + b'hello', REFUSED),
    ('length and chunked', upgrade(Content_Length='5', Transfer_Encoding='chunked'), REFUSED),
    ('TLS', bytes.fromhex('16030100a5010000a10303') + bytes(160), {0, 400}),
    ('noise', bytes(range(256)) * 4, {0, 400}),
    ('2000 headers', upgrade(extra=many(2000)), TOO_LARGE),
    ('70 headers', upgrade(extra=many(70)), TOO_LARGE),
    ('blanks in the protocol list', upgrade(Sec_WebSocket_Protocol='b' + ' ' * 60000 + 'x'),
     TOO_LARGE),
    ('header of 100 KB', upgrade(X_A='a' * 100000), TOO_LARGE),
    ('endless name', b'GET /ws HTTP/1.1\r\n' + b'a' * 100000, TOO_LARGE),
    ('target of 10 KB', upgrade('/ws?' + 'a' * 10000), {414, 431}),
    ('target without end', b'GET /' + b'a' * 100000, {414, 431}),
    ('raw without a topic', upgrade('/raw'), REFUSED),
    ('raw with a broken escape', upgrade('/raw?topic=%zz'), REFUSED),
    ('raw with a control character', upgrade('/raw?topic=a%00b'), REFUSED),
]


class Handshake(Test):
    def more_statuses(self, data):
        return set()

    async def test_correct_requests_in_odd_clothes_are_accepted(self):
        for name, data in GOOD:
            with self.subTest(name), RawClient(self.server) as client:
                start = time.monotonic()
                client.send(data)
                status, headers, _ = client.response()
                self.assertEqual(status, 101)
                self.assertNotIn('sec-websocket-extensions', headers)
                self.assertLess(time.monotonic() - start, 2)

    async def test_wrong_requests_are_refused_and_nobody_else_notices(self):
        bystander = await self.join()
        for name, data, statuses in BAD:
            with self.subTest(name), RawClient(self.server) as client:
                client.send(data)
                status, headers, _ = client.response()
                self.assertIn(status, statuses | self.more_statuses(data))
                if status == 426:
                    self.assertEqual(headers['sec-websocket-version'], '13')
                self.assertTrue(client.ended())
            await bystander.alive()

    def test_a_request_may_come_in_any_pieces(self):
        data = upgrade('/echo') + frame(TEXT, b'early')  # the first frame need not wait for the 101
        for size in [1, 2, 3, 7, 50, len(data) - 1]:
            with self.subTest(size=size), RawClient(self.server) as client:
                for begin in range(0, len(data), size):
                    client.send(data[begin:begin + size])
                self.assertEqual(client.response()[0], 101)
                self.assertEqual(client.frame(), (TEXT, b'early'))

    async def test_clients_that_vanish_while_shaking_hands_leave_nothing_behind(self):
        bystander = await self.join()
        data = upgrade('/ws')
        for cut in [0, 1, 20, len(data) // 2, len(data) - 1, len(data)] * 20:
            client = RawClient(self.server)
            client.send(data[:cut])
            client.reset()
        await bystander.alive()


class SlowHandshake(Test):
    settings = {'handshake_timeout': '2s'}  # the bystander must make it

    async def test_a_handshake_has_an_absolute_deadline(self):
        bystander = await self.join()
        start = time.monotonic()
        with RawClient(self.server) as silent, RawClient(self.server) as dripping:
            for byte in upgrade():
                if dripping.ended_within(0.05) or not dripping.send(bytes([byte])):
                    break
            else:
                self.fail('the whole request was taken')
            self.assertTrue(silent.ended())
        self.assertGreater(time.monotonic() - start, 1.8)
        self.assertLess(time.monotonic() - start, 15)  # 2 s, and a busy machine
        await bystander.alive()


class Crowded(unittest.TestCase):
    def test_with_many_shards_and_few_descriptors_one_too_many_is_told_too(self):
        """Descriptors for the shards and for those they refuse are kept back from the clients."""
        shards, limit = 8, 400
        room = limit - (16 + shards * (8 + 1 + 32))
        with Server(shards=shards, files=limit) as server, contextlib.ExitStack() as clients:
            statuses = []
            for _ in range(room + 8):
                client = clients.enter_context(RawClient(server))
                client.send(upgrade('/ws'))
                statuses.append(client.response()[0])
        self.assertEqual(statuses, room * [101] + 8 * [503])


class Full(Test):
    settings = {'connections_max': 3, 'shards': 1}

    async def test_one_too_many_is_told_to_come_back(self):
        peers = [await self.join() for _ in range(3)]
        with RawClient(self.server) as client:
            client.send(upgrade('/ws'))
            status, headers, _ = client.response()
            self.assertEqual(status, 503)
            self.assertGreaterEqual(int(headers['retry-after']), 1)
        await peers[0].socket.close()
        end = time.monotonic() + PATIENCE_S
        status = 503
        while status == 503 and time.monotonic() < end:  # until the server has seen the end
            with RawClient(self.server) as client:
                client.send(upgrade('/ws'))
                status, _, _ = client.response()
        self.assertEqual(status, 101)
        await peers[1].alive()

"""Limits by address: so many and no more, over all shards; who only waits makes room for who means
it. Addresses of the loopback network stand for clients, with --limit-loopback."""
import contextlib
import re

from harness import Server, Test
from rawsock import RawClient, upgrade


class Clients(contextlib.ExitStack):
    def dial(self, server, source):
        return self.enter_context(RawClient(server, source=source))

    def ask(self, server, source, path='/ws', **headers):
        """(status, headers, client)"""
        client = self.dial(server, source)
        client.send(upgrade(path, **headers))
        status, answered, _ = client.response()
        return status, answered, client


class Limits(Test):
    async def test_connections_of_an_address(self):
        with Server(dev=False, limit_loopback=True, connections_per_address=5) as server, \
                Clients() as clients:
            first = [clients.ask(server, '127.0.0.2') for _ in range(5)]
            self.assertEqual([status for status, _, _ in first], [101] * 5)
            for _ in range(3):
                status, headers, _ = clients.ask(server, '127.0.0.2')
                self.assertEqual(status, 429)
                self.assertIn(int(headers['retry-after']), range(1, 6))
            self.assertEqual(clients.ask(server, '127.0.0.3')[0], 101)
            leaver = first[2][2]
            leaver.send(b'\x88\x80\0\0\0\0')
            self.assertTrue(leaver.ended())
            # The server knows before it hangs up, or soon: what is counted is the descriptor.
            statuses = [clients.ask(server, '127.0.0.2')[0] for _ in range(20)]
            self.assertEqual(statuses.count(101), 1, statuses)
            server.terminate()
            server.wait()
            refused = sum(map(int, re.findall(r'crowded addresses (\d+)', server.stderr())))
            self.assertEqual(refused, 3 + 19)

    async def test_this_machine_is_not_limited_by_default(self):
        with Server(dev=False, connections_per_address=2, connects_burst=2) as server, \
                Clients() as clients:
            for _ in range(6):
                self.assertEqual(clients.ask(server, '127.0.0.1')[0], 101)

    async def test_an_address_that_connects_too_often(self):
        with Server(dev=False, limit_loopback=True, connections_per_address=0,
                    connects_per_second=1, connects_burst=6) as server, Clients() as clients:
            statuses = [clients.ask(server, '127.0.0.2')[0] for _ in range(12)]
            self.assertEqual(statuses[:6], [101] * 6)
            self.assertIn(429, statuses)
            self.assertEqual(clients.ask(server, '127.0.0.3')[0], 101)

    async def test_half_open_handshakes_make_room(self):
        with Server(dev=False, limit_loopback=True, pending_per_address=8,
                    connects_per_second=0) as server, Clients() as clients:
            bystander = await self.join(server=server)
            idle = [clients.dial(server, '127.0.0.2') for _ in range(40)]
            for each in idle[::2]:
                each.send(b'GET /ws HTTP/1.1\r\nHo')
            # A shard cuts only its own, so there may be one more on each.
            self.assertEqual(clients.ask(server, '127.0.0.2')[0], 101)
            self.assertEqual(clients.ask(server, '127.0.0.3')[0], 101)
            gone = sum(each.ended_within(0.05) for each in idle[:20])
            self.assertGreaterEqual(gone, 20 - 2)
            await bystander.alive()

    async def test_half_open_handshakes_of_many_addresses_make_room(self):
        with Server(dev=False, limit_loopback=True, pending_max=30) as server, \
                Clients() as clients:
            bystander = await self.join(server=server)
            idle = [clients.dial(server, f'127.0.1.{i + 1}') for i in range(80)]
            for i in range(3):
                self.assertEqual(clients.ask(server, f'127.0.2.{i + 1}')[0], 101)
            self.assertTrue(idle[0].ended_within(5))
            self.assertFalse(idle[-1].ended_within(0.05))
            await bystander.alive()

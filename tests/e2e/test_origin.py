"""Which web pages may connect: a browser lets any page try, and says whose page it is."""
from harness import Server, Test
from rawsock import RawClient, upgrade


def status(server, path='/ws', **headers):
    with RawClient(server) as client:
        client.send(upgrade(path, **headers))
        code, _, body = client.response()
        return code, body


class WithDev(Test):
    settings = {'origin': ['https://friend.example', 'http://dev.test:3000']}

    async def test_only_our_own_pages_the_named_ones_and_programs_get_in(self):
        bystander = await self.join()
        own = f'127.0.0.1:{self.server.port}'
        rows = [
            ({'Host': own}, 101),
            ({'Host': own, 'Origin': f'http://{own}'}, 101),
            ({'Host': own, 'Origin': 'https://friend.example'}, 101),
            ({'Host': 'dev.test:3000', 'Origin': 'http://dev.test:3000'}, 101),
            ({'Host': own, 'Origin': 'https://evil.example'}, 403),
            ({'Host': own, 'Origin': f'http://localhost:{self.server.port}'}, 403),
            ({'Host': own, 'Origin': f'http://127.0.0.1:{self.server.port + 1}'}, 403),
            ({'Host': own, 'Origin': 'https://friend.example:8443'}, 403),
            ({'Host': own, 'Origin': 'null'}, 403),
            # A name of the attacker's that now points to this machine.
            ({'Host': 'evil.example:80', 'Origin': 'http://evil.example:80'}, 403),
            ({'Host': 'evil.example:80'}, 403),
        ]
        for path in ['/ws', '/raw?publish=t', '/raw?topic=t', '/echo']:
            for headers, expected in rows:
                with self.subTest(path, **headers):
                    code, body = status(self.server, path, **headers)
                    self.assertEqual(code, expected)
                    if code == 403:
                        self.assertIn(b'--origin', body)
        await bystander.alive()


class WithoutDev(Test):
    async def test_named_origins_are_kept_to(self):
        with Server(dev=False, origin=['https://a.example', 'null']) as server:
            for origin, expected in [(None, 101), ('https://a.example', 101), ('null', 101),
                                     ('https://b.example', 403), ('http://a.example', 403),
                                     ('http://localhost', 403)]:
                with self.subTest(origin):
                    self.assertEqual(status(server, Origin=origin, Host='any.example')[0], expected)

    async def test_without_names_any_page_may_read(self):
        with Server(dev=False) as server:
            for headers in [{'Origin': 'https://b.example'}, {'Origin': 'null'}, {}]:
                with self.subTest(**headers):
                    self.assertEqual(status(server, Host='any.example', **headers)[0], 101)

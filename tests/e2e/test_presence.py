"""`presence` of docs/PROTOCOL.md: who is on a topic, and who comes and goes."""
from harness import Test, UNLIMITED_RATE


class Presence(Test):
    settings = {**UNLIMITED_RATE, 'topic': ['r.small: presence, presence-max=2', 'r.>: presence']}

    async def ask(self, peer, topic):
        request = await peer.send('presence', topic=topic)
        answer = await peer.expect('presence', id=request, topic=topic)
        return answer['payload']

    async def until(self, peer, joined, left, count):
        """Reads updates until all of these came, and the count is right."""
        joined, left, payload = set(joined), set(left), None
        while joined or left or payload['count'] != count:
            payload = (await peer.expect('presence_update'))['payload']
            joined -= {client['client_id'] for client in payload['joined']}
            left -= set(payload['left'])

    async def test_everybody_who_subscribed_is_there(self):
        infos = {'a': {'name': 'A'}, 'b': [1, 2], 'c': None}
        peers = {}
        for name, info in infos.items():
            peers[name] = await self.join(f'/ws?client_id={name}')
            await peers[name].subscribe('r.all', info=info)
            clients = (await self.ask(peers[name], 'r.all'))['clients']
            self.assertIn(name, [client['client_id'] for client in clients])
        outsider = await self.join()
        payload = await self.ask(outsider, 'r.all')
        self.assertEqual({c['client_id']: c['info'] for c in payload['clients']}, infos)
        self.assertEqual((payload['count'], payload['more']), (3, False))
        self.assertTrue(all(c['since'] > 1_600_000_000 for c in payload['clients']))
        request = await peers['a'].send('unsubscribe', topic='r.all')
        await peers['a'].expect('unsubscribed', id=request)
        self.assertEqual(len((await self.ask(peers['a'], 'r.all'))['clients']), 2)

    async def test_who_watches_is_told_who_comes_and_goes(self):
        watcher = await self.join('/ws?client_id=watcher')
        await watcher.subscribe('r.watched', presence=True)
        names = [f'n{number}' for number in range(20)]
        peers = [await self.join(f'/ws?client_id={name}') for name in names]
        for peer in peers:
            await peer.subscribe('r.watched')
        await self.open('/raw?topic=r.watched&client_id=raw')
        await self.until(watcher, names + ['raw'], [], 22)
        for peer in peers:
            await peer.socket.close()
        await self.until(watcher, [], names, 2)

    async def test_limits_and_topics_without_the_rule(self):
        peers = [await self.join() for _ in range(4)]
        for peer in peers:
            await peer.subscribe('r.small', 'plain')
        payload = await self.ask(peers[0], 'r.small')
        self.assertEqual((payload['count'], len(payload['clients']), payload['more']), (4, 2, True))
        self.assertEqual(await self.ask(peers[0], 'plain'), {'count': 4})
        self.assertEqual(await self.ask(peers[0], 'nobody'), {'count': 0})
        for wrong in [{'info': 'x' * 255}, {'presence': 1}]:
            request = await peers[0].send('subscribe', topic='r.x', payload=wrong)
            error = await peers[0].expect('error', id=request)
            self.assertEqual(error['payload']['code'], 'bad_payload')
        await peers[0].alive()

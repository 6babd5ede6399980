"""`history` of docs/PROTOCOL.md: what a topic's log still has, for whoever asks."""
from harness import Test, UNLIMITED_RATE


class History(Test):
    settings = {**UNLIMITED_RATE, 'topic': 'h.>: history=20'}

    async def ask(self, peer, topic, **payload):
        request = await peer.send('history', topic=topic, payload=payload)
        return await peer.expect('history', id=request, topic=topic)

    async def test_who_never_subscribed_gets_what_readers_got(self):
        reader, sender = await self.join(), await self.join()
        subscribed = await reader.subscribe('h.a')
        for number in range(25):
            await sender.publish('h.a', {'n': number})
        updates = [await reader.expect('data_update') for _ in range(25)]
        for _ in range(4):  # on whichever shard
            peer = await self.join()
            payload = (await self.ask(peer, 'h.a'))['payload']
            self.assertEqual(payload['epoch'], subscribed['payload']['epoch'])
            self.assertEqual((payload['first'], payload['next']), (6, 26))
            self.assertEqual(payload['records'], updates[5:])
            self.assertFalse(payload['more'])
            payload = (await self.ask(peer, 'h.a', **{'from': 8, 'limit': 3}))['payload']
            self.assertEqual(payload['records'], updates[7:10])
            self.assertTrue(payload['more'])
            await peer.nothing_more()

    async def test_page_by_page_all_of_it(self):
        sender, peer = await self.join(), await self.join()
        for number in range(20):
            await sender.publish('h.pages', 'x' * 30000 + str(number), ack_required=True)
            await sender.expect('ack')
        seen, at, answers = [], 1, 0
        while True:
            payload = (await self.ask(peer, 'h.pages', **{'from': at}))['payload']
            seen += payload['records']
            answers += 1
            if not payload['more']:
                break
            at = payload['records'][-1]['offset'] + 1
        self.assertEqual([record['offset'] for record in seen], list(range(1, 21)))
        self.assertEqual(answers, 3)

    async def test_nothing_known_nothing_kept_and_what_is_wrong(self):
        peer = await self.join()
        payload = (await self.ask(peer, 'h.nobody'))['payload']
        self.assertEqual(payload, {'epoch': '0' * 16, 'first': 1, 'next': 1, 'records': [],
                                   'more': False})
        await peer.publish('without.rule', 1, ack_required=True)
        await peer.expect('ack')
        payload = (await self.ask(peer, 'without.rule'))['payload']
        self.assertEqual((payload['records'], payload['next']), ([], 2))
        for wrong in [{'from': 0}, {'from': '1'}, {'limit': 0}, {'limit': 1001}]:
            request = await peer.send('history', topic='h.a', payload=wrong)
            error = await peer.expect('error', id=request)
            self.assertEqual(error['payload']['code'], 'bad_payload')
        request = await peer.send('history', topic='h.*')
        error = await peer.expect('error', id=request)
        self.assertEqual(error['payload']['code'], 'bad_topic')
        await peer.alive()

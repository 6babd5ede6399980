"""The client package (web/client): what is lost on the way comes again, or a gap is told."""
import asyncio
import json

from harness import PATIENCE_S, ROOT, Server, Test, UNLIMITED_RATE


class PackageClient:
    """tests/e2e/package_client.mjs. Events that a test did not ask for are kept in `seen`."""

    def __init__(self, process):
        self.process = process
        self.seen = []

    @classmethod
    async def connect(cls, server, **options):
        client = cls(await asyncio.create_subprocess_exec(
            'node', str(ROOT / 'tests/e2e/package_client.mjs'), server.url(), json.dumps(options),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE))
        await client.state('connected')
        return client

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def tell(self, *commands, **command):
        """One or, without time for anything in between, several commands."""
        self.process.stdin.write(json.dumps(commands or [command]).encode() + b'\n')
        await self.process.stdin.drain()

    async def event(self):
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        self.seen.append(json.loads(line))
        return self.seen[-1]

    async def until(self, *names):
        while (event := await self.event())['event'] not in names:
            pass
        return event

    async def state(self, name):
        while (event := await self.until('state'))['state'] != name:
            pass
        return event

    async def subscribe(self, topic, **options):
        await self.tell(subscribe=topic, options=options)
        return await self.until('subscribed')

    async def drop(self):
        """Loses the connection and waits until it is gone."""
        await self.tell(drop=True)
        await self.state('waiting')

    def accounted(self, topic, epoch):
        """The offsets of a topic in the order in which they came or were said not to come."""
        offsets = []
        for event in self.seen:
            if (event.get('topic'), event.get('epoch')) != (topic, epoch):
                continue
            if event['event'] == 'message':
                offsets.append(event['offset'])
            elif event['event'] == 'gap':
                offsets += range(event['from'], event['to'] + 1)
        return offsets


class ClientPackage(Test):
    settings = {'topic': ['kept.>: history=1000', 'short: history=3'], 'ack_timeout': '200ms',
                **UNLIMITED_RATE}

    async def test_it_subscribes_publishes_and_leaves(self):
        async with await PackageClient.connect(self.server) as client:
            begun = await client.subscribe('talk')
            for number in range(3):
                await client.tell(publish='talk', payload={'n': number})
            got = [await client.until('message') for _ in range(3)]
            self.assertEqual([message['payload'] for message in got], [{'n': n} for n in range(3)])
            self.assertEqual([message['offset'] for message in got],
                             [begun['offset'] + n for n in (1, 2, 3)])
            # Behind the answer to what is said next it has left.
            await client.tell({'unsubscribe': 'talk'}, {'publish': 'elsewhere', 'payload': 0})
            while [event['event'] for event in client.seen].count('resolved') < 4:
                await client.event()
            other = await self.join()
            await other.publish('talk', 'late')
            await other.alive()
            await client.subscribe('other')
            names = [event['event'] for event in client.seen]
            self.assertEqual((names.count('message'), names.count('resolved')), (3, 4))

    async def lose_and_come_back(self, topic):
        """Three losses with five records in each: all come, or are told to be missing. What
        happened."""
        async with await PackageClient.connect(self.server) as client:
            name = client.seen[-1]['clientId']
            begun = await client.subscribe(topic)
            other = await self.join()
            for loss in range(3):
                await other.publish_acked(topic, f'before {loss}')
                await client.until('message')
                await client.drop()
                for number in range(5):
                    await other.publish(topic, [loss, number])
                await other.alive()
                self.assertEqual((await client.state('connected'))['clientId'], name)
                outcome = await client.until('recovered', 'gap')
                self.assertIn(outcome.get('reason'), (None, 'history'))
            await other.publish(topic, 'last')
            while (await client.until('message'))['payload'] != 'last':
                pass
            first = begun['offset'] + 1
            self.assertEqual(client.accounted(topic, begun['epoch']),
                             list(range(first, first + 3 * 6 + 1)))
            names = [event['event'] for event in client.seen]
            self.assertNotIn('error', names)
            return names

    async def test_after_a_loss_every_record_that_is_kept_comes(self):
        names = await self.lose_and_come_back('kept.lossy')
        self.assertEqual((names.count('message'), names.count('gap')), (19, 0))

    async def test_after_a_loss_what_is_not_kept_is_told_to_be_missing(self):
        names = await self.lose_and_come_back('short')
        self.assertGreater(names.count('gap'), 0)  # unless it was back before they were sent

    async def test_a_position_kept_from_an_earlier_life_is_gone_on_from(self):
        other = await self.join()
        places = [await other.publish_acked('kept.since', number) for number in range(3)]
        async with await PackageClient.connect(self.server) as client:
            begun = await client.subscribe('kept.since', since=places[0])
            self.assertTrue(begun['recovered'])
            seen = [await client.until('message') for _ in (1, 2)]
            self.assertEqual([(m['offset'], m['payload']) for m in seen], [(2, 1), (3, 2)])

    async def test_what_is_published_without_a_connection_comes_behind_it_in_order(self):
        receiver = await self.join()
        await receiver.subscribe('queue')
        async with await PackageClient.connect(self.server, queueMax=3) as client:
            await client.tell({'drop': True},
                              *({'publish': 'queue', 'payload': number} for number in range(4)))
            self.assertEqual((await client.until('rejected'))['code'], 'queue_full')
            for number in (1, 2, 3):
                await receiver.expect('data_update', topic='queue', payload=number)

    async def test_with_an_ack_it_is_known_where_it_is(self):
        receiver = await self.join()
        begun = await receiver.subscribe('sure')
        async with await PackageClient.connect(self.server) as client:
            for offset in (1, 2):
                await client.tell(publish='sure', payload=offset, options={'ack': True})
                answer = await client.until('resolved', 'rejected')
                place = {'offset': offset, 'epoch': begun['payload']['epoch']}
                self.assertEqual(answer, {'event': 'resolved', 'value': place})
                await receiver.expect('data_update', topic='sure', payload=offset)
                await client.drop()
            await client.state('connected')
            await client.tell(publish='host.cpu', payload=0, options={'ack': True})
            answer = await client.until('resolved', 'rejected')
            self.assertEqual((answer['code'], answer['uncertain']), ('forbidden', False))

    async def test_with_an_ack_it_is_published_once_whenever_the_connection_is_lost(self):
        receiver = await self.join()
        await receiver.subscribe('once')
        count = 12
        async with await PackageClient.connect(self.server) as client:
            for number in range(count):
                send = {'publish': 'once', 'payload': number, 'options': {'ack': True}}
                # Lost before it left, on its way, and behind the answer.
                await client.tell(*([{'drop': True}, send], [send, {'drop': True}],
                                    [send])[number % 3])
                answer = await client.until('resolved', 'rejected')
                self.assertEqual((answer['event'], answer['value']['offset']),
                                 ('resolved', number + 1))
                if number % 3 == 2:
                    await client.drop()
                    await client.state('connected')
        for number in range(count):
            await receiver.expect('data_update', payload=number, offset=number + 1)
        await receiver.alive()

    async def test_what_a_listener_failed_at_comes_again_on_the_next_connection_too(self):
        other, watcher = await self.join(), await self.join()
        async with await PackageClient.connect(self.server) as client:
            await client.tell(subscribe='kept.job', options={'acks': True}, failures=2)
            await client.until('subscribed')
            await other.publish_acked('kept.job', 'do it')
            first = await client.until('message')
            self.assertEqual((await client.until('error'))['code'], 'listener')
            self.assertEqual(await client.until('message'), first)  # the server sent it again
            await client.drop()
            await client.until('recovered')
            self.assertEqual(await client.until('message'), first)  # to the same session
            await client.tell(publish='kept.job', payload='next')
            self.assertEqual((await client.until('message'))['payload'], 'next')
            await watcher.nothing_more(1)
            self.assertEqual([event['event'] for event in client.seen].count('message'), 4)

    async def test_a_restart_is_a_new_epoch_and_the_end_of_no_client(self):
        with Server(**self.settings) as server:
            async with await PackageClient.connect(server) as client:
                begun = await client.subscribe('life')
                await client.tell(publish='life', payload='first')
                await client.until('message')
                server.terminate()
                self.assertEqual((await client.state('waiting'))['closeCode'], 1012)
                server.wait()
                await client.tell(publish='life', payload='second')
                with Server(**self.settings, listen=f'127.0.0.1:{server.port}'):
                    gap = await client.until('gap')
                    self.assertEqual((gap['reason'], gap['topic']), ('new_epoch', 'life'))
                    self.assertNotEqual(gap['epoch'], begun['epoch'])
                    second = await client.until('message')
                    self.assertEqual((second['payload'], second['epoch']),
                                     ('second', gap['epoch']))
                    await client.tell(close=True)
                    await client.state('closed')

    async def test_a_newer_connection_of_the_same_name_ends_it(self):
        async with await PackageClient.connect(self.server, clientId='twin') as client:
            await self.join('/ws?client_id=twin')
            self.assertEqual((await client.state('closed'))['closeCode'], 4501)

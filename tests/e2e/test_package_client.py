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
    settings = UNLIMITED_RATE

    async def test_it_subscribes_publishes_and_leaves(self):
        async with await PackageClient.connect(self.server) as client:
            begun = await client.subscribe('talk')
            for number in range(3):
                await client.tell(publish='talk', payload={'n': number})
            got = [await client.until('message') for _ in range(3)]
            self.assertEqual([message['payload'] for message in got], [{'n': n} for n in range(3)])
            self.assertEqual([message['offset'] for message in got],
                             [begun['offset'] + n for n in (1, 2, 3)])
            await client.tell(unsubscribe='talk')
            other = await self.join()
            await other.publish('talk', 'late')
            await other.alive()
            await client.subscribe('other')
            names = [event['event'] for event in client.seen]
            self.assertEqual((names.count('message'), names.count('resolved')), (3, 3))

    async def test_after_a_loss_every_record_comes_or_is_told_to_be_missing(self):
        async with await PackageClient.connect(self.server) as client:
            name = client.seen[-1]['clientId']
            begun = await client.subscribe('lossy')
            other = await self.join()
            keeper = await self.join()
            await keeper.subscribe('lossy')  # so that the topic is not forgotten
            for loss in range(3):
                await other.publish('lossy', f'before {loss}')
                await client.until('message')
                await client.drop()
                for number in range(5):
                    await other.publish('lossy', [loss, number])
                await other.alive()
                self.assertEqual((await client.state('connected'))['clientId'], name)
                await client.until('recovered', 'gap')
            await other.publish('lossy', 'last')
            while (await client.until('message'))['payload'] != 'last':
                pass
            first = begun['offset'] + 1
            self.assertEqual(client.accounted('lossy', begun['epoch']),
                             list(range(first, first + 3 * 6 + 1)))
            self.assertFalse([event for event in client.seen if event['event'] == 'error'])

    async def test_what_is_published_without_a_connection_comes_behind_it_in_order(self):
        receiver = await self.join()
        await receiver.subscribe('queue')
        async with await PackageClient.connect(self.server, queueMax=3) as client:
            await client.tell({'drop': True},
                              *({'publish': 'queue', 'payload': number} for number in range(4)))
            self.assertEqual((await client.until('rejected'))['code'], 'queue_full')
            for number in (1, 2, 3):
                await receiver.expect('data_update', topic='queue', payload=number)

    async def test_with_an_ack_it_is_published_once_or_not_at_all(self):
        receiver = await self.join()
        await receiver.subscribe('sure')
        async with await PackageClient.connect(self.server) as client:
            await client.tell(publish='sure', payload='one', options={'ack': True})
            answer = await client.until('resolved', 'rejected')
            if answer['event'] == 'resolved':
                update = await receiver.expect('data_update', topic='sure', payload='one')
                self.assertEqual(answer['value']['offset'], update['offset'])
                await client.drop()
                await client.tell(publish='sure', payload='two', options={'ack': True})
                await client.until('resolved')
                await receiver.expect('data_update', topic='sure', payload='two')
            else:
                self.assertEqual((answer['code'], answer['uncertain']), ('not_supported', False))
            await receiver.alive()

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

#!/usr/bin/python3
"""A small server of the envelope that plants faults, and the load test that has to find them:
faulty.py RINGCAST. Shows that --check is no rubber stamp, through the whole program.

Loopback, a port that the kernel chooses, bounded in count and time.
"""
import asyncio
import json
import sys
import tempfile

import websockets

TIMEOUT_S = 60
VICTIM = 3      # which subscriber, in order of arrival
MESSAGES = 200


class Server:
    def __init__(self, fault):
        self.fault, self.subscribers, self.offset, self.kept = fault, [], 1000, None

    async def serve(self, socket, path):
        await socket.send(json.dumps({'type': 'welcome', 'payload': {}}))
        try:
            async for text in socket:
                await self.take(socket, json.loads(text))
        except websockets.ConnectionClosed:
            pass

    async def take(self, socket, message):
        if message['type'] == 'subscribe':
            self.subscribers.append(socket)
            await socket.send(json.dumps({'type': 'subscribed', 'topic': message['topic']}))
        elif message['type'] == 'publish':
            await self.publish(message)

    async def publish(self, message):
        self.offset += 1
        number = self.offset - 1000
        text = json.dumps({'type': 'data_update', 'topic': message['topic'], 'timestamp': 1.5,
                           'offset': self.offset, 'payload': message['payload']})
        for index, socket in enumerate(self.subscribers):
            try:
                if index == VICTIM and number in (50, 51):
                    await self.sabotage(socket, number, text)
                else:
                    await socket.send(text)
            except websockets.ConnectionClosed:
                pass

    async def sabotage(self, socket, number, text):
        """Message 50, and 51 behind it, for the one who suffers."""
        gap = json.dumps({'type': 'gap', 'topic': 'bench.0', 'payload': {
            'from': 1050, 'to': 1050, 'reason': 'slow', 'next': 1051}})
        first, second = {
            'none': ([text], [text]),
            'loss': ([], [text]),
            'repeat': ([text], [text, text]),
            'swap': ([], [text, self.kept]),
            'garble': ([text[:-10] + 'X' + text[-9:]], [text]),
            'gap': ([gap], [text]),
            'close': ([], []),
        }[self.fault]
        self.kept = text
        for each in first if number == 50 else second:
            await socket.send(each)
        if self.fault == 'close' and number == 50:
            await socket.close(4001)


# fault: exit code, and the figures that are not zero
EXPECTED = {
    'none': (0, {}),
    'loss': (3, {'lost': 1}),
    'repeat': (3, {'duplicated': 1}),
    'swap': (3, {'reordered': 1}),
    'garble': (3, {'corrupt': 1, 'lost': 1}),
    'gap': (0, {'told': 1, 'gaps': 1}),
    'close': (3, {'readers_ended': 1, 'close_4001': 1}),
}


async def load_test(tool, fault):
    faulty = Server(fault)
    options = {'compression': None, 'ping_interval': None}
    async with websockets.serve(faulty.serve, '127.0.0.1', 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        with tempfile.NamedTemporaryFile(suffix='.json') as file:
            process = await asyncio.create_subprocess_exec(
                tool, 'bench', 'fanout', '--envelope', '--check', '-q', '-c', '10', '-m',
                str(MESSAGES), '--window', '8', '--grace', '1', '--json', file.name,
                '--url', f'ws://127.0.0.1:{port}', stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT)
            try:
                said, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            errors = json.load(open(file.name))['errors']
    del errors['owed_to_ended']  # how much was on its way depends on the moment
    counted = {name: value for name, value in errors.items()
               if isinstance(value, int) and value != 0}
    code, figures = EXPECTED[fault]
    if process.returncode != code or counted != figures:
        sys.exit(f'{fault}: exit code {process.returncode}, {counted}\n{said.decode()}')


async def main():
    for fault in EXPECTED:
        await load_test(sys.argv[1], fault)


asyncio.run(main())

#!/usr/bin/python3
"""A small server that plants faults, and the load tests that have to find them: faulty.py RINGCAST
[fault...]. Shows that --check is no rubber stamp, through the whole program.

Loopback, a port that the kernel chooses, bounded in count and time.
"""
import asyncio
import json
import struct
import sys
import tempfile

import websockets

TIMEOUT_S = 60
VICTIM = 3      # which subscriber, in order of arrival
LAST = 9        # who gets each message last: what comes behind it, nobody waits for
MESSAGES = 200


def frame(first, text):
    """A frame as it goes over the wire, for what the library does not let out."""
    assert 126 <= len(text) < 65536
    return bytes([first, 126]) + struct.pack('>H', len(text)) + text.encode()


class Server:
    """The envelope, for `bench fanout`."""

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
            offset = 990 if self.fault == 'start' and len(self.subscribers) == VICTIM + 1 else 1000
            await socket.send(json.dumps({'type': 'subscribed', 'topic': message['topic'],
                                          'payload': {'offset': offset}}))
        elif message['type'] == 'publish':
            await self.publish(message)

    async def publish(self, message):
        self.offset += 1
        number = self.offset - 1000
        text = self.record(message, self.offset)
        for index, socket in enumerate(self.subscribers):
            try:
                if (index, number) in ((VICTIM, 50), (VICTIM, 51), (LAST, MESSAGES)):
                    await self.sabotage(socket, number, message)
                else:
                    await socket.send(text)
            except websockets.ConnectionClosed:
                pass

    @staticmethod
    def record(message, offset, topic=None):
        return json.dumps({'type': 'data_update', 'topic': topic or message['topic'],
                           'timestamp': 1.5, 'offset': offset, 'payload': message['payload']})

    @staticmethod
    def gap(first, last, following):
        return json.dumps({'type': 'gap', 'topic': 'bench.0', 'payload': {
            'from': first, 'to': last, 'reason': 'slow', 'next': following}})

    async def sabotage(self, socket, number, message):
        """Message 50, 51 behind it, and the last one, for the one who suffers."""
        text = self.record(message, self.offset)
        fiftieth, behind, last = {
            'loss': ([], [text], [text]),
            'repeat': ([text], [text, text], [text]),
            'swap': ([], [text, self.kept], [text]),
            'garble': ([text[:-10] + 'X' + text[-9:]], [text], [text]),
            'gap': ([self.gap(1050, 1050, 1051)], [text], [text]),
            'gap of what came': ([self.gap(1049, 1050, 1051)], [text], [text]),
            'gap of half': ([], [self.gap(1051, 1051, 1052)], [text]),
            'gap with a hole': ([self.gap(1050, 1050, 1052)], [], [text]),
            'gap ahead': ([self.gap(1050, 4999, 5000)], [text], [text]),
            'gap, but it came': ([self.gap(1050, 1050, 1051), text], [text], [text]),
            'gap without end': ([json.dumps({'type': 'gap', 'payload': {'from': 1050}})],
                                [text], [text]),
            'offset': ([self.record(message, self.offset + 7)], [text], [text]),
            'topic': ([self.record(message, self.offset, 'bench.1')], [text], [text]),
            'binary': ([text.encode()], [text], [text]),
            'fragment': ([frame(0x01, text)], [frame(0x80, text), text], [text]),
            'stray': ([text, frame(0x80, text)], [text], [text]),
            'close': ([], [], [text]),
            'last twice': ([text], [text], [text, text]),
            'rubbish at the end': ([text], [text], [text, text.replace('rc1', 'rc1x')]),
            'end': ([text], [text], [text, None]),
        }.get(self.fault, ([text], [text], [text]))
        self.kept = text
        for each in fiftieth if number == 50 else behind if number == 51 else last:
            if each is None:
                await socket.close(4001)
            elif isinstance(each, bytes) and each[:1] in (b'\x01', b'\x80'):
                socket.transport.write(each)
            else:
                await socket.send(each)
        if self.fault == 'close' and number == 50:
            await socket.close(4001)


class Forgetful:
    """For `bench recover`: keeps everything, knows who said what, and now and then does not."""

    def __init__(self, fault):
        self.fault, self.records, self.places, self.readers = fault, [], {}, []
        self.faults_left = 1

    async def serve(self, socket, path):
        try:
            await socket.send(json.dumps({'type': 'welcome', 'payload': {}}))
            async for text in socket:
                await self.take(socket, path, json.loads(text))
        except websockets.ConnectionClosed:
            pass
        finally:
            if socket in self.readers:
                self.readers.remove(socket)

    def strikes(self, *faults):
        """Whether it is now that this fault happens; it does once, in the midst of things."""
        now = self.fault in faults and self.faults_left > 0 and len(self.records) > 50
        self.faults_left -= now
        return now

    async def take(self, socket, path, message):
        if message['type'] == 'subscribe':
            for text in self.welcome_back(message.get('payload')):
                await socket.send(text)
            self.readers.append(socket)
        elif message['type'] == 'publish':
            name = (path, message['id'])
            if name not in self.places or self.strikes('forgotten id'):
                self.places[name] = await self.publish(message)
            elif self.strikes('another ack'):
                self.places[name] -= 1
            await socket.send(json.dumps({
                'type': 'ack', 'id': message['id'], 'topic': message['topic'],
                'payload': {'offset': self.places[name], 'epoch': self.epoch()}}))

    def epoch(self):
        return 'e1' if self.strikes('another epoch') else 'e0'

    def welcome_back(self, place):
        """What who comes back gets."""
        head = len(self.records)
        begin = place['offset'] if place else head
        missed = self.records[begin:]
        gap = []
        if missed and self.strikes('one too few'):
            missed = missed[1:]
        if missed and self.strikes('one again') and begin > 0:
            missed = self.records[begin - 1:]
        recovered = place is not None
        if missed and self.strikes('told', 'not told', 'told half'):
            recovered, begin, missed = False, head, []
            gap = [{'from': place['offset'] + 1 + (self.fault == 'told half'), 'to': head,
                    'reason': 'history', 'next': head + 1}]
            gap = [] if self.fault == 'not told' else gap
        yield json.dumps({'type': 'subscribed', 'id': 's', 'topic': 'bench.0', 'payload': {
            'offset': begin, 'epoch': self.epoch(), 'recovered': recovered}})
        for payload in gap:
            yield json.dumps({'type': 'gap', 'topic': 'bench.0', 'payload': payload})
        yield from missed

    async def publish(self, message):
        self.records.append(json.dumps({
            'type': 'data_update', 'id': message['id'], 'topic': message['topic'],
            'offset': len(self.records) + 1, 'payload': message['payload']}))
        text = self.records[-1]
        for socket in list(self.readers):
            try:
                await socket.send(text)
            except websockets.ConnectionClosed:
                pass
        return len(self.records)


class Echo:
    """For `bench echo`: the last message suffers."""

    def __init__(self, fault):
        self.fault = fault

    async def serve(self, socket, path):
        number = 0
        async for text in socket:
            number += 1
            fault = self.fault if number == 50 else None
            if fault == 'pong':
                await socket.pong(text[:100])
            elif fault in ('fragment', 'continuation'):
                socket.transport.write(frame(0x01 if fault == 'fragment' else 0x80, text))
            else:
                await socket.send(text.encode() if fault == 'binary' else text)
            if fault in ('repeat', 'stray'):
                await socket.send(text if fault == 'repeat' else 'x')


class Rude(websockets.WebSocketServerProtocol):
    """Answers a close frame with the end of the stream, or another code."""
    fault = None

    async def write_close_frame(self, close, data=None):
        if self.fault == 'no answer':
            self.transport.close()
        else:
            await super().write_close_frame(websockets.frames.Close(1011, ''), None)


class Connect:
    """For `bench connect`."""

    def __init__(self, fault):
        self.fault = fault

    async def serve(self, socket, path):
        socket.fault = self.fault
        await socket.wait_closed()


FANOUT = ['fanout', '--envelope', '--check', '-c', '10', '-m', str(MESSAGES), '--window', '8',
          '--grace', '2']
ECHO = ['echo', '--check', '-c', '1', '-s', '256', '-m', '50']
CONNECT = ['connect', '-c', '4']
RECOVER = ['recover', '-c', '8', '-r', '100', '-d', '2', '--kills', '4', '--grace', '2', '-s', '64',
           '--back-within', '0.1']

# server, arguments, section of the report, {fault: (exit code, the figures that are not zero, or
# only which these are)}
CASES = [
    (Server, FANOUT, 'errors', {
        'none': (0, {}),
        'loss': (3, {'lost': 1}),
        'repeat': (3, {'duplicated': 1}),
        'swap': (3, {'reordered': 1}),
        'garble': (3, {'corrupt': 1, 'lost': 1}),
        'gap': (0, {'told': 1, 'gaps': 1}),
        'gap of what came': (3, {'told': 1, 'gaps': 1, 'corrupt': 1}),
        'gap of half': (3, {'told': 1, 'gaps': 1, 'lost': 1}),
        'gap with a hole': (3, {'told': 1, 'gaps': 1, 'lost': 1, 'corrupt': 1}),
        'gap ahead': (3, {'gaps': 1, 'lost': 1, 'corrupt': 1}),
        'gap, but it came': (3, {'told': 1, 'gaps': 1, 'duplicated': 1}),
        'gap without end': (3, {'gaps': 1, 'lost': 1, 'corrupt': 1}),
        'start': (3, {'corrupt': 1}),
        'offset': (3, {'corrupt': 1, 'lost': 1}),
        'topic': (3, {'corrupt': 1, 'lost': 1}),
        'binary': (3, {'corrupt': 1, 'lost': 1}),
        'fragment': (3, {'corrupt': 2, 'lost': 1}),
        'stray': (3, {'corrupt': 1}),
        'close': (3, {'readers_ended': 1, 'close_4001': 1}),
        'last twice': (3, {'duplicated': 1}),
        'rubbish at the end': (3, {'corrupt': 1}),
        'end': (3, {'readers_ended': 1, 'close_4001': 1}),
    }),
    (Echo, ECHO, 'echo', {
        'none': (0, {}),
        'binary': (3, {'wrong': 1}),
        'fragment': (3, {'wrong': 1}),
        'continuation': (3, {'wrong': 1}),
        'pong': (3, {'missing': 1}),
        'repeat': (3, {'wrong': 1}),
        'stray': (3, {'wrong': 1}),
    }),
    (Forgetful, RECOVER, 'errors', {
        'none': (0, {}),
        'told': (0, {}),
        'not told': (1, {'lost'}),
        'told half': (1, {'lost'}),
        'one too few': (1, {'lost'}),
        'one again': (1, {'duplicated'}),
        'forgotten id': (1, {'published_twice'}),
        'another ack': (1, {'wrong'}),
        'another epoch': (1, {'wrong'}),
    }),
    (Connect, CONNECT, 'connections', {
        'none': (0, {'ended': 4, 'clean': 4}),
        'no answer': (1, {'ended': 4}),
        'another code': (1, {'ended': 4}),
    }),
]
COUNTED = {  # what of a section is compared; how much else there was depends on the moment
    'errors': lambda name: name != 'owed_to_ended',
    'echo': lambda name: name in ('missing', 'wrong', 'gone'),
    'connections': lambda name: name in ('ended', 'clean', 'refused'),
}


async def run(tool, arguments, port):
    """(exit code, report, what it said)"""
    with tempfile.NamedTemporaryFile(suffix='.json') as file:
        process = await asyncio.create_subprocess_exec(
            tool, 'bench', *arguments, '-q', '--json', file.name,
            '--url', f'ws://127.0.0.1:{port}', stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT)
        try:
            said, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, json.load(open(file.name)), said.decode()


async def load_test(tool, kind, arguments, section, fault, expected):
    """What is wrong with how the tool judged a server with this fault; None if nothing is."""
    options = {'compression': None, 'ping_interval': None}
    if kind is Connect and fault != 'none':
        options['create_protocol'] = Rude
    async with websockets.serve(kind(fault).serve, '127.0.0.1', 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        code, report, said = await run(tool, arguments, port)
    counted = {name: value for name, value in report[section].items()
               if COUNTED[section](name) and isinstance(value, int) and value != 0}
    found = set(counted) if isinstance(expected[1], set) else counted
    if (code, found) == expected:
        return None
    return f'{arguments[0]}, {fault}: exit code {code}, {counted}; not {expected}\n{said}'


async def main():
    tool, *wanted = sys.argv[1:]
    problems = []
    for kind, arguments, section, faults in CASES:
        for fault, expected in faults.items():
            if not wanted or fault in wanted:
                problems.append(await load_test(tool, kind, arguments, section, fault, expected))
    sys.exit('\n'.join(filter(None, problems)) or 0)


asyncio.run(main())

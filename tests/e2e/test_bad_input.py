"""What no client should say on /ws: each is answered with the error of docs/PROTOCOL.md, 3, the
connection stays, and nobody else notices."""
import json

from harness import Test, UNLIMITED_RATE

SETTINGS = {'message_max': '1MiB', 'topic': 'b.>: history=100', **UNLIMITED_RATE}
MEGABYTE = 1 << 20


def text(kind='subscribe', topic='b.t', **members):
    return json.dumps({'type': kind, 'id': 'x', 'topic': topic, **members})


def resume(offset='0', epoch='"0"', more=''):
    payload = f'{{"offset":{offset},"epoch":{epoch}{more}}}'
    return f'{{"type":"subscribe","id":"x","topic":"b.t","payload":{payload}}}'


JSON = [
    ('[' * 100_000, 'bad_json'),
    ('[' * 100_000 + ']' * 100_000, 'bad_json'),
    ('{"a":' * 100_000 + '1' + '}' * 100_000, 'bad_json'),
    ('{"type":"ping","payload":' + '[' * 32 + ']' * 32 + '}', 'bad_json'),
    ('{"type":"ping"}{"type":"ping"}', 'bad_json'),
    ('{"type":"ping"}\0', 'bad_json'),
    ('{"type":"ping"},', 'bad_json'),
    ('\ufeff{"type":"ping"}', 'bad_json'),
    ('{"type":"ping",}', 'bad_json'),
    ("{'type':'ping'}", 'bad_json'),
    ('{"type":"ping","payload":NaN}', 'bad_json'),
    ('{"type":"ping","payload":Infinity}', 'bad_json'),
    ('{"type":"ping","payload":01}', 'bad_json'),
    ('{"type":"ping","payload":+1}', 'bad_json'),
    ('{"type":"ping","payload":.5}', 'bad_json'),
    ('{"type":"ping","payload":0x10}', 'bad_json'),
    ('{"type":"ping","payload":tru}', 'bad_json'),
    ('{"type":"ping","payload":"\t"}', 'bad_json'),
    ('{"type":"ping","payload":"\\x"}', 'bad_json'),
    ('{"type":"ping","payload":"\\u12"}', 'bad_json'),
    ('{"type":"ping","payload":"\\ud800"}', 'bad_json'),
    ('{"type":"ping","payload":"\\udc00\\ud800"}', 'bad_json'),
    ('{"type":"ping","id":"\\ud800"}', 'bad_json'),
    ('{"type":"ping","\\ud800":1}', 'bad_json'),
    ('null', 'not_an_object'),
    ('1e999999', 'not_an_object'),
    ('{"type":"ping","id":1e999999}', 'bad_id'),
    ('{"type":1e999999}', 'bad_type'),
]
PLACES = [(resume(offset), 'bad_payload') for offset in [
    '-1', '-0.0', '0.5', '1.0', '1e2', '-9223372036854775808', '9223372036854775808',
    '18446744073709551616', '1' + '0' * 400, '1e999999', '-1e999999', '"1"', 'null']]
PLACES += [(resume(epoch=epoch), 'bad_payload') for epoch in [
    '""', '7', 'null', json.dumps('x' * 65), '"\\u0000"', '"\\n"']]
PLACES += [
    (text(payload={'offset': 1}), 'bad_payload'),
    (text(payload={'epoch': '0'}), 'bad_payload'),
    (resume(more=',"max_rate":0'), 'bad_payload'),
    (resume(more=',"max_rate":-1'), 'bad_payload'),
    (resume(more=',"max_rate":1e999999'), 'bad_payload'),
    (resume(more=',"policy":"' + 'x' * 33 + '"'), 'bad_payload'),
]
NAMES = [(text('ping', id='x' * 65), 'bad_id'), (text('ping', id=''), 'bad_id'),
         (text('ping', id='\u00fc' * 33), 'bad_id'),
         (text('ping', id='x' * MEGABYTE)[:-60], 'bad_json'),
         (text('x' * 65), 'bad_type'), (text(''), 'bad_type')]
NAMES += [(text(kind, topic, payload={}), 'bad_topic')
          for kind in ('subscribe', 'unsubscribe', 'publish')
          for topic in ['', 'x' * 256, '\u00fc' * 128, 'a\0b', 'a\x7fb']]
NAMES += [(text('publish', payload=1, key=key), 'bad_key')
          for key in ['', 'x' * 256, 'a\x1fb']]
NAMES += [(text('publish', f'a{chr(code)}', payload=1), 'bad_topic') for code in range(0x20)]
NAMES += [(text('publish', topic, payload=1), 'bad_topic')
          for topic in ['*', '>', 'a.*', '*.a', 'a.*.b', 'a.>', 'a.>.b', '>.a']]

# Of every message: its members, each with a good value and the error of any other kind of value.
# A member of the payload has a dot in front.
KINDS = {'null': None, 'bool': True, 'number': 1, 'string': 'b.m', 'array': [], 'object': {}}
ANY = set(KINDS)
COMMON = {'type': ('string', 'bad_type'), 'id': ('string', 'bad_id'),
          'timestamp': ('number', 'bad_timestamp'), 'topic': ('string', 'bad_topic'),
          'key': ('string', 'bad_key'), 'ack_required': ('bool', 'bad_ack_required'),
          'report_expired': ('bool', 'bad_report_expired')}
PLACE = {'.offset': 'number', '.epoch': 'string', '.snapshot': 'bool', '.policy': 'string',
         '.acks': 'bool'}
PAGE = {'.from': 'number', '.limit': 'number'}
GOOD = {'type': None, 'id': 'm', 'timestamp': 1.5, 'topic': 'b.m', 'key': 'k',
        'ack_required': True, 'report_expired': True}
MESSAGES = {
    'subscribe': ({'offset': 0, 'epoch': '0', 'snapshot': True, 'policy': 'gap', 'acks': True},
                  {'topic'}, ['subscribed', 'gap']),
    'unsubscribe': ({}, {'topic'}, 'not_subscribed'),
    'publish': ({'any': 1}, {'topic', 'payload', 'id'}, ['ack']),
    'ack': ({'offset': 1}, {'topic'}, 'not_awaited'),
    'auth': ({'token': 't'}, {'payload'}, 'not_supported'),
    'ping': ({}, set(), ['pong']),
    'history': ({'from': 1, 'limit': 10}, {'topic'}, ['history']),
    'presence': ({}, {'topic'}, ['presence']),
    'data_update': ({}, set(), 'unknown_type'),
}


def encode(pairs):
    return '{' + ','.join(f'{json.dumps(name)}:{value}' for name, value in pairs) + '}'


def variants(kind):
    """(what was done, the message, the answer): a list of types, or the code of an error."""
    payload, needed, answer = MESSAGES[kind]
    good = {**GOOD, 'type': kind, 'payload': payload}
    for name in good:
        rest = [(n, json.dumps(v)) for n, v in good.items() if n != name]
        yield (f'{name} missing', encode(rest), missing(kind, name, needed, answer))
        value = json.dumps(good[name])
        yield f'{name} twice', encode([*rest, (name, value), (name, value)]), 'duplicate_member'
        for shape, other in KINDS.items():
            yield (f'{name} is {shape}', encode([*rest, (name, json.dumps(other))]),
                   replaced(kind, name, shape, answer))
    yield from payload_variants(kind, good, payload, answer)


def missing(kind, name, needed, answer):
    if name == 'type' or name in needed:
        return 'missing_member'
    if (kind, name) == ('subscribe', 'payload'):
        return ['subscribed']
    return 'missing_member' if (kind, name) == ('publish', 'ack_required') else answer


def replaced(kind, name, shape, answer):
    if name == 'payload':
        fits = {'subscribe': {'object': ['subscribed']}, 'history': {'object': ['history']},
                'ack': {'object': answer}, 'auth': {}}.get(kind)
        return answer if fits is None else fits.get(shape, 'bad_payload')
    if shape != COMMON[name][0]:
        return COMMON[name][1]
    return 'unknown_type' if name == 'type' else answer


def payload_variants(kind, good, payload, answer):
    """Only `subscribe`, `history`, `ack` and `auth` look into it."""
    rules = {'subscribe': PLACE, 'history': PAGE, 'ack': {'.offset': 'number'},
             'auth': {'.token': 'string'}}.get(kind, {})
    if kind == 'subscribe':  # the topic keeps no keys
        for shape, other in KINDS.items():
            whole = {n: json.dumps(v) for n, v in {**good, 'payload': {'max_rate': other}}.items()}
            yield (f'payload.max_rate is {shape}', encode(whole.items()),
                   'not_keyed' if shape == 'number' else 'bad_payload')
    for name in payload:
        rest = [(n, json.dumps(v)) for n, v in payload.items() if n != name]
        rule = rules.get(f'.{name}')

        def message(*members):
            whole = {n: json.dumps(v) for n, v in good.items()}
            return encode({**whole, 'payload': encode([*rest, *members])}.items())

        halved = kind == 'auth' or (kind == 'subscribe' and name in ('offset', 'epoch'))
        yield (f'payload.{name} missing', message(),
               'bad_payload' if rule and halved else answer)
        for shape, other in KINDS.items():
            yield (f'payload.{name} is {shape}', message((name, json.dumps(other))),
                   'bad_payload' if rule and shape != rule else answer)
        value = (name, json.dumps(payload[name]))
        yield (f'payload.{name} twice', message(value, value),
               'duplicate_member' if kind in ('subscribe', 'history', 'ack') else answer)


class BadInput:
    """For one shard and for several: the cases, not a test."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.peer, self.bystander = await self.join(), await self.join()
        await self.bystander.subscribe('b.by')

    async def refused(self, message, code):
        await self.peer.socket.send(message)
        answer = await self.peer.expect('error')
        self.assertEqual(answer['payload']['code'], code)
        self.assertIsInstance(answer['payload']['message'], str)

    async def untouched(self):
        """Nobody noticed: both are answered, and the next record is the first."""
        await self.peer.alive()
        await self.bystander.alive()
        await self.peer.publish('b.by', 'next')
        await self.bystander.expect('data_update', topic='b.by', payload='next')

    async def check(self, rows):
        for message, code in rows:
            with self.subTest(message[:80], code=code):
                await self.refused(message, code)
                await self.peer.alive()
        await self.untouched()

    async def test_what_is_no_json(self):
        await self.check(JSON)

    async def test_places_that_cannot_be(self):
        await self.check(PLACES)
        await self.peer.subscribe('b.t')  # none of them subscribed

    async def test_names_that_cannot_be(self):
        await self.check(NAMES)

    async def test_one_topic_too_many(self):
        most = self.peer.welcome['payload']['limits']['topics']
        self.assertEqual(most, 128)
        for number in range(most):
            await self.peer.subscribe(f'b.many.{number}')
        await self.check([(text(topic='b.many.last'), 'too_many_subscriptions'),
                          (text(topic='b.many.0'), 'already_subscribed')])

    async def test_numbers_that_nobody_can_hold_are_payloads_all_the_same(self):
        await self.peer.subscribe('b.large')
        for number in ['1e999999', '-1e999999', '1' + '0' * 400, '0.' + '0' * 400 + '1']:
            await self.peer.socket.send(
                f'{{"type":"publish","topic":"b.large","payload":[{number}]}}')
            self.assertTrue((await self.peer.socket.recv()).endswith(f'"payload":[{number}]}}'))
        await self.untouched()

    async def test_every_member_of_every_message_as_anything_else(self):
        for kind in MESSAGES:
            for done, message, answer in variants(kind):
                with self.subTest(kind, done=done, message=message):
                    await self.answered(message, answer)
            await self.bystander.alive()
        await self.untouched()

    async def answered(self, message, answer):
        """By an error of this code, or by these messages."""
        if isinstance(answer, str):
            await self.refused(message, answer)
            return
        await self.peer.socket.send(message)
        for kind in answer:
            await self.peer.expect(kind)
        if 'subscribed' in answer:
            await self.peer.send('unsubscribe', topic='b.m')
            await self.peer.expect('unsubscribed')
        await self.peer.alive()


class OneShard(BadInput, Test):
    settings = {'shards': 1, **SETTINGS}


class TwoShards(BadInput, Test):
    settings = {'shards': 2, **SETTINGS}

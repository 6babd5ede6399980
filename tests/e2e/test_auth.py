"""Tokens: all ways to show one, all ways to forge one, until when they hold, and what they allow.

Tokens are made by PyJWT, with keys of the `cryptography` package: neither knows our code.
"""
import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness import PATIENCE_S, LoneTest, Peer, Server, Test
from rawsock import RawClient, upgrade
from test_package_client import PackageClient

SECRET = 'this is a secret, and known to everybody'
PUBLIC = 'https://a.example'
RULES = ['open.>: subscribe-by=anyone, history=10', 'user.>: publish-by=user',
         'a.secret: subscribe-by=nobody', 'a.>: presence, history=10']
MAY = {'subscribe': ['a.>'], 'publish': ['a.>', 'open.>']}


def token(user='ann', seconds=60, key=SECRET, algorithm='HS256', headers=None, **claims):
    claims = {'sub': user, 'exp': time.time() + seconds, **MAY, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None},
                      key, algorithm, headers)


def forged(header, claims, secret=SECRET):
    """Signed with HMAC, whatever the header says; not at all without a secret."""
    def part(raw):
        return base64.urlsafe_b64encode(raw).rstrip(b'=')
    text = part(json.dumps(header).encode()) + b'.' + part(json.dumps(claims).encode())
    sign = hmac.new(secret.encode(), text, hashlib.sha256).digest() if secret else b''
    return (text + b'.' + part(sign)).decode()


def status(server, path='/ws', **headers):
    with RawClient(server) as client:
        client.send(upgrade(path, **headers))
        return client.response()[0]


def log_of(server):
    """So far. Read without moving the place at which the server goes on to write."""
    return os.pread(server.errors.fileno(), 1 << 20, 0).decode()


def auth(word):
    return {'payload': {'token': word}}


class TokenClient(PackageClient):
    """The package, which is given a token that is made just then whenever it asks for one."""
    tokens = []  # functions; the last one is for all further attempts

    async def event(self):
        event = await super().event()
        if event['event'] == 'token':
            make = self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]
            await self.tell(token=make())
        return event


class WithSecret(Test):
    """The server's tokens are signed with SECRET, which lies in cls.file."""
    @classmethod
    def setUpClass(cls):
        cls.begin()

    @classmethod
    def begin(cls, **settings):
        cls.folder = tempfile.TemporaryDirectory()
        cls.file = Path(cls.folder.name, 'secret')
        cls.file.write_text(SECRET + '\n')
        cls.file.chmod(0o600)
        cls.server = Server(dev=False, auth_alg='HS256', auth_key_file=cls.file, **settings)


class WithTokens(WithSecret):
    @classmethod
    def setUpClass(cls):
        cls.begin(topic=RULES, origin=PUBLIC, auth_leeway='0s', handshake_timeout='2s')

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        code, log = cls.server.wait(), cls.server.stderr()
        cls.folder.cleanup()
        assert code == 0, log
        # Every token begins so, and every secret is this.
        assert 'eyJ' not in log and SECRET not in log and 'token=' not in log, log

    async def test_a_token_is_shown_in_any_of_four_ways(self):
        good = token()
        for path, options in [
                (f'/ws?token={good}', {}),
                ('/ws', {'extra_headers': {'Authorization': f'Bearer {good}'}}),
                ('/ws', {'subprotocols': ['ringcast.v1', f'ringcast.token.{good}']})]:
            with self.subTest(path[:10], **options):
                peer = await self.join(path, **options)
                self.assertEqual(peer.welcome['payload']['user'], 'ann')
                expires = peer.welcome['payload']['expires']
                self.assertAlmostEqual(expires, time.time() + 60, delta=9)
                await peer.subscribe('a.way')
                if 'subprotocols' in options:
                    self.assertEqual(peer.socket.subprotocol, 'ringcast.v1')
        peer = Peer(await self.open())
        request = await peer.send('auth', **auth(good))
        self.assertEqual((await peer.expect('welcome', id=request))['payload']['user'], 'ann')
        await peer.subscribe('a.way')
        raw = await self.open(f'/raw?topic=a.raw&publish=a.raw&token={good}')
        await raw.send('over raw')
        self.assertEqual(await raw.recv(), 'over raw')

    async def test_whatever_is_wrong_with_a_token_it_opens_nothing(self):
        rows = {
            'expired': token(seconds=-1),
            'future': token(nbf=time.time() + 100),
            'issued later': token(iat=time.time() + 100),
            'another key': token(key='another secret, of at least 32 bytes'),
            'none': jwt.encode({'sub': 'ann', 'exp': time.time() + 60}, None, 'none'),
            'none, signed': forged({'alg': 'none'}, {'sub': 'ann', 'exp': time.time() + 60}),
            'nOnE': forged({'alg': 'nOnE'}, {'sub': 'ann', 'exp': time.time() + 60}, ''),
            'HS512': token(algorithm='HS512'),
            'RS256': token(key=rsa.generate_private_key(65537, 2048), algorithm='RS256'),
            'no exp': token(exp=None),
            'no sub': token(sub=None),
            'sub twice': forged({'alg': 'HS256'}, {'exp': time.time() + 60}),
            'crit': token(headers={'crit': ['exp']}),
            'a list as sub': forged({'alg': 'HS256'}, {'sub': ['a'], 'exp': time.time() + 60}),
            'cut short': token()[:-4],
            'more': token() + 'AAAA',
            'nothing': '',
            'no token': 'Bearer',
            'large': forged({'alg': 'HS256'}, {'sub': 'a' * 1100, 'exp': time.time() + 60}),
        }
        bystander = await self.join(f'/ws?token={token()}')
        for what, word in rows.items():
            with self.subTest(what):
                self.assertEqual(status(self.server, f'/ws?token={word}'), 401)
                self.assertEqual(status(self.server, f'/raw?topic=a.b&token={word}'), 401)
                if word:
                    self.assertEqual(status(self.server, Authorization=f'Bearer {word}'), 401)
                    peer = Peer(await self.open())
                    request = await peer.send('auth', **auth(word))
                    error = await peer.expect('error', id=request)
                    self.assertEqual(error['payload']['code'], 'unauthorized')
                    self.assertNotIn(word, json.dumps(error))
                    self.assertEqual((await peer.closed())[0], 4003)
        self.assertEqual(status(self.server, f'/ws?token={token()}',
                                Authorization=f'Bearer {token()}'), 400)
        await bystander.alive()

    async def test_who_shows_none_in_time_is_closed(self):
        peer = Peer(await self.open())
        self.assertEqual(await peer.closed(), (4003, 'no token was shown in time'))
        hasty = Peer(await self.open())
        await hasty.send('subscribe', topic='a.b')
        self.assertEqual((await hasty.expect('error'))['payload']['code'], 'unauthorized')
        self.assertEqual((await hasty.closed())[0], 4003)
        self.assertEqual(status(self.server, '/raw?topic=a.b'), 401)

    async def test_a_token_that_ends_ends_the_connection_unless_it_is_renewed(self):
        ends = await self.join(f'/ws?token={token(seconds=1.2)}')
        stays = await self.join(f'/ws?token={token(seconds=1.2)}')
        await stays.subscribe('a.renewed')
        request = await stays.send('auth', **auth(token()))
        await stays.expect('welcome', id=request)
        request = await stays.send('auth', **auth(token(user='bob')))
        self.assertEqual((await stays.expect('error', id=request))['payload']['code'],
                         'unauthorized')
        self.assertEqual(await ends.closed(), (4001, 'the token has expired'))
        await stays.publish('a.renewed', 1)
        await stays.expect('data_update', topic='a.renewed')

    async def test_a_token_allows_what_it_says_and_nothing_else(self):
        ann = await self.join(f'/ws?token={token()}')
        rows = [('subscribe', 'a.b', 'subscribed'), ('subscribe', 'b', 'error'),
                ('subscribe', 'a.*', 'subscribed'), ('subscribe', '>', 'error'),
                ('subscribe', 'a.secret', 'error'), ('history', 'a.b', 'history'),
                ('history', 'b', 'error'), ('presence', 'a.b', 'error'),
                ('subscribe', 'user.ann', 'subscribed'), ('subscribe', 'user.bob', 'error'),
                ('history', 'user.bob', 'error'), ('presence', 'user.bob', 'error'),
                ('presence', 'user.ann', 'presence'), ('subscribe', 'open.a', 'subscribed'),
                ('presence', 'open.a', 'error')]
        for kind, topic, answer in rows:
            with self.subTest(kind, topic=topic):
                request = await ann.send(kind, topic=topic)
                got = await ann.expect(answer, id=request)
                if answer == 'error':
                    self.assertEqual(got['payload']['code'], 'forbidden')
                if topic == 'a.*':  # it brings nothing new: a.b was there
                    await ann.alive()
        for topic in ['b', 'host.cpu', 'user']:
            request = await ann.publish(topic, 1, ack_required=True)
            error = await ann.expect('error', id=request)
            self.assertEqual(error['payload']['code'], 'forbidden')
        for path in ['/raw?topic=b', '/raw?topic=a.b&topic=a.secret', '/raw?publish=b',
                     '/raw?topic=user.bob']:
            with self.subTest(path):
                self.assertEqual(status(self.server, f'{path}&token={token()}'), 403)
        await ann.alive()

    async def test_a_users_topic_reaches_that_user_alone(self):
        wide = token('root', subscribe=['>'], publish=[], presence=True)
        everything = await self.join(f'/ws?token={wide}')
        bob = await self.join(f"/ws?token={token('bob')}")
        ann = await self.join(f'/ws?token={token()}')
        await bob.subscribe('user.bob')
        request = await everything.send('presence', topic='user.bob')
        error = await everything.expect('error', id=request)
        self.assertEqual(error['payload']['code'], 'forbidden')
        await everything.send('subscribe', topic='>')
        await everything.expect('subscribed', topic='>')
        await ann.publish_acked('user.bob', 'for bob')
        await bob.expect('data_update', topic='user.bob', payload='for bob')
        await ann.publish_acked('user.eve', 'for eve')
        await ann.publish_acked('a.marker', 'for everybody')
        seen = []
        while not seen or (seen[-1]['type'], seen[-1]['topic']) != ('data_update', 'a.marker'):
            seen.append(await everything.receive())
        self.assertEqual([one for one in seen if one['topic'].startswith('user.')], [])

    async def test_presence_says_who_it_is_and_a_name_is_its_users_own(self):
        def path(user):
            return f"/ws?client_id=same&token={token(user, presence=True, info={'n': user})}"
        ann, bob = await self.join(path('ann')), await self.join(path('bob'))
        await ann.subscribe('a.room')
        await bob.subscribe('a.room')
        request = await bob.send('presence', topic='a.room')
        clients = (await bob.expect('presence', id=request))['payload']['clients']
        self.assertEqual([(one['client_id'], one['user'], one['info']) for one in clients],
                         [('same', 'ann', {'n': 'ann'}), ('same', 'bob', {'n': 'bob'})])
        again = await self.join(path('ann'))
        self.assertEqual((await ann.closed())[0], 4501)
        await bob.alive()
        await again.alive()

    async def test_who_is_anonymous_may_what_a_rule_lets_anybody_do(self):
        page = await self.join(origin=PUBLIC)
        self.assertNotIn('user', page.welcome['payload'])
        await page.subscribe('open.news')
        request = await page.send('subscribe', topic='a.b')
        self.assertEqual((await page.expect('error', id=request))['payload']['code'], 'forbidden')
        request = await page.send('auth', **auth(token()))
        await page.expect('welcome', id=request)
        await page.subscribe('a.b')
        self.assertEqual(status(self.server, Origin='https://b.example'), 403)
        self.assertEqual(status(self.server, Origin='null'), 403)
        self.assertEqual(status(self.server, '/raw?topic=open.news'), 401)
        self.assertEqual(status(self.server, '/raw?topic=open.news', Origin=PUBLIC), 101)

    async def test_who_was_anonymous_takes_his_name_along(self):
        page = await self.join('/ws?client_id=same', origin=PUBLIC)
        await page.expect('welcome', id=await page.send('auth', **auth(token())))
        stranger = await self.join('/ws?client_id=same', origin=PUBLIC)
        bob = await self.join(f"/ws?client_id=same&token={token('bob')}")
        for peer in [page, stranger, bob]:
            await peer.alive()
        again = await self.join(f'/ws?client_id=same&token={token()}')
        self.assertEqual((await page.closed())[0], 4501)
        for peer in [stranger, bob, again]:
            await peer.alive()

    async def test_the_client_package_comes_back_with_a_new_token_and_misses_nothing(self):
        publisher = await self.join(f'/ws?token={token()}')
        TokenClient.tokens = [lambda: token(seconds=1.2), token]
        async with await TokenClient.connect(self.server, tokens=True) as client:
            epoch = (await client.subscribe('a.client'))['epoch']
            await publisher.publish_acked('a.client', 'before')
            while 4001 not in [event.get('closeCode') for event in client.seen]:
                await client.event()
            await publisher.publish_acked('a.client', 'meanwhile')
            await publisher.publish_acked('a.client', 'after')
            while client.accounted('a.client', epoch) != [1, 2, 3]:
                await client.event()
        TokenClient.tokens = [lambda: 'a.b.c', token]
        async with await TokenClient.connect(self.server, tokens=True) as client:
            self.assertIn({'event': 'error', 'code': 'unauthorized'}, client.seen)
            self.assertIn(4003, [event.get('closeCode') for event in client.seen])
        async with await TokenClient.connect(self.server, tokens=True, tokenIn='query') as client:
            await client.subscribe('a.client')

    async def test_keys_are_read_again_and_a_bad_file_changes_nothing(self):
        next_secret = 'the next secret, which is as long as that'
        ann = await self.join(f'/ws?token={token()}')
        for text, mode, line, good, bad in [
                ('short\n', 0o600, 'still the old ones', SECRET, next_secret),
                (next_secret, 0o644, 'everybody may read it', SECRET, next_secret),
                (next_secret + '\n' + SECRET, 0o600, 'were read again', next_secret, 'x' * 32),
                (SECRET, 0o600, 'were read again', SECRET, next_secret)]:
            with self.subTest(line):
                before = log_of(self.server).count('SIGHUP')
                self.file.write_text(text)
                self.file.chmod(mode)
                self.server.process.send_signal(signal.SIGHUP)
                end = time.monotonic() + PATIENCE_S
                while log_of(self.server).count('SIGHUP') == before:
                    self.assertLess(time.monotonic(), end)
                self.assertIn(line, log_of(self.server).strip().splitlines()[-1])
                await ann.alive()
                for _ in range(4):  # on either shard
                    self.assertEqual(status(self.server, f'/ws?token={token(key=good)}'), 101)
                    self.assertEqual(status(self.server, f'/ws?token={token(key=bad)}'), 401)


class OtherAlgorithms(Test):
    async def test_public_keys_verify_and_are_no_secrets(self):
        makers = {
            'RS256': (rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm),
            'ES256': (ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
            'EdDSA': (ed25519.Ed25519PrivateKey.generate(), jwt.algorithms.OKPAlgorithm)}
        sets = [{**json.loads(algorithm.to_jwk(key.public_key())), 'kid': name, 'use': 'sig'}
                for name, (key, algorithm) in makers.items()]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'jwks.json')
            file.write_text(json.dumps({'keys': sets}))
            for name in makers:
                with self.subTest(name), Server(
                        dev=False, shards=1, auth_alg=name, auth_jwks_file=file,
                        auth_issuer='us', auth_audience='here') as server:
                    for signer, (key, _) in makers.items():
                        for header in [None, {'kid': signer}]:
                            word = token(key=key, algorithm=signer, headers=header, iss='us',
                                         aud=['there', 'here'])
                            self.assertEqual(status(server, f'/ws?token={word}'),
                                             101 if signer == name else 401)
                    key = makers[name][0]
                    for claims in [{}, {'iss': 'us'}, {'iss': 'them', 'aud': 'here'}]:
                        word = token(key=key, algorithm=name, **claims)
                        self.assertEqual(status(server, f'/ws?token={word}'), 401)
                    claims = {'sub': 'ann', 'exp': time.time() + 60, 'iss': 'us', 'aud': 'here'}
                    for header in [{'alg': 'HS256'}, {'alg': name}]:
                        word = forged(header, claims, file.read_text())
                        self.assertEqual(status(server, f'/ws?token={word}'), 401)


class Commands(LoneTest):
    def run_it(self, *words, given=''):
        done = subprocess.run([os.environ['RINGCASTD'], *words], input=given, text=True,
                              capture_output=True, timeout=PATIENCE_S)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    async def test_tokens_by_hand(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'secret')
            file.write_text(SECRET)
            file.chmod(0o600)
            code, word, _ = self.run_it('gen-token', '--auth-key-file', str(file), '--sub', 'ann',
                                        '--subscribe', 'a.>', '--subscribe', 'b', '--publish', 'c',
                                        '--expires', '2h', '--auth-audience', 'here')
            self.assertEqual(code, 0)
            claims = jwt.decode(word, SECRET, ['HS256'], audience='here')
            self.assertEqual((claims['sub'], claims['subscribe'], claims['publish']),
                             ('ann', ['a.>', 'b'], ['c']))
            self.assertAlmostEqual(claims['exp'], time.time() + 7200, delta=60)
            check = ['check-token', '--auth-alg', 'HS256', '--auth-key-file', str(file)]
            code, said, _ = self.run_it(*check, given=word + '\n')
            self.assertEqual(code, 0)
            self.assertIn('sub: ann\nsubscribe: a.>\nsubscribe: b\npublish: c\n', said)
            for given, line in [(word[:-3] + 'AAA', 'not signed'), ('', 'three parts'),
                                (token(seconds=-100), 'expired')]:
                code, said, errors = self.run_it(*check, given=given)
                self.assertEqual((code, said), (1, ''))
                self.assertEqual(len(errors.splitlines()), 1)
                self.assertIn(line, errors)
            keys = ['--auth-key-file', str(file)]
            for words in [['gen-token', '--sub', 'a'], ['check-token'], ['gen-token', *keys],
                          ['gen-token', *keys, '--sub', 'a', '--expires', '1'],
                          ['serve', '--auth-alg', 'HS256'], ['serve', '--auth-alg', 'none'],
                          ['serve', '--auth-key-file', str(file)],
                          ['serve', '--topic', 'a: subscribe-by=user']]:
                code, said, errors = self.run_it(*words)
                self.assertEqual((code, said, len(errors.splitlines())), (2, '', 1), words)


class Users(WithSecret):
    """What tokens have to do with limits, and with compression."""

    @classmethod
    def setUpClass(cls):
        cls.begin(connections_per_user=2, compression=True, pending_per_address=3,
                  limit_loopback=True, shards=1)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    async def show(self, word, **options):
        """A connection whose first message has this token; the answer is still to be read."""
        peer = Peer(await self.open(**options))
        await peer.send('auth', **auth(word))
        return peer

    async def test_a_user_has_so_many_connections_however_he_comes(self):
        first = await self.join(f'/ws?token={token()}')
        await (await self.show(token())).expect('welcome')
        self.assertEqual(status(self.server, f'/ws?token={token()}'), 429)
        self.assertEqual((await (await self.show(token())).closed())[0], 4030)
        one = token('bob', limits={'connections': 1})  # less than all others
        await (await self.show(one)).expect('welcome')
        self.assertEqual((await (await self.show(one)).closed())[0], 4030)
        await first.socket.close()
        await (await self.show(token())).expect('welcome')

    async def test_who_has_shown_no_token_is_pending(self):
        oldest, *_, newest = [Peer(await self.open()) for _ in range(4)]
        self.assertEqual((await oldest.closed())[0], 1006)
        await newest.send('auth', **auth(token('dora')))
        await newest.expect('welcome')

    async def test_a_token_may_come_compressed(self):
        peer = await self.show(token('carl'), compression='deflate')
        await peer.expect('welcome')
        await peer.subscribe('a.b')
        bomb = await self.open(compression='deflate')  # not even for a moment
        await bomb.send('x' * 20_000)
        self.assertEqual((await Peer(bomb).closed())[0], 1009)

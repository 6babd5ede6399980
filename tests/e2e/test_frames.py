"""Frames that broke other servers. Each row: the bytes, and the close codes allowed. After each the
bystander must still be served."""
from harness import Test
from rawsock import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawClient, frame

BROKEN, NOT_UTF8, POLICY, TOO_BIG = {1002}, {1007}, {1008}, {1009}
KIB = 1024


def closing(code, reason=b''):
    return frame(CLOSE, code.to_bytes(2, 'big') + reason)


def fragments(*parts, opcode=TEXT):
    last = len(parts) - 1
    return b''.join(frame(CONTINUATION if i else opcode, part, fin=i == last)
                    for i, part in enumerate(parts))


ROWS = [
    ('unmasked', frame(TEXT, b'hello', mask=False), BROKEN),
    ('unmasked and empty', frame(TEXT, mask=False), BROKEN),
    ('unmasked ping', frame(PING, mask=False), BROKEN),
    ('RSV1', frame(TEXT, b'x', rsv=4), BROKEN),
    ('RSV2', frame(TEXT, b'x', rsv=2), BROKEN),
    ('RSV3', frame(PING, b'x', rsv=1), BROKEN),
    ('continuation of nothing', frame(CONTINUATION, b'x'), BROKEN),
    ('new message inside one', frame(TEXT, b'a', fin=False) + frame(TEXT, b'b'), BROKEN),
    ('ping of 126', frame(PING, bytes(126)), BROKEN),
    ('ping of 2^40', frame(PING, length=1 << 40), BROKEN),
    ('ping in fragments', frame(PING, b'x', fin=False), BROKEN),
    ('close in fragments', frame(CLOSE, b'\x03\xe8', fin=False), BROKEN),
    ('length 5 in 16 bits', frame(TEXT, b'hello', form=16), BROKEN),
    ('length 5 in 64 bits', frame(TEXT, b'hello', form=64), BROKEN),
    ('length 2^63', frame(BINARY, length=1 << 63), BROKEN | TOO_BIG),
    ('length 2^64 - 1', frame(BINARY, length=(1 << 64) - 1), BROKEN | TOO_BIG),
    ('length 2^64 - 4', frame(BINARY, b'x' * 64, length=(1 << 64) - 4), BROKEN | TOO_BIG),
    ('length 2^63 - 1', frame(BINARY, length=(1 << 63) - 1), TOO_BIG),
    ('length 2^63 after a fragment',
     frame(BINARY, b'x', fin=False) + frame(CONTINUATION, length=1 << 63, fin=False),
     BROKEN | TOO_BIG),
    ('sum wraps to 0',
     frame(BINARY, b'x', fin=False) + frame(CONTINUATION, length=(1 << 63) - 1), TOO_BIG),
    ('a byte too many', frame(BINARY, length=64 * KIB + 1), TOO_BIG),
    ('a byte too many in fragments',
     fragments(bytes(32 * KIB), bytes(32 * KIB), b'x', opcode=BINARY), TOO_BIG),
    ('endless fragments of one byte', frame(TEXT, b'x', fin=False)
     + frame(CONTINUATION, b'x', fin=False) * 2000, POLICY | TOO_BIG),
    ('endless empty fragments', frame(TEXT, fin=False)
     + frame(CONTINUATION, fin=False) * 2000, POLICY | TOO_BIG),
    ('not UTF-8', frame(TEXT, b'\xff'), NOT_UTF8),
    ('cut UTF-8', frame(TEXT, b'\xc3'), NOT_UTF8),
    ('overlong UTF-8', frame(TEXT, b'\xc0\x80'), NOT_UTF8),
    ('a surrogate', frame(TEXT, b'\xed\xa0\x80'), NOT_UTF8),
    ('beyond Unicode', frame(TEXT, b'\xf4\x90\x80\x80'), NOT_UTF8),
    ('not UTF-8 over two fragments', fragments(b'\xc3', b'\x28'), NOT_UTF8),
    ('not UTF-8 before the end is there', frame(TEXT, b'\xff', fin=False), NOT_UTF8),
    ('close of one byte', frame(CLOSE, b'\x03'), BROKEN),
    ('close of 126', frame(CLOSE, b'\x03\xe8' + bytes(124)), BROKEN),
    ('close reason is not UTF-8', closing(1000, b'\xff'), NOT_UTF8 | BROKEN),
    ('close 1000', closing(1000, b'bye'), {1000}),
    ('close 3000', closing(3000), {3000}),
    ('close 4999', closing(4999), {4999}),
    ('close without a code', frame(CLOSE), {1005, 1000}),
    ('a message after close', closing(1000) + frame(TEXT, b'late'), {1000}),
]
ROWS += [(f'opcode {code}', frame(code, b'x'), BROKEN)
         for code in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]]
ROWS += [(f'close {code}', closing(code), BROKEN)
         for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2999, 5000, 65535]]


class Frames(Test):
    async def test_each_fault_has_its_close_code_and_nobody_else_notices(self):
        bystander = await self.join()
        for name, data, codes in ROWS:
            with self.subTest(name), RawClient(self.server) as client:
                client.handshake()
                client.send(data)
                self.assertIn(client.close_code(), codes)
                self.assertEqual(client.frame(), (None, b''), 'nothing may follow a close')
            await bystander.alive()

    async def test_a_fault_byte_by_byte_is_the_same_fault(self):
        bystander = await self.join()
        for name, data, codes in ROWS:
            if len(data) > 300:
                continue
            with self.subTest(name), RawClient(self.server) as client:
                client.handshake()
                for i in range(len(data)):
                    client.send(data[i:i + 1])
                self.assertIn(client.close_code(), codes)
        await bystander.alive()

    async def test_a_message_as_large_as_allowed_is_echoed(self):
        with RawClient(self.server) as client:
            client.handshake()
            client.send(frame(BINARY, bytes(64 * KIB)))
            self.assertEqual(client.frame(), (BINARY, bytes(64 * KIB)))

    async def test_pongs_nobody_asked_for_are_ignored(self):
        with RawClient(self.server) as client:
            client.handshake()
            client.send(frame(PONG, b'x') + frame(PONG) + frame(TEXT, b'after'))
            self.assertEqual(client.frame(), (TEXT, b'after'))

    async def test_a_flood_of_pings_from_one_who_never_reads_harms_nobody(self):
        bystander = await self.join()
        with RawClient(self.server, receive_buffer=4096) as client:
            client.handshake()
            client.socket.settimeout(0.5)
            try:  # the server may close it or stop reading it: both are right
                for _ in range(50):
                    if not client.send(frame(PING, b'x' * 100) * 400):
                        break
                    await bystander.alive()
            except TimeoutError:
                pass
        await bystander.alive()

    async def test_clients_that_vanish_inside_a_frame_leave_nothing_behind(self):
        bystander = await self.join()
        data = frame(TEXT, b'x' * 1000)
        for cut in [1, 2, 5, 8, 9, 500, len(data) - 1] * 10:
            client = RawClient(self.server).handshake()
            client.send(data[:cut])
            client.reset()
        await bystander.alive()

"""A WebSocket client made of bytes, for what a decent library refuses to send."""
import os
import re
import socket
import ssl
import struct

from harness import PATIENCE_S

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='        # RFC 6455, section 1.3
ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='


def upgrade(path='/echo', extra='', **headers):
    """A request for an upgrade. A header given as None is left out."""
    named = {'Host': 'localhost', 'Upgrade': 'websocket', 'Connection': 'Upgrade',
             'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13'}
    named.update({name.replace('_', '-'): value for name, value in headers.items()})
    lines = ''.join(f'{name}: {value}\r\n' for name, value in named.items() if value is not None)
    return f'GET {path} HTTP/1.1\r\n{lines}{extra}\r\n'.encode('latin-1')


def frame(opcode, payload=b'', *, fin=True, rsv=0, mask=True, length=None, form=None):
    """One frame. `length`: what the header claims; `form`: 7, 16 or 64 bits for it."""
    length = len(payload) if length is None else length
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    head += {7: lambda: bytes([bit | length]), 16: lambda: struct.pack('>BH', bit | 126, length),
             64: lambda: struct.pack('>BQ', bit | 127, length)}[form]()
    if not mask:
        return head + payload
    key = os.urandom(4)
    stretched = (key * (len(payload) // 4 + 1))[:len(payload)]
    masked = int.from_bytes(payload, 'big') ^ int.from_bytes(stretched, 'big')
    return head + key + masked.to_bytes(len(payload), 'big')


class RawClient:
    """Blocking, with a time limit on everything; over TLS if that is how to come to the server
    (`trust`). Use as a context manager."""

    def __init__(self, server, receive_buffer=None, source=None):
        self.socket = socket.socket()
        if source:
            self.socket.bind((source, 0))
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # pieces stay pieces
        self.socket.settimeout(PATIENCE_S)
        trust = getattr(server, 'trust', None)
        self.socket.connect(('127.0.0.1', server.tls_port if trust else server.port))
        if trust:
            self.socket = trust.wrap_socket(self.socket, server_hostname='localhost')
        self.received = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def reset(self):
        """Ends it with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.socket.close()

    def send(self, data):
        """False if the server has already hung up, which it may at any time."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            return False

    def _fill(self):
        try:
            more = self.socket.recv(1 << 16)
        except ConnectionResetError:
            more = b''
        self.received += more
        return bool(more)

    def take(self, size):
        """So many bytes; fewer if the server ended before."""
        while len(self.received) < size and self._fill():
            pass
        taken, self.received = self.received[:size], self.received[size:]
        return taken

    def response(self):
        """(status, headers in lower case, body up to Content-Length); status 0: hung up at once."""
        while b'\r\n\r\n' not in self.received and self._fill():
            pass
        head, found, self.received = self.received.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        status = re.match(r'HTTP/1\.1 (\d{3}) ', lines[0])
        if not found or not status:
            return 0, {}, b''
        pairs = (line.split(':', 1) for line in lines[1:])
        headers = {name.lower(): value.strip() for name, value in pairs}
        return int(status[1]), headers, self.take(int(headers.get('content-length', 0)))

    def handshake(self, path='/echo'):
        self.send(upgrade(path))
        status, headers, _ = self.response()
        assert status == 101, status
        assert headers['sec-websocket-accept'] == ACCEPT, headers
        return self

    def frame(self):
        """(opcode, payload) of the next frame; (None, b'') at the end."""
        head = self.take(2)
        if len(head) < 2:
            return None, b''
        assert head[0] & 0x70 == 0, 'a reserved bit is set'
        assert head[1] & 0x80 == 0, 'a server must not mask'
        length = head[1]
        if length >= 126:
            length = int.from_bytes(self.take(2 if length == 126 else 8), 'big')
        return head[0] & 0x0f, self.take(length)

    def close_code(self):
        """The code of the next close frame (1005: it has none), or None if there is no such."""
        while True:
            opcode, payload = self.frame()
            if opcode is None:
                return None
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], 'big') if payload else 1005

    def ended_within(self, seconds):
        """Waits for the end that long; what comes in the meantime is kept."""
        self.socket.settimeout(seconds)
        try:
            while self._fill():
                pass
            return True
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(PATIENCE_S)

    def ended(self):
        """Does the server end the connection (after whatever it still sends)?"""
        self.received = b''
        while self._fill():
            self.received = b''
        return True

#!/usr/bin/python3
"""How fast durable topics take what is published: acknowledged messages a second, and how many of
them share an fsync.

    bench/durable.py --build build/release [--folder /var/tmp] [--seconds 10] [--rate 2000]

Publishers write frames that were made before, in bursts, and count acks; without --rate each keeps
--window messages under way. Commits are those that the write-ahead log was written for, as counted
by strace where there is one (it slows them down); without it there is no such column.
"""
import argparse
import json
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests/e2e'))
from rawsock import TEXT, frame, upgrade  # noqa: E402

ACK = b'"type":"ack"'


class Publisher:
    def __init__(self, port, name, size):
        self.socket = socket.create_connection(('127.0.0.1', port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.sendall(upgrade(f'/ws?client_id={name}'))
        received = b''
        while b'"type":"welcome"' not in received:
            received += self.socket.recv(65536)
        self.size, self.sent, self.acked, self.tail = size, 0, 0, b''
        self.began = {}  # number of a message: when it was sent, of some of them

    def send(self, count):
        frames = []
        for number in range(self.sent, self.sent + count):
            text = {'type': 'publish', 'topic': 'd.bench', 'id': str(number),
                    'ack_required': True, 'payload': 'x' * self.size}
            frames.append(frame(TEXT, json.dumps(text).encode()))
        if count:
            self.began[self.sent + count - 1] = time.monotonic()
        self.socket.sendall(b''.join(frames))
        self.sent += count

    def hear(self, delays):
        data = self.tail + self.socket.recv(1 << 20)
        if b'"type":"error"' in data:
            raise SystemExit(data[-300:])
        self.acked += data.count(ACK)
        self.tail = data[-(len(ACK) - 1):]
        for number in [number for number in self.began if number < self.acked]:
            delays.append(time.monotonic() - self.began.pop(number))


def start(options, folder):
    server = subprocess.Popen(
        [options.build + '/ringcastd', 'serve', '--listen', '127.0.0.1:0', '--anonymous-publish',
         '--store', folder + '/store', '--topic', 'd.>: durable, history=1000',
         '--messages-per-second', '0'],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return server, int(re.search(r':(\d+) ', server.stdout.readline())[1])


def drive(options, publishers):
    delays, began = [], time.monotonic()
    with selectors.DefaultSelector() as selector:
        for publisher in publishers:
            selector.register(publisher.socket, selectors.EVENT_READ, publisher)
        while (now := time.monotonic()) < began + options.seconds:
            for publisher in publishers:
                wanted = publisher.acked + options.window
                if options.rate:
                    wanted = min(wanted, int((now - began) * options.rate / len(publishers)) + 1)
                if wanted - publisher.sent >= (1 if options.rate else options.window // 4):
                    publisher.send(wanted - publisher.sent)
            for key, _ in selector.select(0.001):
                key.data.hear(delays)
    span = time.monotonic() - began
    return sum(publisher.acked for publisher in publishers) / span, sorted(delays), span


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default='build/release')
    parser.add_argument('--folder', default='/var/tmp', help='on the disk to be measured')
    parser.add_argument('--seconds', type=float, default=10)
    parser.add_argument('--rate', type=int, default=0, help='of all together; 0: at full speed')
    parser.add_argument('--publishers', type=int, default=4)
    parser.add_argument('--window', type=int, default=200)
    parser.add_argument('--size', type=int, default=128, help='bytes of a payload')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        server, port = start(options, folder)
        tracer, publishers = None, []
        try:
            publishers = [Publisher(port, f'p{i}', options.size) for i in range(options.publishers)]
            if shutil.which('strace'):
                tracer = subprocess.Popen(
                    ['strace', '-fc', '-e', 'trace=fdatasync,fsync', '-p', str(server.pid)],
                    stderr=subprocess.PIPE, text=True)
            acks, delays, span = drive(options, publishers)
            line = f'{acks:.0f} acks a second'
            if delays:
                line += f', ack after {delays[len(delays) // 2] * 1000:.1f} ms (median)'
                line += f', {delays[len(delays) * 99 // 100] * 1000:.1f} ms (99 %)'
            if tracer:
                tracer.send_signal(signal.SIGINT)
                calls = sum(int(row.split()[3]) for row in tracer.communicate()[1].splitlines()
                            if row.endswith('sync'))
                if calls:
                    line += f', {calls / span:.0f} fsyncs a second'
                    line += f', {acks * span / calls:.1f} records each'
            print(line)
        finally:
            for publisher in publishers:
                publisher.socket.close()
            server.terminate()
            server.wait()


if __name__ == '__main__':
    main()

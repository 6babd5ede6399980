"""The fault proxy as a test uses it: a process in front of a server, and a line for each fault."""
import re
import signal
import socket
import subprocess

START_LIMIT_S = 10
ANSWER_LIMIT_S = 10


class FaultProxy:
    """`program --to TARGET`; do('add both latency 20 10') answers what the proxy answers."""

    def __init__(self, program, target_port, seed=1, links_max=4096):
        self.process = subprocess.Popen(
            [program, '--to', f'127.0.0.1:{target_port}', '--control', '127.0.0.1:0',
             '--seed', str(seed), '--links-max', str(links_max)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        ports = re.findall(r'127\.0\.0\.1:(\d+)', ready)
        if len(ports) != 2:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f'no proxy: {ready!r}')
        self.port = int(ports[0])
        self.control = socket.create_connection(('127.0.0.1', int(ports[1])), ANSWER_LIMIT_S)
        self.answers = self.control.makefile('r')

    def ask(self, line):
        """The answer, whatever it is."""
        self.control.sendall(line.encode() + b'\n')
        return self.answers.readline().rstrip('\n')

    def do(self, line):
        """What comes behind "ok"; anything else is the test's fault."""
        answer = self.ask(line)
        assert answer.split(' ')[0] == 'ok', f'{line}: {answer}'
        return answer[3:]

    def stats(self):
        return {name: int(number)
                for name, number in re.findall(r'(\w+)=(\d+)', self.do('stats'))}

    def url(self, path=''):
        return f'ws://127.0.0.1:{self.port}{path}'

    def stop(self):
        self.answers.close()
        self.control.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process.stdout.close()
        assert code == 0, f'the proxy ended with {code}'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

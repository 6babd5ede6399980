#!/usr/bin/python3
"""A WebSocket session through the fault proxy, fault by fault: faultproxy.py PROXY SERVER TOOL.

Loopback, ports that the kernel chooses, bounded in count and time. Needs python3-websockets.
"""
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import websockets

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / folder) for folder in ('e2e', 'chaos')]
from harness import Server, UNLIMITED_RATE  # noqa: E402
from proxy import FaultProxy  # noqa: E402

TIMEOUT_S = 60


def dial(proxy, patience_s=TIMEOUT_S):
    return websockets.connect(proxy.url('/echo'), compression=None, ping_interval=None,
                              open_timeout=patience_s, close_timeout=2)


async def echo(socket, text):
    await socket.send(text)
    return await asyncio.wait_for(socket.recv(), TIMEOUT_S)


async def streams_stay_whole(proxy):
    """Faults that only take time: every echo is the right one, of old links and of new ones."""
    async with dial(proxy) as old:
        for fault in ['slice 1', 'latency 20 20', 'bandwidth 200000', 'slice 100 200',
                      'swizzle 500']:
            proxy.do(f'add both {fault}')
            async with dial(proxy) as new:
                for socket in (old, new):
                    for size in (1, 125, 126, 4000):
                        text = fault[0] * size
                        assert await echo(socket, text) == text, fault
            proxy.do('clear')


async def latency_is_felt(proxy):
    async with dial(proxy) as socket:
        proxy.do('add both latency 100')
        start = time.monotonic()
        await echo(socket, 'far')
        assert time.monotonic() - start >= 0.2
        proxy.do('clear')


async def a_black_hole_is_silent_until_it_ends(proxy):
    async with dial(proxy) as socket:
        fault = proxy.do('add up blackhole')
        await socket.send('held')
        try:
            await asyncio.wait_for(socket.recv(), 0.3)
            raise AssertionError('something came through')
        except asyncio.TimeoutError:
            pass
        proxy.do(f'remove {fault}')
        assert await asyncio.wait_for(socket.recv(), TIMEOUT_S) == 'held'


async def ends_are_ends(proxy):
    for fault in ['cut', 'add both reset', 'add down reset 3', 'add down half', 'add down half 3']:
        async with dial(proxy) as socket:
            proxy.do(fault)
            try:
                await echo(socket, 'never')
                raise AssertionError(f'{fault}: it came back')
            except websockets.ConnectionClosed:
                pass
            proxy.do('clear')


async def flipped_bits_cost_a_connection_and_no_more(proxy):
    proxy.do('add up flip 200000')
    for _ in range(20):
        try:
            async with dial(proxy, 1) as socket:  # a request without an end gets no answer
                await echo(socket, 'x' * 200)
        except (OSError, EOFError, websockets.WebSocketException, asyncio.TimeoutError):
            pass
    proxy.do('clear')
    async with dial(proxy) as socket:
        assert await echo(socket, 'sound') == 'sound'


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)


def load_test(proxy, tool):
    proxy.do('add both latency 10 10 50%')
    proxy.do('add both slice 40 0 50%')
    done = run(tool, 'bench', 'fanout', '-c', '20', '-m', '500', '--check', '-q', '--url',
               proxy.url())
    assert done.returncode == 0, done.stdout + done.stderr
    proxy.do('clear')


def command_lines(program):
    for arguments in [[], ['--to', 'nowhere'], ['--to', '127.0.0.1:1', '--links-max', '0'],
                      ['--to', '127.0.0.1:1', '--listen', 'x'], ['--what']]:
        done = run(program, *arguments)
        assert (done.returncode, done.stderr.count('\n')) == (2, 1), (arguments, done)
    done = run(program, '--to', '127.0.0.1:1', '--control', 'unix:/no/such/folder/x')
    assert (done.returncode, done.stderr.count('\n')) == (1, 1), done


async def main():
    program, server_program, tool = sys.argv[1:]
    os.environ.update(RINGCASTD=server_program, RINGCAST_IO='auto')
    command_lines(program)
    with Server(**UNLIMITED_RATE) as server, \
            FaultProxy(program, server.port) as proxy:
        assert proxy.ask('make it worse') == "error: 'make' is no command"
        for show in [streams_stay_whole, latency_is_felt, a_black_hole_is_silent_until_it_ends,
                     ends_are_ends, flipped_bits_cost_a_connection_and_no_more]:
            await asyncio.wait_for(show(proxy), TIMEOUT_S)
        load_test(proxy, tool)


asyncio.run(main())

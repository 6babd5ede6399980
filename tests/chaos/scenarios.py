"""The scenarios: what the network and the machine do to a server, and what must hold all the same.

Each function is one scenario: it raises if something does not hold, and returns the line of figures
that its reader wants. `seconds` of a decorator bound it, and are many times what it takes where
nothing else runs: how fast something went is for the reader, never a reason to fail. `long` ones
run with --long only. The load test's own check (every message once, in order, byte for byte, or
told) is on in all of them.
"""
import os
import signal
import time

from proxy import FaultProxy
from world import (CrowdedServer, Firewall, Load, RawClient, Server, figures, load, p99_ms, pause,
                   sh, wait_until)

SCENARIOS = []


def scenario(seconds, needs='', long=False):
    def add(function):
        SCENARIOS.append((function.__name__, function, seconds, needs.split(), long))
        return function
    return add


# --- A bad network -------------------------------------------------------------------------------

def with_loss(percent):
    with Server() as server, Firewall(server.port, percent) as firewall:
        report = load(server, '-c', 100, '-r', 100, '-d', 6, '--grace', 30, '-q')
        dropped = firewall.dropped()
    assert dropped > 0, 'nothing was dropped'
    assert server.counters['pong timeouts'] == 0
    return f'{figures(report)}; {dropped:,} packets dropped'


@scenario(150, 'nft')
def loss_of_2_percent():
    return with_loss(2)


def backoff_is_bounded():
    """Has TCP try again every second at least, where the kernel can (6.15). Else one segment in
    100,000 or so is lost six times running at 10 percent, and its connection is mute for 13 s."""
    try:
        with open('/proc/sys/net/ipv4/tcp_rto_max_ms', 'w', encoding='ascii') as limit:
            limit.write('1000')
        return True
    except OSError:
        return False


@scenario(150, 'nft')
def loss_of_10_percent():
    """Live peers on a bad network are not taken for dead: pings every second, and none closed."""
    patience = '10s' if backoff_is_bounded() else '60s'
    with Server(ping_interval='1s', pong_timeout=patience) as server, \
            Firewall(server.port, 10) as firewall:
        report = load(server, '-c', 100, '-r', 20, '-d', 8, '--grace', 30, '-q')
        dropped = firewall.dropped()
    assert server.counters['pong timeouts'] == 0
    return f'{figures(report)}; {dropped:,} packets dropped'


@scenario(150, 'tc')
def a_rate_of_8_megabit():
    """Twice as much is offered as the wire takes: what the log cannot keep, it tells."""
    with Server(log_memory='4MiB') as server:
        # With segments of 64 KiB, as lo has them, twenty flows starve each other to ETIMEDOUT.
        sh('ip link set lo mtu 1500')
        sh('tc qdisc add dev lo root tbf rate 8mbit burst 70kb latency 100ms')
        report = load(server, '-c', 20, '-r', 200, '-s', 500, '-d', 4, '--envelope', '--grace', 30,
                      '-q', limit_s=120)
    return figures(report)


@scenario(150)
def an_mtu_of_120():
    sh('ip link set lo mtu 120')
    with Server() as server:
        small = load(server, '-c', 50, '-m', 2000, '-q')
        large = load(server, '-c', 10, '-m', 50, '-s', 60000, '--window', 4, '--envelope', '-q')
    return f'{figures(small)}; of 60 kB: {figures(large)}'


@scenario(150, 'ss')
def resets_under_traffic():
    """Every half a second a quarter of the subscribers is reset, from outside; all come back."""
    with Server() as server:
        base = server.descriptors()
        # From four addresses; publishers have the first, and are spared.
        running = Load(server.url(''), '-c', 400, '-r', 500, '-d', 8, '--envelope', '--reconnect',
                       '--sources', 4, '--grace', 10)
        running.connected()
        for source in (2, 3, 4, 2, 3, 4, 2, 3):
            sh(f'ss -K dst 127.0.0.{source} sport = {server.port}')
            pause(0.5)
        report = running.finish(90)
        wait_until(lambda: server.descriptors() <= base, 30, 'descriptors back at the base line')
    lost = report['returns']['reconnects']
    assert lost >= 3 * 80, f'only {lost} were reset'
    return f"{figures(report)}; {lost} reset, {report['returns']['away']} not back"


# --- Clients that come back ----------------------------------------------------------------------

# So little of one topic in ten that it has to be told what is gone.
KEPT = ['bench.0: history=2', 'bench.*: history=10000, history-bytes=8MiB']


def recovery(report):
    """The line of figures; that all is complete or told, the load test itself has seen to."""
    made, missed = report['delivery'], report['errors']
    away = report['connections']['away_us']
    assert report['publishing']['acked'] == report['publishing']['published'] > 0
    assert made['recovered'] > 0
    text = ''.join(f', {name} {missed[name]}' for name in missed if name.startswith('close_'))
    return (f"{report['connections']['lost_connections']:,} connections lost, "
            f"{made['recovered']:,} recoveries made up for {made['made_up']:,} records, "
            f"{made['gaps']:,} gaps told of {made['told']:,}, {made['delivered']:,} deliveries, "
            f"without a connection p50 {away['p50'] / 1e3:.0f} ms, p99 {away['p99'] / 1e3:.0f} ms; "
            f"{report['publishing']['resent']:,} messages said again{text}")


def lose_connections(connections, topics, seconds, limit_s):
    """Each client and publisher loses its connection once a second, by reset, FIN or silence."""
    with Server(topic=KEPT, handshake_timeout='30s') as server:
        report = load(server, '-c', connections, '-t', topics, '-r', 1000, '-d', seconds,
                      '--back-within', 0.5, '--grace', 20, '--silence', 10, '-q', verb='recover',
                      limit_s=limit_s)
    assert report['delivery']['gaps'] > 0, 'no topic kept too little'
    repeats = server.counters['repeats']
    return f'{recovery(report)}, {repeats} of them known; {turns(server)}'


@scenario(150)
def clients_that_lose_200_connections_a_second():
    return lose_connections(200, 10, 5, 120)


@scenario(300, long=True)
def clients_that_lose_5000_connections_a_second():
    return lose_connections(5000, 50, 60, 270)


@scenario(150)
def clients_behind_a_network_that_breaks():
    """Resets, and black holes that nobody is told of, on a slow network; all through one proxy."""
    with Server(topic=KEPT) as server, FaultProxy(os.environ['FAULTPROXY'], server.port) as proxy:
        proxy.do('add both latency 20 20 50%')
        running = Load(proxy.url(), '-c', 200, '-t', 10, '-r', 500, '-d', 8, '--kills', 0,
                       '--back-within', 0.3, '--silence', 1.5, '--grace', 20, verb='recover')
        running.connected()
        for round_number in range(6):
            fault = proxy.do(('add both reset 30%', 'add both blackhole 30%',
                              'add up blackhole 30%')[round_number % 3])
            pause(1)
            proxy.do(f'remove {fault}')
        proxy.do('clear')
        report = running.finish(100)
    lost = report['connections']
    assert lost['given_up'] > 0, 'no silence was noticed'
    return f"{recovery(report)}; {lost['given_up']} given up for silence"


# --- Slow and silent peers -----------------------------------------------------------------------

@scenario(150)
def slow_readers_40_percent():
    """The fast ones notice little; memory does not grow with what the slow ones leave unread."""
    work = ['-c', 200, '-s', 2000, '-r', 500, '-d', 5, '--envelope', '-q']
    with Server(log_memory='16MiB') as server:
        without = load(server, *work)
        anonymous, segments = server.memory()
        running = Load(server.url(''), *work, '--slow-readers', 40, '--slow-rate', 1000)
        peak = 0
        while running.process.poll() is None:
            now = server.memory()
            peak, segments = max(peak, now[0]), max(segments, now[1])
            pause(0.1)
        report = running.finish()
    grown = peak - anonymous
    assert segments <= 17 << 20, f'{segments} bytes of segments'
    assert grown <= 200 * 64 * 1024, f'{grown} bytes grown for 200 connections'
    assert server.counters['slow closed'] == 0, 'envelope clients are told, not closed'
    return (f'without slow ones {p99_ms(without):.1f} ms; {figures(report)}; grown '
            f'{grown >> 10} KiB, segments {segments >> 20} MiB')


def stall(seconds, connections, **settings):
    """Stops the server for a while, under traffic: nobody is closed for it, nothing is lost."""
    with Server(**settings) as server:
        running = Load(server.url(''), '-c', connections, '-r', 50, '-d', seconds + 6, '--grace',
                       seconds + 20)
        try:
            running.connected()
            os.kill(server.pid, signal.SIGSTOP)
            pause(seconds)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        report = running.finish(2 * seconds + 60)
    counters = server.counters
    closed = {name: counters[name] for name in ('pong timeouts', 'stalls', 'slow closed')}
    assert not any(closed.values()), closed
    assert report['errors']['readers_ended'] == 0
    return f"{figures(report)}; late turns {counters['late turns']}"


@scenario(150)
def a_stall_of_5_seconds():
    return stall(5, 300, ping_interval='1s', pong_timeout='2s')


@scenario(300, long=True)
def a_stall_of_40_seconds():
    return stall(40, 2000)


# --- Too much ------------------------------------------------------------------------------------

@scenario(150)
def no_descriptors_left():
    """Accepting fails for real (EMFILE): old clients lose nothing, new ones wait without costing
    anything, and are served when descriptors return."""
    with CrowdedServer(limit=200, taken=110, connections_max=102,
                       handshake_timeout='60s') as server:
        running = Load(server.url(''), '-c', 30, '-r', 200, '-d', 7)
        running.connected()
        clients = [RawClient(server.port) for _ in range(100)]
        wait_until(lambda: sum(c.status() == 101 for c in clients) >= 10, 30, 'some get in')
        pause(0.5)
        before = cpu_seconds(server.pid)
        pause(1)
        busy = cpu_seconds(server.pid) - before
        served = [c for c in clients if c.status() == 101]
        waiting = [c for c in clients if c.status() is None]
        turned_away = len(clients) - len(served) - len(waiting)
        assert waiting, f'the limit was never met: {len(served)} served, {turned_away} turned away'
        start = time.monotonic()
        for client in served:
            client.close()
        wait_until(lambda: all_served(waiting), 60, 'all who waited are served')
        took = time.monotonic() - start
        report = running.finish(90)
    return (f'{figures(report)}; {len(served)} got in, {turned_away} turned away, {len(waiting)} '
            f'waited and were served within {took:.2f} s; CPU meanwhile {100 * busy:.0f} %')


def all_served(clients):
    """Whoever is served goes, which makes room for the next."""
    for client in clients:
        if client.socket.fileno() >= 0 and client.status() is not None:
            assert client.status() == 101, client.status()
            client.close()
    return all(client.socket.fileno() < 0 for client in clients)


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def knock(port):
    client = RawClient(port)
    status = client.status(1)
    client.close()
    return status


@scenario(150)
def more_clients_than_allowed():
    """Past --connections-max there is a 503, at once, and the others notice nothing."""
    with Server(connections_max=150) as server:
        running = Load(server.url(''), '-c', 99, '-r', 200, '-d', 4)
        running.connected()
        answers = []
        for _ in range(3):
            clients = [RawClient(server.port) for _ in range(100)]
            wait_until(lambda: all(c.status() is not None for c in clients), 30, 'all are answered')
            answers += [c.status() for c in clients]
            for client in clients:
                client.close()
            wait_until(lambda: knock(server.port) == 101, 30, 'room again')
        report = running.finish(90)
    assert set(answers) == {101, 503}, set(answers)
    return f'{figures(report)}; {answers.count(101)} let in, {answers.count(503)} answered 503'


@scenario(200)
def a_burst_of_a_million():
    """A million messages at once, as fast as the sockets take them."""
    with Server() as server:
        report = load(server, '-c', 4, '-m', 1_000_000, '-s', 32, '--window', 1_000_000, '--burst',
                      100_000, '--grace', 20, '-q', '--envelope', limit_s=180)
        anonymous, segments = server.memory()
    counted = report['delivery']['delivered'] + report['errors']['told']
    assert counted == 4_000_000, f'{counted} delivered or told'
    return (f"{figures(report)}; {report['delivery']['seconds']:.1f} s, "
            f"{report['delivery']['delivered_per_s']:,.0f}/s; server {anonymous >> 20} MiB and "
            f"{segments >> 20} MiB of segments; {turns(server)}")


def turns(server):
    """How long the server's turns were. Only those that used the CPU for so long are its own fault:
    the others had to wait for it."""
    counters = server.counters
    return (f"turns {counters['turns']:,}, over 5 ms of CPU {counters['long turns']}, kept from it "
            f"so long {counters['hindered turns']:,}, late {counters['late turns']}")


def storm(connections, within_s, duration_s, rate):
    """All clients are reset at once, and come back, under traffic. From its `subscribed` on, each
    gets everything."""
    with Server(handshake_timeout='30s') as server:
        report = load(server, '-c', connections, '--concurrency', connections, '-r', rate, '-d',
                      duration_s, '--storm-after', 1, '--back-within', within_s, '--envelope',
                      '--grace', 20, '-q', limit_s=140)
    returns = report['returns']
    assert returns['away'] == 0 and returns['storm_s'] >= 0, returns
    assert returns['reconnects'] >= connections
    each, ours = returns['returned_us'], returns['knocked_late_us']
    return (f"all back after {returns['storm_s']:.2f} s, each after its attempt p50 "
            f"{each['p50'] / 1e6:.2f} s, p99 {each['p99'] / 1e6:.2f} s, max "
            f"{each['max'] / 1e6:.2f} s, of which to connect() max {ours['max'] / 1e6:.2f} s; "
            f"{figures(report)}; refusals {returns['refusals']}; {turns(server)}")


@scenario(150)
def storm_of_2000_at_once():
    return storm(2000, 0, 5, 50)


@scenario(150)
def storm_of_2000_with_jitter():
    return storm(2000, 2, 5, 50)


@scenario(200, long=True)
def storm_of_15000_at_once():
    return storm(15000, 0, 20, 10)


@scenario(200, long=True)
def storm_of_15000_with_jitter():
    return storm(15000, 3, 20, 10)

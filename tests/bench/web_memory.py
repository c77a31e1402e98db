"""What an idle, logged-in WebSocket keeps in the worker beyond a plain TCP connection, and what others keep."""

from tests.bench.measure import bench, idle_kib
from tests.bench.relays import megaphone
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.web_relay import NO_PINGS, TCP, WEBSOCKET
from tests.bench.web_servers import SERVERS, maker

MORE_KB = 0.5
KB_PER_KIB = 1.024


def measure_memory(rounds: int, idle: int, names: list[str]) -> list[Figure]:
    """In kB per connection. Only Megaphone has a second socket for each, to the server."""
    more = Figure("memory per idle WebSocket beyond plain TCP", "kB", Target("value", MORE_KB), peers=())
    total = Figure("memory per idle WebSocket", "kB", peers=tuple(SERVERS))
    makers = {name: maker(name) for name in SERVERS}
    makers[OURS] = lambda *where: megaphone(*where, listen_keys=WEBSOCKET, tables=NO_PINGS)
    makers[TCP] = megaphone
    with bench(makers) as setting:
        for _ in range(rounds):
            kept = {
                name: idle_kib(setting, name, idle=idle, websocket=name != TCP) * KB_PER_KIB for name in (*names, TCP)
            }
            more.add(OURS, kept[OURS] - kept[TCP])
            for name, value in kept.items():
                total.add(name, value)
    return [more, total]

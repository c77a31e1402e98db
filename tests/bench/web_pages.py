"""What an ephemeral page costs: 1,000 visitors who come at once; holders who come and vanish without goodbye."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from tests.bench.measure import bench, cost
from tests.bench.relays import Certificate, megaphone
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.web_viewers import Traffic, Viewer, all_of, come, name_of
from tests.servers.process import LOOPBACK

PAGE_BYTES = 20_000
HOLDERS = 3  # at a time, of which one alone is left again and again
TURN_SECONDS = 0.02
ANY_RATE = 1_000_000.0


def maker(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
    """One worker with pages, which lets one address do what thousands would."""
    rates = ("messages_per_second", "joins_per_second", "requests_per_second")
    rates += ("joins_per_second_per_address", "requests_per_second_per_address")
    return megaphone(
        directory,
        port,
        upstream,
        certificate,
        listen_keys={"web": ["pages"]},
        tables={"pages": dict.fromkeys(rates, ANY_RATE)},
    )


def content_of(round_: int) -> str:
    """A page of its own for every round."""
    return (f"<h1>{round_}</h1>" + "<p>Arise, fair sun, and kill the envious moon.</p>" * 1000)[:PAGE_BYTES]


async def crowd(url: str, viewers: int, content: str) -> tuple[float, Traffic]:
    """One holder; then all visitors want the page at once. Seconds until all of them hold it, and what that took."""
    page = name_of(content)
    holder = Viewer(page, Traffic(), content)
    traffic = Traffic()
    visitors = [Viewer(page, traffic) for _ in range(viewers)]
    await come(url, [holder, *visitors])
    await holder.hold()
    holder.traffic = traffic
    begun = time.monotonic()
    await all_of(*[visitor.view() for visitor in visitors])
    taken = time.monotonic() - begun
    for visitor in (holder, *visitors):
        visitor.vanish()
    return taken, traffic


async def come_and_go(url: str, seconds: float, content: str) -> Traffic:
    """Holders come, and vanish while they are asked, down to one; meanwhile somebody asks all the time."""
    page = name_of(content)
    chance = random.Random(content)
    asking, others = Traffic(), Traffic()
    holders = [Viewer(page, others, content)]
    prober = Viewer(page, asking)
    await come(url, [*holders, prober])
    await holders[0].hold()
    done = asyncio.Event()

    async def turn_over() -> None:
        while not done.is_set():
            newcomer = Viewer(page, others)
            await come(url, [newcomer])
            await newcomer.view()
            holders.append(newcomer)
            if len(holders) > HOLDERS:
                chance.shuffle(holders)
                while len(holders) > 1:
                    holders.pop().vanish()
            await asyncio.sleep(TURN_SECONDS)

    async def ask() -> None:
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                await prober.request()
        finally:
            done.set()

    await all_of(turn_over(), ask())
    for viewer in (prober, *holders):
        viewer.vanish()
    return asking


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """Keep the visitors, who are in this process, off the worker's core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure_pages(rounds: int, viewers: int, seconds: float) -> list[Figure]:
    """CPU is the worker's; messages and bytes are those of both directions, without frames and upgrades."""
    figures = {
        "time": Figure(f"until {viewers:,} visitors at once all hold the page", "s", peers=()),
        "cpu": Figure("CPU per new visitor", "us", digits=0, peers=()),
        "messages": Figure("messages per new visitor", "1", digits=2, peers=()),
        "bytes": Figure("bytes through the server per new visitor", "kB", digits=1, peers=()),
        "contents": Figure("contents that holders sent", "1", digits=0, peers=()),
        "late": Figure("asks without an answer while a holder lives", "1", Target("value", 0), digits=0, peers=()),
        "asks": Figure("asks while holders come and vanish", "1", digits=0, peers=()),
        "p50": Figure("wait for an answer meanwhile, p50", "ms", digits=1, peers=()),
        "p99": Figure("wait for an answer meanwhile, p99", "ms", digits=1, peers=()),
        "max": Figure("wait for an answer meanwhile, longest", "ms", digits=1, peers=()),
    }
    with bench({OURS: maker}) as setting, setting.relay(OURS) as relay, _on_core(setting.load_core):
        url = f"ws://{LOOPBACK}:{relay.port}/ws/websocket?vsn=2.0.0"
        for number in range(rounds):
            seen: list[tuple[float, Traffic]] = []

            def all_want(number: int = number, seen: list[tuple[float, Traffic]] = seen) -> dict[str, int]:
                seen.append(asyncio.run(crowd(url, viewers, content_of(number))))
                return {"completed": viewers}

            used = cost(relay, all_want)
            ((taken, traffic),) = seen
            meanwhile = asyncio.run(come_and_go(url, seconds, content_of(-1 - number)))
            waits = sorted(wait * 1e3 for wait in meanwhile.waits)
            of_hundred = quantiles(waits, n=100, method="inclusive")
            measured = {
                "time": taken,
                "cpu": used.microseconds_each,
                "messages": traffic.messages / viewers,
                "bytes": traffic.message_bytes / viewers / 1e3,
                "contents": traffic.contents,
                "late": meanwhile.late,
                "asks": len(waits),
                "p50": of_hundred[49],
                "p99": of_hundred[98],
                "max": waits[-1],
            }
            for what, value in measured.items():
                figures[what].add(OURS, value)
    return list(figures.values())

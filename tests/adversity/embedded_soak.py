"""Thousands of people on an embedded service whose workers are killed one after the other; the result as JSON.

    python -m tests.adversity.embedded_soak --sessions 20000 --minutes 10

The people are in several processes, so that none of them, and no worker, needs more than 20,000 descriptors. Exit code
1 if anything acknowledged is lost, anything comes twice to a session, somebody sees what nobody should, or the memory
of the service at the end is far above what it was at the beginning.
"""

import argparse
import asyncio
import json
import multiprocessing
import multiprocessing.connection
import random
import resource
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from tests.adversity.embedded_node import EmbeddedNode, kill_worker
from tests.adversity.embedded_people import Crowd
from tests.adversity.watch import running, worker_rows
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, Endpoint

DESCRIPTORS = 20_000
PEOPLE_OF_A_PROCESS = 5_000
SETTLE_SECONDS = 180.0
# How much more memory the workers may use at the end than after the first minute; allocators keep some of a peak.
GROWTH = 1.25

Pipe = multiprocessing.connection.Connection


def crowd_process(
    pipe: Pipe, part: int, parts: int, users: list[str], endpoints: list[Endpoint], ca: str, rate: float, drops: float
) -> None:
    """One process of people: those whose position in `users` is `part` modulo `parts`; obeys words of its pipe."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    async def word() -> Any:
        while not pipe.poll():
            await asyncio.sleep(0.1)
        return pipe.recv()

    async def live() -> None:
        context = ssl.create_default_context(cafile=ca)
        crowd = Crowd(DOMAIN, users, tls=context, part=part, parts=parts, connecting=32)
        for position in range(part, len(users), parts):
            crowd.add(users[position], endpoints[position % len(endpoints)])
        while (said := await word()) != "stop":
            try:
                if said == "everybody":
                    await crowd.everybody_talking(SETTLE_SECONDS)
                elif said == "talk":
                    crowd.start_talking(rate, drops_per_second=drops)
                elif said == "hush":
                    await crowd.stop_talking()
                    await crowd.everybody_talking(SETTLE_SECONDS)
                    await crowd.all_acknowledged(SETTLE_SECONDS)
                pipe.send(crowd.ledger)
            except TimeoutError as error:
                crowd.ledger.surprises.append(str(error))
                pipe.send(crowd.ledger)
        await crowd.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())


class Soak:
    """The service, the people, and what is found."""

    def __init__(self, node: EmbeddedNode, pipes: list[Pipe]) -> None:
        self.node = node
        self.pipes = pipes
        self.outages: list[float] = []
        self.memory: list[int] = []  # of all workers, bytes

    def tell(self, word: str) -> list[Any]:
        """Say a word to all processes, and return their ledgers when it is done."""
        for pipe in self.pipes:
            pipe.send(word)
        return [pipe.recv() for pipe in self.pipes]

    def look(self) -> None:
        """Note how much memory the workers use."""
        total = 0
        for row in worker_rows(self.node):
            status = Path(f"/proc/{row['pid']}/status").read_text()
            total += int(status.partition("VmRSS:")[2].split()[0]) * 1024
        self.memory.append(total)

    async def strike(self, minutes: float, kill_every: float) -> None:
        """Kill a worker now and then, as long as it takes."""
        end = time.monotonic() + 60 * minutes
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(kill_every, left))
            self.look()
            if end - time.monotonic() > kill_every / 2:
                workers = self.node.tables["node"]["workers"]
                self.outages.append(await kill_worker(self.node, random.randrange(workers), 60.0))


def memory_is_flat(memory: list[int]) -> bool:
    """Whether the last measurements are no more than GROWTH times the first ones."""
    half = max(1, len(memory) // 2)
    return min(memory[half:] or memory) <= GROWTH * max(memory[:half])


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do all of it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    users = [f"p{number}" for number in range(arguments.sessions)]
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        authority = CertificateAuthority(Path(directory))
        node = EmbeddedNode(Path(directory) / "node", authority, workers=arguments.workers, accounts=())
        node.tables["log"] = {"connections": False}
        node.tables["restart"] = {"intensity": 1000}
        node.register_names(users)
        parts = max(1, arguments.processes, -(-arguments.sessions // PEOPLE_OF_A_PROCESS))
        tls = max(1, round(1 / arguments.tls)) if arguments.tls else 0
        endpoints = [node.plain] * (tls - 1) + [node.direct] if tls else [node.plain]
        with running(node):
            pipes, processes = [], []
            for part in range(parts):
                here, there = spawn.Pipe()
                given = (
                    *(there, part, parts, users, endpoints, str(authority.certificate)),
                    *(arguments.rate / parts, arguments.drops / parts),
                )
                process = spawn.Process(target=crowd_process, args=given, daemon=True)
                process.start()
                pipes.append(here)
                processes.append(process)
            soak = Soak(node, pipes)
            began = time.monotonic()
            soak.tell("everybody")
            joined = time.monotonic() - began
            soak.look()
            soak.tell("talk")
            asyncio.run(soak.strike(arguments.minutes, arguments.kill_every))
            ledgers = soak.tell("hush")
            arrived: set[int] = set()
            acknowledged: set[int] = set()
            refused: dict[int, str] = {}
            deadline = time.monotonic() + SETTLE_SECONDS
            while True:
                for ledger in ledgers:
                    arrived |= ledger.arrived
                    acknowledged |= ledger.acknowledged
                    refused |= ledger.refused
                lost = acknowledged - arrived - refused.keys()
                if not lost or time.monotonic() > deadline:
                    break
                time.sleep(1.0)
                ledgers = soak.tell("look")
            soak.look()
            for pipe in pipes:
                pipe.send("stop")
            for process in processes:
                process.join(60.0)
            log = node.log.read_text()
    return {
        "sessions": arguments.sessions,
        "workers": arguments.workers,
        "minutes": arguments.minutes,
        "client_processes": parts,
        "seconds_until_all_were_there": round(joined, 1),
        "kills": len(soak.outages),
        "seconds_until_replaced": [round(outage, 2) for outage in soak.outages],
        "messages_sent": sum(ledger.sent for ledger in ledgers),
        "acknowledged": len(acknowledged),
        "arrived": len(arrived),
        "refused": len(refused),
        "refused_because": sorted(set(refused.values()))[:5],
        "acknowledged_and_lost": len(lost),
        "twice_to_one_session": sum(len(ledger.twice) for ledger in ledgers),
        "astray": sum(len(ledger.astray) for ledger in ledgers),
        "out_of_order": sum(len(ledger.out_of_order) for ledger in ledgers),
        "surprises": [each for ledger in ledgers for each in ledger.surprises][:20],
        "connections_lost": sum(ledger.losses for ledger in ledgers),
        "sessions_begun": sum(ledger.sessions for ledger in ledgers),
        "sessions_resumed": sum(ledger.resumed for ledger in ledgers),
        "workers_megabytes": [round(each / 1_048_576, 1) for each in soak.memory],
        "memory_is_flat": memory_is_flat(soak.memory),
        "tracebacks": log.count("Traceback"),
    }


def main() -> int:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=60.0, help="seconds")
    parser.add_argument("--rate", type=float, default=500.0, help="messages a second of all people together")
    parser.add_argument("--drops", type=float, default=5.0, help="connections a second that clients lose by themselves")
    parser.add_argument("--tls", type=float, default=0.1, help="share of people with TLS")
    parser.add_argument("--processes", type=int, default=0, help="of people; 0: as few as possible")
    result = run(parser.parse_args())
    print(json.dumps(result))
    good = (
        not result["acknowledged_and_lost"]
        and not result["twice_to_one_session"]
        and not result["astray"]
        and not result["out_of_order"]
        and not result["surprises"]
        and not result["tracebacks"]
        and result["memory_is_flat"]
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

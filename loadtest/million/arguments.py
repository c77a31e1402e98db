"""The command line of `make million`."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from math import nan
from pathlib import Path
from typing import Final

from loadtest.million.plan import Kind, Plan
from loadtest.million.settings import JOURNAL

DESCRIPTION: Final = """
Brings N sessions to Megaphone's embedded service on this machine, holds them while random pairs talk, lets them leave,
and writes report.html and report.json. Run as root: it sets what the kernel lacks, and puts it back at the end.
"""
SESSIONS: Final[dict[Kind, int]] = {"hold": 1_000_000, "storm": 200_000, "soak": 100_000, "upgrade": 20_000}
SECONDS: Final[dict[Kind, float]] = {"hold": 600.0, "storm": 30.0, "soak": 7200.0, "upgrade": 30.0}
RATE: Final[dict[Kind, float]] = {"hold": 5_000.0, "storm": 1_000.0, "soak": 1_000.0, "upgrade": 5_000.0}
TLS: Final[dict[Kind, float]] = {"hold": 0.0, "storm": 0.0, "soak": 0.0, "upgrade": 0.8}


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("python -m loadtest.million", description=DESCRIPTION)
    does = made.add_mutually_exclusive_group()
    does.add_argument("--check", action="store_true", help="only say what this machine lacks; exit code 1 if it does")
    does.add_argument("--restore", action="store_true", help="only put back the settings that a killed run has left")
    does.add_argument("--storm", action="store_true", help="kill a quarter of the workers, and see all come back")
    does.add_argument("--soak", action="store_true", help="let sessions leave and come for hours, and watch the memory")
    does.add_argument("--upgrade", action="store_true", help="replace the program while all talk: who notices")
    does.add_argument("--growth", action="store_true", help="what a session and a message cost as the number grows")
    made.add_argument(
        "--sessions",
        type=_whole(20_000_000, "sessions"),
        metavar="N",
        help="(1,000,000; storm 200,000; soak 100,000; upgrade 20,000)",
    )
    made.add_argument(
        "--hold",
        type=_within(1, 604_800, "seconds"),
        metavar="SECONDS",
        help="how long all are there (600; storm 30; soak 7200), before the upgrade and at least during it (30)",
    )
    made.add_argument(
        "--rate",
        type=_within(0, 1_000_000, "messages a second"),
        metavar="N",
        help="one-to-one messages a second (5000; storm and soak 1000)",
    )
    made.add_argument(
        "--workers", type=_whole(1_023, "workers"), default=0, metavar="N", help="of Megaphone (as many as it takes)"
    )
    made.add_argument(
        "--loaders",
        type=_whole(10_000, "load processes"),
        default=0,
        metavar="N",
        help="load processes (as many as it takes)",
    )
    made.add_argument(
        "--in-flight",
        type=_whole(100_000, "logins"),
        default=0,
        metavar="N",
        help="logins at once (80 a worker, 512 or more)",
    )
    made.add_argument(
        "--keep-alive",
        type=_within(1, 604_800, "seconds"),
        default=240.0,
        metavar="SECONDS",
        help="white space of each session each (240)",
    )
    made.add_argument(
        "--body", type=_whole(8_192, "bytes", 40), default=100, metavar="BYTES", help="of a message (100)"
    )
    made.add_argument(
        "--churn",
        type=_within(0, 0.1, "of the sessions"),
        default=0.002,
        metavar="PART",
        help="soak: of the sessions, leave each second (0.002)",
    )
    made.add_argument(
        "--tls",
        type=_within(0, 1, "of the sessions"),
        nargs="?",
        const=1.0,
        metavar="PART",
        help="of the sessions, have direct TLS (0; upgrade 0.8); alone it means all",
    )
    made.add_argument(
        "--tls12",
        type=_within(0, 1, "of the sessions with TLS"),
        default=0.0,
        metavar="PART",
        help="of those with TLS, know version 1.2 only (0); they cannot move in an upgrade, and do not talk in it",
    )
    made.add_argument(
        "--upgrade-with",
        default="",
        metavar="COMMAND",
        help="upgrade: instead of `python -m megaphone upgrade --force --json --socket {socket}`",
    )
    made.add_argument("--journal", type=Path, default=JOURNAL, help=argparse.SUPPRESS)  # tests have one of their own
    made.add_argument("--output", type=Path, metavar="DIRECTORY", help="of the report (var/million, var/storm, ...)")
    made.add_argument("--pictures", type=Path, metavar="REPORT.JSON", help="only draw a report's plots as SVG files")
    made.add_argument(
        "--sizes", default="10000,50000,200000", metavar="N,N,...", help="growth: which (10000,50000,200000)"
    )
    made.add_argument("--with", dest="others", type=Path, action="append", default=[], metavar="REPORT.JSON",
                      help="growth: a report that is there already, such as that of the million")  # fmt: skip
    return made


def plan_of(options: argparse.Namespace, words: Sequence[str]) -> Plan:
    """The run that the options ask for; `words` is the command as typed."""
    kinds: tuple[Kind, ...] = ("storm", "soak", "upgrade")
    kind: Kind = next((each for each in kinds if getattr(options, each)), "hold")
    hold = SECONDS[kind] if options.hold is None else options.hold
    return Plan(
        kind=kind,
        sessions=options.sessions or SESSIONS[kind],
        hold_seconds=hold,
        rate=RATE[kind] if options.rate is None else options.rate,
        in_flight=options.in_flight,
        keep_alive_seconds=options.keep_alive,
        body_bytes=options.body,
        churn=options.churn,
        workers=options.workers,
        loaders=options.loaders,
        tls=TLS[kind] if options.tls is None else options.tls,
        tls12=options.tls12,
        upgrade_with=options.upgrade_with,
        output=options.output or Path("var") / ("million" if kind == "hold" else kind),
        command=shlex.join(["python", "-m", "loadtest.million", *words]),
    )


def _within(low: float, high: float, what: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text.replace(",", "").replace("_", ""))
        except ValueError:
            number = nan
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{low:,.10g} to {high:,.10g} {what}, not {text!r}")
        return number

    return read


def _whole(high: int, what: str, low: int = 1) -> Callable[[str], int]:
    read = _within(low, high, what)
    return lambda text: int(read(text))

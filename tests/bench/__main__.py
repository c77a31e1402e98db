"""`make bench`: every benchmark in turn, or those that are named, and a summary of every row at the end.

    make bench                              all; a failure of one does not keep the others from running
    make bench WHAT=relay                   one; WHAT="relay tls" two; WHAT=list tells what there is
    make bench ROUNDS=1                     fewer rounds than each has by itself
    make bench OUT=docs/explanation/reports/bench      also brings the tables of the documentation up to date
    make bench WHAT=link ARGS="--only storm"           options of that benchmark; ARGS=--help lists them

Each table goes to OUT (var/bench) as NAME.json and NAME.svg; what other runs have left there stays. The last line of
the output is JSON. The exit code is 1 if a benchmark failed; a missed target is no failure.
"""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

from tests.bench import tables
from tests.bench.catalogue import CATALOGUE, listing
from tests.bench.report import table
from tests.bench.report.report import OUT
from tests.bench.report.text import summary

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 3_600.0  # of one benchmark
ENDING_SECONDS = 60.0  # in which it stops what it has started


def run(name: str, options: list[str], *, alone: bool) -> dict[str, Any]:
    """Run a benchmark, show what it says, return its JSON; unless it is alone, that is not shown."""
    command = [sys.executable, "-m", f"tests.bench.{name}", *options]
    facts: dict[str, Any] = {"benchmark": name, "complete": False, "tables": []}
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        timers = [
            Timer(LIMIT_SECONDS, child.terminate),
            Timer(LIMIT_SECONDS + ENDING_SECONDS, child.kill),
        ]
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            for line in child.stdout:
                if line.startswith('{"benchmark"'):
                    facts = json.loads(line)
                if alone or not line.startswith('{"benchmark"'):
                    print(line, end="", flush=True)
        except KeyboardInterrupt:
            child.terminate()  # Ctrl-C has told it already, which does no harm
            raise
        finally:
            code = child.wait()
            for timer in timers:
                timer.cancel()
    return facts | {"complete": facts["complete"] and code == 0, "code": code}


def run_all(names: list[str], options: list[str]) -> int:
    """Run them in turn; the summary, then JSON with what was measured and what failed."""
    results = []
    for number, name in enumerate(names, 1):
        print(f"\n==== {name}, {number} of {len(names)}: {CATALOGUE[name].what} ====", flush=True)
        try:
            results.append(run(name, options, alone=False))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            break
    measured = [table.from_json(facts) for result in results for facts in result["tables"]]
    failed = [name for name in names if not any(each["benchmark"] == name and each["complete"] for each in results)]
    if measured:
        print(f"\n{summary(measured)}\n")
    if failed:
        print(f"Failed, or not run to the end: {', '.join(failed)}.\n")
    facts = {
        "benchmarks": {
            each["benchmark"]: {"seconds": each.get("seconds"), "complete": each["complete"]} for each in results
        },
        "failed": failed,
        "missed": {each.name: each.missed for each in measured if each.missed},
    }
    print(json.dumps(facts))
    return 1 if failed else 0


def main() -> int:
    """Run what the command line names."""
    words, options = sys.argv[1:], []
    if "--" in words:
        at = words.index("--")
        words, options = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=listing()
    )
    parser.add_argument("names", nargs="*", metavar="WHAT", help="some of those below, or list; default: all of them")
    parser.add_argument("--rounds", type=int, metavar="ROUNDS")
    parser.add_argument("--out", type=Path, metavar="OUT", default=OUT, help="default: %(default)s")
    args = parser.parse_args(words)
    if args.names == ["list"]:
        print(f"make bench WHAT=name, where name is one of\n\n{listing()}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = list(dict.fromkeys(args.names)) or list(CATALOGUE)
    if unknown := [name for name in names if name not in CATALOGUE]:
        print(f"There is no benchmark {', '.join(unknown)}. There are\n\n{listing()}", file=sys.stderr)
        return 2
    if options and len(names) > 1:
        parser.error("ARGS are the options of one benchmark: name it with WHAT")
    out = args.out.resolve()
    options += ["--out", str(out), *(["--rounds", str(args.rounds)] if args.rounds is not None else [])]
    if len(names) == 1:
        try:
            code = 0 if run(names[0], options, alone=True)["code"] == 0 else 1
        except KeyboardInterrupt:
            code = 1  # the benchmark has said so
    else:
        code = run_all(names, options)
    if out == tables.REPORTS:
        tables.update()
    return code


if __name__ == "__main__":
    sys.exit(main())

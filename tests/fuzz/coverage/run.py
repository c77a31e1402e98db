"""Fuzzes one target for some seconds and keeps what is worth keeping: `make fuzz WHAT=framer SECONDS=600`."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.coverage import build, corpus, seeds

HERE = Path(__file__).parent
FOUND = build.BUILD / "found"  # inputs that failed
INPUT_SECONDS = 10  # one input may take, which is thousands of times what any needs
ENVIRONMENT = {
    "PYTHONMALLOC": "malloc",  # so that the address sanitizer sees Python's objects
    "PYTHONHASHSEED": "0",  # the framer's hashes are keyed with it: an input always reaches the same
    "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16:malloc_context_size=8",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
PACKAGES = [path for path in sys.path if path.endswith("-packages")]  # the program that embeds Python knows none
READS_XML = {"bosh_body", "framer", "from_messages", "stanza_header", "to_messages"}
# The last status line: "#81086 DONE cov: 710 ft: 3209 corp: 917/341Kb lim: 4017 exec/s: 2615 rss: 99Mb"
STATUS = re.compile(r"^#([0-9]+)\s+DONE\s+cov: ([0-9]+) ft: ([0-9]+) .*exec/s: ([0-9]+)", re.MULTILINE)


def fuzzer(target: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts the fuzzer; what it says comes through `stderr`."""
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "FUZZ_TARGET": f"target_{target}",
        "PYTHONPATH": os.pathsep.join([str(build.BUILD / "guided"), str(build.ROOT), *PACKAGES]),
    }
    command = [build.BUILD / "guided" / "fuzzer", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def unpack(inputs: Iterable[bytes], directory: Path) -> None:
    """Writes each input into a file of its own, as libFuzzer wants them."""
    directory.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)


def fuzz(target: str, seconds: int, directory: Path) -> str:
    """Runs the fuzzer with `directory` as its corpus, showing what it says; returns that."""
    options = [f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-artifact_prefix={FOUND}/{target}-"]
    if target in READS_XML:
        options.append(f"-dict={HERE / 'xml.dict'}")
    said = []
    with fuzzer(target, *options, directory) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "\tNEW " not in line and "\tREDUCE" not in line and "# Uses:" not in line:
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"{target}: an input failed, see above; it is in {FOUND}")
    return "".join(said)


def replay(target: str, path: Path) -> None:
    """Runs one input."""
    with fuzzer(target, path) as process:
        assert process.stderr is not None
        print(process.stderr.read(), end="")
    sys.exit(process.returncode)


def keep(target: str, directory: Path) -> int:
    """Adds to the kept inputs those of `directory` that reach more; returns how many are kept then."""
    kept = build.BUILD / "kept" / target
    shutil.rmtree(kept, ignore_errors=True)
    unpack(corpus.read(target), kept)
    with fuzzer(target, "-set_cover_merge=1", kept, directory) as process:
        assert process.stderr is not None
        said = process.stderr.read()
    if process.returncode:
        sys.exit(f"{target}: merging the corpus failed\n{said}")
    inputs = [path.read_bytes() for path in kept.iterdir()]
    corpus.write(target, inputs)
    return len(inputs)


def main() -> None:
    """Builds, fuzzes, keeps; exits with a message when an input fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=build.TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--input", type=Path, help="only this one")
    arguments = parser.parse_args()
    target = arguments.target
    build.built("guided")
    if arguments.input is not None:
        replay(target, arguments.input)
    directory = build.BUILD / "corpus" / target
    unpack([*corpus.read(target), *seeds.seeds_of(target)], directory)
    FOUND.mkdir(parents=True, exist_ok=True)
    said = fuzz(target, arguments.seconds, directory)
    kept = keep(target, directory)
    status = STATUS.search(said)
    assert status is not None
    executions, edges, features, rate = map(int, status.groups())
    print(
        f"{target}: nothing found in {executions:,} executions ({rate:,}/s);"
        f" {edges:,} edges, {features:,} features; {kept} inputs kept"
    )


if __name__ == "__main__":
    main()

"""Tests the codecs, kept fuzz inputs included, with address and undefined-behaviour sanitizers: `make sanitize`."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

from tests.fuzz.coverage import build, corpus

TESTS = ["tests/unit/wire", "tests/fuzz"]
RUNTIMES = ["libasan.so", "libubsan.so"]
ENVIRONMENT = {
    "PYTHONMALLOC": "malloc",  # so that the address sanitizer sees Python's objects
    "ASAN_OPTIONS": "detect_leaks=0",  # CPython keeps what it has until the process ends
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "FUZZ_BUILD": "sanitized",
}
LIMIT_SECONDS = 1800


def runtime(name: str) -> str:
    """Where the compiler keeps a sanitizer's library."""
    said = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return str(Path(said.stdout.strip()).resolve())


def test() -> int:
    """In a process with the sanitizers: loads the sanitized codecs before others can be loaded, then runs pytest."""
    import pytest

    del os.environ["LD_PRELOAD"]  # what tests start needs no sanitizers
    directory = build.BUILD / "sanitized"
    sys.path.insert(0, str(directory))
    for path in (directory / "megaphone" / "wire").glob("*.so"):
        module = importlib.import_module(f"megaphone.wire.{path.name.partition('.')[0]}")
        assert module.__file__ == str(path)
    sys.path.remove(str(directory))
    return pytest.main(["-q", "-p", "no:cacheprovider", *TESTS])


def main() -> None:
    """Builds, tests in a process of its own, says how it went; exits with 1 unless all was clean."""
    directory = build.built("sanitized")
    environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": " ".join(map(runtime, RUNTIMES))}
    command = [sys.executable, "-m", __spec__.name, "test"]
    status = subprocess.run(command, env=environment, timeout=LIMIT_SECONDS, check=False).returncode
    modules = len(list((directory / "megaphone" / "wire").glob("*.so")))
    inputs = sum(len(corpus.read(name)) for name in build.TARGETS)
    print(
        f"sanitize: {'clean' if status == 0 else 'NOT CLEAN'}; {modules} codec modules, {inputs} fuzz inputs,"
        f" {', '.join(TESTS)}; exit status {status}"
    )
    sys.exit(status != 0)


if __name__ == "__main__":
    if sys.argv[1:] == ["test"]:
        sys.exit(test())
    main()

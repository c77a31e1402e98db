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
LIMIT_SECONDS = 3600


def runtime(name: str) -> str:
    """Where the compiler keeps a sanitizer's library."""
    said = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return str(Path(said.stdout.strip()).resolve())


def test(paths: list[str]) -> int:
    """In a process with the sanitizers: loads the sanitized codecs before others can be loaded, then runs pytest."""
    import pytest
    from hypothesis import HealthCheck, settings

    # all is several times slower here
    settings.register_profile("sanitize", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    del os.environ["LD_PRELOAD"]  # what tests start needs no sanitizers
    directory = build.BUILD / "sanitized"
    sys.path.insert(0, str(directory))
    for path in (directory / "megaphone" / "wire").glob("*.so"):
        module = importlib.import_module(f"megaphone.wire.{path.name.partition('.')[0]}")
        assert module.__file__ == str(path)
    sys.path.remove(str(directory))
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    # what a sanitizer says before it ends the process must not be captured
    return pytest.main([*options, "--capture=sys", "--hypothesis-profile=sanitize", *paths])


def main() -> None:
    """Builds, tests in a process of its own, says how it went; exits with 1 unless all was clean.

    Arguments are for pytest, in place of TESTS.
    """
    directory = build.built("sanitized")
    paths = sys.argv[1:] or TESTS
    environment = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": " ".join(map(runtime, RUNTIMES))}
    command = [sys.executable, "-m", __spec__.name, "test", *paths]
    status = subprocess.run(command, env=environment, timeout=LIMIT_SECONDS, check=False).returncode
    modules = len(list((directory / "megaphone" / "wire").glob("*.so")))
    inputs = sum(len(corpus.read(name)) for name in build.TARGETS) if paths == TESTS else "no"
    print(
        f"sanitize: {'clean' if status == 0 else 'NOT CLEAN'}; {modules} codec modules, {inputs} fuzz inputs,"
        f" {' '.join(paths)}; exit status {status}"
    )
    sys.exit(status != 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["test"]:
        sys.exit(test(sys.argv[2:]))
    main()

"""Lets the tests of `tests.distribution.ALONE` run while no other test does, in whichever process of pytest-xdist.

Two locks of files that all processes of a run share. Everybody goes through the gate into the room: most tests with
others, one that is alone only when nobody else is there. It holds the gate meanwhile, so that nobody comes before it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.distribution import is_alone


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock: LOCK_SH with others, LOCK_EX alone. The kernel lets go of it when a process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Set-up and teardown included."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    shared = item.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
    with ExitStack() as room:
        if is_alone(item.nodeid):
            room.enter_context(locked(shared / "gate", fcntl.LOCK_EX))
            room.enter_context(locked(shared / "room", fcntl.LOCK_EX))
        else:
            with locked(shared / "gate", fcntl.LOCK_SH):
                room.enter_context(locked(shared / "room", fcntl.LOCK_SH))
        return (yield)

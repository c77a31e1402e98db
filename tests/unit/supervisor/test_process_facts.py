"""What /proc says of a process: this one, and one that is not there."""

import os
import resource
from pathlib import Path

import pytest

from megaphone.supervisor import process_facts

NOBODY = 2**22 + 1  # above the highest pid that Linux gives


def test_of_this_process() -> None:
    pid = os.getpid()
    assert process_facts.resident_bytes(pid) > 10_000_000
    assert process_facts.cpu_seconds(pid) > 0
    assert process_facts.most_descriptors(pid) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_open_descriptors_follow_what_is_opened(tmp_path: Path) -> None:
    pid = os.getpid()
    before = process_facts.open_descriptors(pid)
    descriptors = [os.open(tmp_path, os.O_RDONLY) for _ in range(50)]
    assert process_facts.open_descriptors(pid) == before + 50
    for descriptor in descriptors:
        os.close(descriptor)
    assert process_facts.open_descriptors(pid) == before


def test_a_kernel_that_does_not_count_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.2 the size of /proc/PID/fd is 0."""

    class Empty:
        st_size = 0

    monkeypatch.setattr(process_facts.os, "stat", lambda path: Empty())
    assert process_facts.open_descriptors(os.getpid()) is None


@pytest.mark.parametrize(
    "fact",
    [
        process_facts.resident_bytes,
        process_facts.cpu_seconds,
        process_facts.open_descriptors,
        process_facts.most_descriptors,
    ],
)
def test_of_nobody(fact) -> None:
    assert fact(NOBODY) is None

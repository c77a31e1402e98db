"""What is read from /proc: every file, and what happens when one is missing or says something else."""

import dataclasses
import os
import resource
from pathlib import Path

import pytest

from megaphone.host.facts import UNLIMITED, Facts, read
from tests.unit.host.trees import proc_tree


def test_every_file(tmp_path: Path) -> None:
    assert read(proc_tree(tmp_path, nf_conntrack_max="262144", nf_conntrack_count="17")) == Facts(
        open_files_soft=1024,
        open_files_hard=1_048_576,
        nr_open=1_048_576,
        file_max=UNLIMITED,
        epoll_watches=5_491_511,
        map_count=65_530,
        tcp_mem_pages=(287_901, 383_868, 575_802),
        tcp_rmem_bytes=(4096, 131_072, 6_291_456),
        tcp_wmem_bytes=(4096, 16_384, 4_194_304),
        somaxconn=4096,
        syn_backlog=2048,
        port_range=(32_768, 60_999),
        reserved_ports=0,
        conntrack_entries=262_144,
        conntrack_count=17,
        memory_available_bytes=24_000_000 * 1024,
    )


def test_nothing_is_there(tmp_path: Path) -> None:
    found = dataclasses.asdict(read(tmp_path))
    assert found.pop("reserved_ports") == 0
    assert set(found.values()) == {None}


@pytest.mark.parametrize("text", ["", "many", "-1", "1 2", "0x10", "²"])
def test_what_is_no_number_is_not_known(tmp_path: Path, text: str) -> None:
    found = read(proc_tree(tmp_path, nr_open=text, tcp_mem=text, ip_local_port_range=f"{text} x", limits=text))
    assert found.nr_open is None
    assert found.tcp_mem_pages is None
    assert found.port_range is None
    assert found.open_files_hard is None


def test_the_limits_of_another_process(tmp_path: Path) -> None:
    tree = proc_tree(tmp_path)
    (tree / "4711").mkdir()
    (tree / "4711" / "limits").write_text("Max open files            20000                unlimited            files\n")
    found = read(tree, "4711")
    assert (found.open_files_soft, found.open_files_hard) == (20_000, UNLIMITED)


@pytest.mark.parametrize(
    ("reserved", "count"),
    [("", 0), ("40000", 1), ("40000,40010-40019", 11), ("1-32768,60999-65535", 2), ("40000-40009,40005", 10)],
)
def test_reserved_ports_within_the_range(tmp_path: Path, reserved: str, count: int) -> None:
    assert read(proc_tree(tmp_path, ip_local_reserved_ports=reserved)).reserved_ports == count


def test_the_kernel_of_this_machine() -> None:
    """The real files have the form that the reader expects."""
    found = read(Path("/proc"))
    assert (found.open_files_soft, found.open_files_hard) == resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.memory_available_bytes is not None
    assert 0 < found.memory_available_bytes < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    unknown = {name for name, value in dataclasses.asdict(found).items() if value is None}
    assert unknown <= {"conntrack_entries", "conntrack_count"}

"""Each line against small /proc trees; that what it says repairs it; and that deploy/sysctl is enough for a million."""

import dataclasses
import re
from pathlib import Path

import pytest

from megaphone.host.facts import Facts, read
from megaphone.host.judgement import WIDEST_PORTS, Finding, enough, judge
from megaphone.host.needs import Load
from tests.unit.host.test_needs import EDGE, MILLION
from tests.unit.host.trees import proc_tree

ROOT = Path(__file__).parents[3]
SYSCTL = ROOT / "deploy" / "sysctl" / "99-megaphone.conf"
PAGE = 4096
SMALL = dataclasses.replace(MILLION, connections=10_000, workers=2, max_connections=10_000)


def lines(facts: Facts, load: Load) -> dict[str, Finding]:
    return {finding.what: finding for finding in judge(facts, load, PAGE)}


def verdicts(facts: Facts, load: Load) -> dict[str, str]:
    """Of the lines that are not ok."""
    return {what: finding.verdict for what, finding in lines(facts, load).items() if finding.verdict != "ok"}


def test_debian_carries_ten_thousand(tmp_path: Path) -> None:
    facts = read(proc_tree(tmp_path))
    assert verdicts(facts, SMALL) == {"net.ipv4.tcp_max_syn_backlog": "tight"}
    assert enough(judge(facts, SMALL, PAGE))


def test_debian_does_not_carry_a_million(tmp_path: Path) -> None:
    facts = read(proc_tree(tmp_path, nf_conntrack_max="262144", nf_conntrack_count="9"))
    assert verdicts(facts, MILLION) == {
        "net.ipv4.tcp_mem": "short",
        "net.ipv4.tcp_rmem": "tight",
        "net.ipv4.tcp_wmem": "tight",
        "net.netfilter.nf_conntrack_max": "short",
        "net.ipv4.tcp_max_syn_backlog": "tight",
    }
    assert not enough(judge(facts, MILLION, PAGE))
    assert verdicts(facts, EDGE)["net.ipv4.ip_local_port_range"] == "short"


@pytest.mark.parametrize(
    ("changes", "what", "verdict", "repair"),
    [
        (
            {"limits": "Max open files            1024                 20000                files"},
            "open files of a worker (hard limit)",
            "short",
            "LimitNOFILE=500962 in the unit, or ulimit -Hn 500962; or more workers",
        ),
        ({"nr_open": "300000"}, "fs.nr_open", "short", "sysctl -w fs.nr_open=500962"),
        ({"file_max": "100000"}, "fs.file-max", "short", "sysctl -w fs.file-max=1065800"),
        (
            {"max_user_watches": "1000"},
            "fs.epoll.max_user_watches",
            "short",
            "sysctl -w fs.epoll.max_user_watches=1000264",
        ),
        ({"max_map_count": "1000"}, "vm.max_map_count", "tight", "sysctl -w vm.max_map_count=4096"),
        (
            {"tcp_mem": "1 999999 1000000"},
            "net.ipv4.tcp_mem",
            "tight",
            'sysctl -w net.ipv4.tcp_mem="750000 1000000 2000000"',
        ),
        (
            {"tcp_mem": "1 2 999999"},
            "net.ipv4.tcp_mem",
            "short",
            'sysctl -w net.ipv4.tcp_mem="750000 1000000 2000000"',
        ),
        (
            {"tcp_wmem": "8192 16384 100000"},
            "net.ipv4.tcp_wmem",
            "tight",
            'sysctl -w net.ipv4.tcp_wmem="4096 16384 100000"',
        ),
        ({"somaxconn": "128"}, "net.core.somaxconn", "tight", "sysctl -w net.core.somaxconn=4096"),
        ({"meminfo": "MemAvailable: 1000000 kB"}, "memory available", "short", "more memory, or fewer connections"),
        (
            {"nf_conntrack_max": "1000", "nf_conntrack_count": "0"},
            "net.netfilter.nf_conntrack_max",
            "tight",
            "sysctl -w net.netfilter.nf_conntrack_max=1250000",
        ),
        ({"nr_open": None}, "fs.nr_open", "unknown", ""),
        ({"tcp_mem": None}, "net.ipv4.tcp_mem", "unknown", ""),
        ({"tcp_rmem": None}, "net.ipv4.tcp_rmem", "unknown", ""),
        ({"meminfo": None}, "memory available", "unknown", ""),
    ],
)
def test_a_line(tmp_path: Path, changes: dict[str, str | None], what: str, verdict: str, repair: str) -> None:
    load = dataclasses.replace(MILLION, workers=2, max_connections=500_832)
    finding = lines(read(proc_tree(tmp_path, **changes)), load)[what]
    assert (finding.verdict, finding.repair) == (verdict, repair)


def test_the_configuration_has_its_own_limit(tmp_path: Path) -> None:
    load = dataclasses.replace(MILLION, max_connections=18_000)
    finding = lines(read(proc_tree(tmp_path)), load)["node.max_connections of all workers"]
    assert (finding.found, finding.verdict) == ("954,000", "short")
    assert finding.repair == "max_connections = 19418 in [node]"


@pytest.mark.parametrize(
    ("load", "changes", "found", "repair"),
    [
        (EDGE, {}, "28,232 (32768-60999)", "source_addresses in [[upstream]]: 36 addresses for each server"),
        (
            dataclasses.replace(EDGE, connections=50_000),
            {},
            "28,232 (32768-60999)",
            'sysctl -w net.ipv4.ip_local_port_range="10240 65535"',
        ),
        (
            dataclasses.replace(EDGE, connections=28_232),
            {"ip_local_reserved_ports": "40000"},
            "28,231 (32768-60999)",
            'sysctl -w net.ipv4.ip_local_port_range="10240 65535"',
        ),
        (dataclasses.replace(EDGE, source_addresses=36), {}, "28,232 (32768-60999)", ""),
    ],
)
def test_ports_to_servers(tmp_path: Path, load: Load, changes: dict[str, str], found: str, repair: str) -> None:
    finding = lines(read(proc_tree(tmp_path, **changes)), load)["net.ipv4.ip_local_port_range"]
    assert (finding.found, finding.repair) == (found, repair)
    assert finding.verdict == ("short" if repair else "ok")


# deploy/sysctl


def settings() -> dict[str, str]:
    """Key to value."""
    text = SYSCTL.read_text()
    found = dict(re.findall(r"^-?([a-z][\w./-]*) *= *(.*)$", text, re.MULTILINE))
    assert len(found) == len([line for line in text.splitlines() if line and not line.startswith("#")])
    return found


def with_settings(tmp_path: Path, **changes: str | None) -> Facts:
    """Debian's defaults with the file's settings in force, and connection tracking."""
    in_force = {key.rpartition(".")[2].replace("-", "_"): value for key, value in settings().items()}
    return read(proc_tree(tmp_path, **({"nf_conntrack_count": "9"} | in_force | changes)))


@pytest.mark.parametrize(
    "load",
    [
        MILLION,
        dataclasses.replace(MILLION, workers=1, max_connections=1_000_000),
        dataclasses.replace(MILLION, embedded=False, tls=True),
        # One descriptor for each half: two workers, or the limit would be above fs.nr_open.
        dataclasses.replace(EDGE, workers=4, source_addresses=19),
    ],
    ids=["53 workers", "one worker", "links and TLS", "direct"],
)
def test_the_file_is_enough_for_a_million(tmp_path: Path, load: Load) -> None:
    facts = with_settings(tmp_path, limits=f"Max open files  1024  {settings()['fs.nr_open']}  files", meminfo=None)
    assert verdicts(facts, load) == {"memory available": "unknown"}


def test_every_line_of_the_file_is_needed_and_has_a_reason(tmp_path: Path) -> None:
    """Without any of its settings a million is short or tight: by Debian's defaults, or a bit less for those."""
    for number, key in enumerate(settings()):
        load = dataclasses.replace(EDGE, workers=1, source_addresses=19)
        low = "1 1 1" if key.endswith("tcp_mem") else "4096 131072 6291456"
        name = key.rpartition(".")[2].replace("-", "_")
        low = "32768 60999" if name == "ip_local_port_range" else low
        facts = with_settings(tmp_path / str(number), **{name: low if " " in settings()[key] else "1000"})
        assert key in verdicts(facts, load), key
    for paragraph in SYSCTL.read_text().split("\n\n")[1:]:
        assert paragraph.startswith("# "), paragraph


def test_the_kernel_knows_every_setting() -> None:
    optional = re.findall(r"^-([\w.-]+)", SYSCTL.read_text(), re.MULTILINE)
    for key in settings():
        assert key in optional or (Path("/proc/sys") / key.replace(".", "/")).is_file(), key


def test_the_ports_of_the_file_are_those_that_the_check_proposes() -> None:
    assert settings()["net.ipv4.ip_local_port_range"] == f"{WIDEST_PORTS[0]} {WIDEST_PORTS[1]}"


@pytest.mark.parametrize("load", [MILLION, EDGE, SMALL], ids=["million", "edge", "small"])
def test_what_a_line_says_repairs_it(tmp_path: Path, load: Load) -> None:
    """Every `sysctl -w` of the report, carried out, makes its line ok."""
    poor = {"nr_open": "10", "file_max": "10", "max_user_watches": "10", "somaxconn": "10", "max_map_count": "10"}
    poor |= {"tcp_mem": "1 2 3", "tcp_rmem": "9999 131072 99999999", "tcp_wmem": "9999 9999999 99999999"}
    poor |= {"nf_conntrack_max": "10", "nf_conntrack_count": "9"}
    report = lines(read(proc_tree(tmp_path / "before", **poor)), load)
    repaired = dict(poor)
    for finding in report.values():
        for key, value in re.findall(r'^sysctl -w ([\w.-]+)="?([\d ]+)"?$', finding.repair):
            repaired[key.rpartition(".")[2].replace("-", "_")] = value
    left = verdicts(read(proc_tree(tmp_path / "after", **repaired)), load)
    assert set(left) <= {"net.ipv4.ip_local_port_range"}  # for a million that takes more source addresses
    assert all(repaired[name] != text for name, text in poor.items() if name != "nf_conntrack_count")

"""What a machine lacks for a run."""

from collections.abc import Mapping

import pytest

from loadtest.million.host import Host
from loadtest.million.needs import changes, needs_of
from loadtest.million.size import size_of

SETTINGS: Mapping[str, tuple[int, ...]] = {
    "fs.file-max": (2_466_177,),
    "fs.epoll.max_user_watches": (5_000_000,),
    "net.core.netdev_max_backlog": (1_000,),
    "net.core.somaxconn": (4_096,),
    "net.ipv4.ip_local_port_range": (32_768, 60_999),
    "net.ipv4.tcp_max_orphans": (131_072,),
    "net.ipv4.tcp_max_syn_backlog": (2_048,),
    "net.ipv4.tcp_mem": (287_901, 383_868, 575_802),
    "net.netfilter.nf_conntrack_max": (262_144,),
}


def host(
    settings: Mapping[str, tuple[int, ...]] = SETTINGS,
    *,
    tracks: bool = False,
    gigabytes: float = 24.0,
    makes_certificates: bool = True,
) -> Host:
    return Host(
        cores=2,
        memory_bytes=25_000_000_000,
        available_bytes=int(gigabytes * 1e9),
        descriptors=20_000,
        open_files=500,
        settings=settings,
        tracks_connections=tracks,
        may_change=True,
        makes_certificates=makes_certificates,
    )


def changed(sessions: int, has: Host) -> dict[str, tuple[int, ...]]:
    return changes(needs_of(size_of(sessions, descriptors=has.descriptors, ports=has.ports, cores=has.cores), has))


def test_a_thousand_sessions_lack_nothing() -> None:
    assert changed(1_000, host()) == {}


def test_a_million_sessions() -> None:
    values = changed(1_000_000, host())
    assert values["net.ipv4.tcp_mem"] == (500_000, 750_000, 1_000_000)
    assert values["net.core.netdev_max_backlog"] == (65_535,)
    assert values["net.ipv4.tcp_max_orphans"] == (250_000,)
    assert "fs.file-max" not in values
    assert "net.netfilter.nf_conntrack_max" not in values


def test_conntrack_matters_only_where_it_counts_loopback() -> None:
    assert changed(1_000_000, host(tracks=True))["net.netfilter.nf_conntrack_max"] == (1_100_000,)


@pytest.mark.parametrize("sessions", [1_000, 20_000, 100_000, 1_000_000])
def test_no_setting_becomes_less(sessions: int) -> None:
    large = {name: tuple(value * 1_000 for value in values) for name, values in SETTINGS.items()}
    assert changed(sessions, host({**large, "net.ipv4.ip_local_port_range": (32_768, 60_999)})) == {}
    for name, values in changed(sessions, host()).items():
        assert all(new >= old for new, old in zip(values, SETTINGS[name], strict=True))


def test_too_little_memory_is_said_and_cannot_be_helped() -> None:
    has = host(gigabytes=4.0)
    (memory,) = [need for need in needs_of(size_of(1_000_000, descriptors=20_000, ports=28_232, cores=2), has) if
                 not need.met and not need.setting]  # fmt: skip
    assert memory.line().startswith("MISSING  free memory: is 4.0 GB, ")
    assert "a run as root sets it" not in memory.line()


def test_what_the_kernel_does_not_know_is_left_out() -> None:
    few = {name: value for name, value in SETTINGS.items() if name != "net.core.netdev_max_backlog"}
    assert "net.core.netdev_max_backlog" not in changed(1_000_000, host(few))


@pytest.mark.parametrize("tls", [0.0, 0.8])
def test_only_tls_needs_a_certificate(tls: float) -> None:
    size = size_of(1_000, descriptors=20_000, ports=28_232, cores=2, tls=tls)
    missing = [need.line() for need in needs_of(size, host(makes_certificates=False)) if not need.met]
    assert len(missing) == (1 if tls else 0)
    assert all("needs Python's package cryptography" in line for line in missing)

"""What a run of some size needs of the machine, beside what it has, in words for its owner."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from loadtest.million import certificate
from loadtest.million.host import Host
from loadtest.million.size import Size

# A session's pages in the buffers of both its sockets: none while it is idle. These are the marks below which the
# kernel does not care, from which it economises, and above which it refuses memory.
TCP_PAGES: Final = (0.5, 0.75, 1.0)
MOST_BACKLOG: Final = 65_535
STORM_SHARE: Final = 0.25  # of all sessions that come back at once after the workers' death
HEAD_ROOM: Final = 1.1


@dataclass(frozen=True, slots=True)
class Need:
    """One thing; `value` is what `setting` (as sysctl names it) has to be at least. Without one we cannot help."""

    what: str
    has: str
    needs: str
    why: str
    met: bool
    setting: str = ""
    value: tuple[int, ...] = ()

    def line(self) -> str:
        """The need for people."""
        if self.met:
            return f"ok       {self.what}: {self.has}"
        remedy = "; a run as root sets it and puts it back" if self.setting else ""
        return f"MISSING  {self.what}: is {self.has}, needs {self.needs}: {self.why}{remedy}"


def needs_of(size: Size, host: Host) -> list[Need]:
    """All needs, met or not, the most basic first."""
    return [*_machine(size, host), *_settings(size, host)]


def changes(needs: Iterable[Need]) -> dict[str, tuple[int, ...]]:
    """The settings to change for those that are not met."""
    return {need.setting: need.value for need in needs if not need.met and need.setting}


def _machine(size: Size, host: Host) -> Iterator[Need]:
    yield Need(
        "open files of a process",
        f"{host.descriptors:,}, so {size.workers} workers of about {size.sessions // size.workers:,} sessions "
        f"(at most {size.worker_sessions:,}, and a socket to each other worker) and {size.loaders} load processes "
        f"of {size.loader_sessions:,}",
        "",
        "",
        met=True,
    )
    last = size.loaders * size.addresses
    yield Need(
        "source addresses",
        f"{last} of 127.0.0.0/8, each with {host.ports:,} ports",
        "",
        "",
        met=True,
    )
    yield Need(
        "free memory",
        f"{host.available_bytes / 1e9:.1f} GB, for about {size.memory_bytes / 1e9:.1f} GB",
        f"about {size.memory_bytes / 1e9:.1f} GB",
        "both ends of every connection are on this machine",
        met=host.available_bytes >= size.memory_bytes,
    )
    if size.has_tls:
        yield Need(
            "a certificate for TLS",
            f"made by Python's package {certificate.PACKAGE}" if host.makes_certificates else "not to be had",
            f"Python's package {certificate.PACKAGE}, which `make env` installs",
            "some of the sessions have TLS",
            met=host.makes_certificates,
        )


def _settings(size: Size, host: Host) -> Iterator[Need]:
    count = size.sessions
    burst = min(MOST_BACKLOG, max(1024, int(count * STORM_SHARE / size.workers * 2)))
    files = int(size.open_files * HEAD_ROOM) + host.open_files
    wanted: list[tuple[str, tuple[int, ...], str]] = [
        ("fs.file-max", (files,), "both ends of every connection are open files"),
        ("fs.epoll.max_user_watches", (int(2 * count * HEAD_ROOM),), "each end is watched by an epoll"),
        ("net.core.netdev_max_backlog", (min(MOST_BACKLOG, count),), "what loopback cannot queue, it drops"),
        ("net.core.somaxconn", (burst,), "connections that wait to be accepted by one worker"),
        ("net.ipv4.tcp_max_syn_backlog", (burst,), "connections that wait to be complete"),
        ("net.ipv4.tcp_max_orphans", (int(count * STORM_SHARE),), "connections of a worker that was killed"),
        ("net.ipv4.tcp_mem", tuple(int(count * pages) for pages in TCP_PAGES), "pages in the buffers of all sockets"),
    ]
    if host.tracks_connections:
        wanted.append(("net.netfilter.nf_conntrack_max", (int(count * HEAD_ROOM),), "conntrack counts ours, too"))
    for name, least, why in wanted:
        if (has := host.settings.get(name)) is None:
            continue
        value = tuple(map(max, has, least))
        yield Need(name, _text(has), f"at least {_text(least)}", why, value == has, name, value)


def _text(value: tuple[int, ...]) -> str:
    return " ".join(map(str, value))

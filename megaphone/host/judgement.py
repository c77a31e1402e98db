"""Compares what a host has with what is needed: one function for each line of `megaphone check --host`.

A verdict is `ok`; `short`: that many connections cannot be; `tight`: they can, and in a bad moment it will hurt; or
`unknown`: /proc does not say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from megaphone.host import needs
from megaphone.host.facts import UNLIMITED, Facts
from megaphone.host.needs import Load

Verdict = Literal["ok", "tight", "short", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what, found, needed, verdict, and the command that repairs it ("" when there is nothing to repair)."""

    what: str
    found: str
    needed: str
    verdict: Verdict
    repair: str = ""


def judge(facts: Facts, load: Load, page_bytes: int) -> list[Finding]:
    """All lines, in the order in which one runs into the limits."""
    return [line(facts, load, page_bytes) for line in LINES]


def enough(findings: list[Finding]) -> bool:
    """Whether that many connections can be."""
    return all(finding.verdict != "short" for finding in findings)


def _grouped(number: int) -> str:
    return "unlimited" if number >= UNLIMITED else f"{number:,}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def _triple(numbers: tuple[int, int, int]) -> str:
    return " ".join(map(str, numbers))


def _at_least(what: str, found: int | None, needed: int, repair: str, below: Verdict = "short") -> Finding:
    if found is None:
        return Finding(what, "?", _grouped(needed), "unknown")
    good = found >= needed
    return Finding(what, _grouped(found), _grouped(needed), "ok" if good else below, "" if good else repair)


def _sysctl(name: str, found: int | None, needed: int, below: Verdict = "short") -> Finding:
    return _at_least(name, found, needed, f"sysctl -w {name}={needed}", below)


def _configured(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _at_least(
        "node.max_connections of all workers",
        load.max_connections * load.workers,
        load.connections,
        f"max_connections = {load.of_worker} in [node]",
    )


def _open_files(facts: Facts, load: Load, page_bytes: int) -> Finding:
    """The hard limit counts: `megaphone serve` raises the soft one to it."""
    needed = needs.descriptors(load)
    repair = f"LimitNOFILE={needed} in the unit, or ulimit -Hn {needed}; or more workers"
    return _at_least("open files of a worker (hard limit)", facts.open_files_hard, needed, repair)


def _nr_open(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("fs.nr_open", facts.nr_open, needs.descriptors(load))


def _file_max(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("fs.file-max", facts.file_max, needs.files(load))


def _epoll(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("fs.epoll.max_user_watches", facts.epoll_watches, needs.files(load) - needs.OTHER_FILES)


def _maps(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("vm.max_map_count", facts.map_count, needs.MAPS, "tight")


def _memory(facts: Facts, load: Load, page_bytes: int) -> Finding:
    kernel, processes = needs.kernel_bytes(load), needs.process_bytes(load)
    total, found = kernel + processes, facts.memory_available_bytes
    needed = f"{_size(total)} ({_size(kernel)} kernel, {_size(processes)} processes)"
    if found is None:
        return Finding("memory available", "?", needed, "unknown")
    if found < total:
        return Finding("memory available", _size(found), needed, "short", "more memory, or fewer connections")
    return Finding("memory available", _size(found), needed, "ok")


def _tcp_mem(facts: Facts, load: Load, page_bytes: int) -> Finding:
    wanted = needs.tcp_pages(load)
    needed = f"pressure {wanted[1]}, high {wanted[2]} pages"
    found = facts.tcp_mem_pages
    if found is None:
        return Finding("net.ipv4.tcp_mem", "?", needed, "unknown")
    if found[1] >= wanted[1] and found[2] >= wanted[2]:
        return Finding("net.ipv4.tcp_mem", _triple(found), needed, "ok")
    verdict: Verdict = "tight" if found[2] >= wanted[1] else "short"
    repair = f'sysctl -w net.ipv4.tcp_mem="{_triple(wanted)}"'
    return Finding("net.ipv4.tcp_mem", _triple(found), needed, verdict, repair)


def _buffers(name: str, read: Callable[[Facts], tuple[int, int, int] | None]) -> Callable[[Facts, Load, int], Finding]:
    """A line for tcp_rmem or tcp_wmem: a guarantee of at most a page for each socket, a bound on what one may take."""

    def line(facts: Facts, load: Load, page_bytes: int) -> Finding:
        # What is missing in tcp_mem is that line's business: here it is as it should be.
        high = max(needs.tcp_pages(load)[2], facts.tcp_mem_pages[2] if facts.tcp_mem_pages else 0)
        most = needs.most_buffer_bytes(load, high, page_bytes)
        needed = f"least ≤ {page_bytes}, most ≤ {most}"
        found = read(facts)
        if found is None:
            return Finding(name, "?", needed, "unknown")
        if found[0] <= page_bytes and found[2] <= most:
            return Finding(name, _triple(found), needed, "ok")
        repaired = (min(found[0], page_bytes), min(found[1], most), min(found[2], most))
        return Finding(name, _triple(found), needed, "tight", f'sysctl -w {name}="{_triple(repaired)}"')

    return line


def _somaxconn(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("net.core.somaxconn", facts.somaxconn, load.backlog, "tight")


def _syn_backlog(facts: Facts, load: Load, page_bytes: int) -> Finding:
    return _sysctl("net.ipv4.tcp_max_syn_backlog", facts.syn_backlog, load.backlog, "tight")


def _conntrack(facts: Facts, load: Load, page_bytes: int) -> Finding:
    name, needed = "net.netfilter.nf_conntrack_max", needs.conntrack_entries(load)
    if facts.conntrack_entries is None:
        return Finding(name, "not tracked", _grouped(needed), "ok")
    # The module is loaded, but without a rule that asks for it nothing is tracked: then the limit does not count yet.
    return _sysctl(name, facts.conntrack_entries, needed, "short" if facts.conntrack_count else "tight")


def _ports(facts: Facts, load: Load, page_bytes: int) -> Finding:
    name, needed = "net.ipv4.ip_local_port_range", needs.ports(load)
    if not needed:
        return Finding(name, "any", "none", "ok")
    per = f"{_grouped(needed)} ports for each pair of source and server"
    if facts.port_range is None:
        return Finding(name, "?", per, "unknown")
    first, last = facts.port_range
    usable = max(last - first + 1 - facts.reserved_ports, 0)
    found = f"{_grouped(usable)} ({first}-{last})"
    if usable >= needed:
        return Finding(name, found, per, "ok")
    widest = WIDEST_PORTS[1] - WIDEST_PORTS[0] + 1
    if needed <= widest:
        repair = f'sysctl -w {name}="{WIDEST_PORTS[0]} {WIDEST_PORTS[1]}"'
    else:
        repair = f"source_addresses in [[upstream]]: {needs.source_addresses(load, usable)} addresses for each server"
    return Finding(name, found, per, "short", repair)


WIDEST_PORTS: Final = (10_240, 65_535)  # above what servers listen on
LINES: Final[tuple[Callable[[Facts, Load, int], Finding], ...]] = (
    _configured,
    _open_files,
    _nr_open,
    _file_max,
    _epoll,
    _memory,
    _tcp_mem,
    _buffers("net.ipv4.tcp_rmem", lambda facts: facts.tcp_rmem_bytes),
    _buffers("net.ipv4.tcp_wmem", lambda facts: facts.tcp_wmem_bytes),
    _ports,
    _conntrack,
    _somaxconn,
    _syn_backlog,
    _maps,
)

"""What `megaphone top` shows, as lines drawn from the dashboard's feed; no terminal, clock or socket here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from megaphone.cli.output import age, latency, printable, size, table

Style = Literal["plain", "title", "head", "trouble", "keys"]
Line = tuple[str, Style]
Sort = Literal["all", "now"]

SORTS: Final[tuple[Sort, ...]] = ("all", "now")
TRANSPORTS: Final = {"WebSocket": "websocket_connections", "BOSH": "bosh_sessions", "HTTP": "http_connections"}
KEYS: Final = "q quit   s sort talkers   d drain"
_SHARE: Final = 0.4  # of the screen, at most, for one table of many rows
_LEAST_ROWS: Final = 3
_LEAST_JID: Final = 16  # characters
_NUMBERS_COLUMNS: Final = 52  # of a talker, at their usual widths


@dataclass(frozen=True, slots=True)
class Look:
    """What the node said at one moment: its feed, and its top talkers."""

    feed: Mapping[str, Any]
    talkers: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def samples(self, metric: str) -> list[tuple[dict[str, str], float]]:
        """All samples of a metric: labels and number."""
        return [(labels, number) for labels, number in self.feed["metrics"].get(f"megaphone_{metric}", ())]

    def number(self, metric: str, **labels: str) -> float | None:
        """The sum of the samples with these labels; None if nobody counts that."""
        found = [number for carried, number in self.samples(metric) if labels.items() <= carried.items()]
        return sum(found) if found else None

    def highest(self, metric: str, **labels: str) -> float | None:
        """The highest of the samples with these labels; None if nobody counts that."""
        found = [number for carried, number in self.samples(metric) if labels.items() <= carried.items()]
        return max(found, default=None)

    def labels(self, metric: str, *names: str) -> list[tuple[str, ...]]:
        """The values of these labels, each once, in the order of the feed."""
        return list(dict.fromkeys(tuple(carried[name] for name in names) for carried, _ in self.samples(metric)))


def rate(now: Look, before: Look | None, metric: str, **labels: str) -> float | None:
    """How much a counter has grown each second between two looks; None before there are two."""
    if before is None or (seconds := now.feed["at_seconds"] - before.feed["at_seconds"]) <= 0:
        return None
    grown, had = now.number(metric, **labels), before.number(metric, **labels)
    return None if grown is None else max(0.0, grown - (had or 0)) / seconds


def frame(now: Look, before: Look | None, *, columns: int, rows: int, sort: Sort = "all", note: str = "") -> list[Line]:
    """The screen: at most `rows` lines of at most `columns` characters, the last of which names the keys."""
    lines = _head(now, before)
    most = max(_LEAST_ROWS, int(rows * _SHARE))
    for each in (_workers(now, before, most), _upstreams(now), _links(now, before, most), _ended(now, before)):
        lines += _blank_before(each)
    left = max(_LEAST_ROWS, rows - len(lines) - 3)
    lines += _blank_before(_talkers(now, before, sort, left, columns))
    shown = [(text[:columns], style) for text, style in lines[: max(0, rows - 1)]]
    return [*shown, ((note or KEYS)[:columns], "keys")][:rows]


def _blank_before(lines: list[Line]) -> list[Line]:
    return [("", "plain"), *lines] if lines else []


def _head(now: Look, before: Look | None) -> list[Line]:
    feed = now.feed
    ready = "ready" if feed["ready"] else "not ready"
    title = f"Megaphone {feed['version']}, {feed['phase']}, {ready}, up {age(feed['uptime_seconds'])}"
    lines: list[Line] = [(printable(title), "title")]
    lines += [
        (f"  not ready: {printable(reason)}", "trouble") for reason in feed["reasons"][:5] if reason != "draining"
    ]
    states = [
        f"{_count(number)} {state}"
        for (state,) in now.labels("connections", "state")
        if (number := now.number("connections", state=state))
    ]
    lines.append(_numbers("connections", _count(now.number("connections")), ", ".join(states)))
    total = now.number("connections") or 0
    others = {name: now.number(metric) or 0 for name, metric in TRANSPORTS.items()}
    if any(others.values()):
        transports = {"TCP": total - sum(others.values()), **others}
        words = ", ".join(f"{_count(number)} {name}" for name, number in transports.items() if number)
        lines.append(_numbers("transport", "", words))
    opened, ended = rate(now, before, "connections_accepted_total"), rate(now, before, "connections_closed_total")
    lines.append(_numbers("opened", _per_second(opened), f"ended {_per_second(ended)}"))
    for title, metric, shown in (
        ("stanzas", "stanzas_total", _per_second),
        ("traffic", "stream_bytes_total", _bytes_per_second),
    ):
        inwards, outwards = (shown(rate(now, before, metric, direction=each)) for each in ("in", "out"))
        lines.append(_numbers(title, shown(rate(now, before, metric)), f"{inwards} in, {outwards} out"))
    resident = now.number("worker_resident_memory_bytes")
    each = resident / total if resident is not None and total else None
    lines.append(_numbers("memory", _size(resident), f"{_size(each)} for each connection"))
    if feed["kind"] != "hub":
        median, most, worst = (
            latency(now.highest("client_round_trip_now_seconds", percentile=each)) for each in ("50", "90", "100")
        )
        lines.append(_numbers("round trip", median, f"90 % within {most}, worst {worst}"))
    if now.samples("links"):
        slowest = latency(now.highest("link_round_trip_seconds"))
        attached = f"{_count(now.number('links', state='attached'))} of {_count(now.number('links'))} attached"
        lines.append(_numbers("links", attached, f"round trip {slowest}"))
    if feed["kind"] == "hub":
        waiting = f"{_count(now.number('hub_links', state='waiting'))} wait for a new socket"
        lines.append(_numbers("links", _count(now.number("hub_links", state="attached")), waiting))
    if nodes := now.highest("nodes"):
        lines.append(_numbers("cluster", f"{_count(nodes)} nodes", f"{_count(now.number('nats_up'))} workers at NATS"))
    return lines


def _numbers(title: str, number: str, more: str) -> Line:
    return f"{title:<12}{number:<14}{more}".rstrip(), "plain"


def _workers(now: Look, before: Look | None, most: int) -> list[Line]:
    head = ("WORKER", "UP", "CONNECTIONS", "CPU", "MEMORY", "LAG", "WORST LAG", "WAITING", "RESTARTS")

    def row(worker: str) -> tuple[str, ...]:
        cpu = rate(now, before, "worker_cpu_seconds_total", worker=worker)
        started = now.number("worker_start_time_seconds", worker=worker)
        return (
            worker,
            age(None if started is None else max(0.0, now.feed["at_seconds"] - started)),
            _count(now.number("connections", worker=worker)),
            "-" if cpu is None else f"{cpu * 100:.1f} %",
            _size(now.number("worker_resident_memory_bytes", worker=worker)),
            latency(now.number("worker_loop_lag_seconds", worker=worker)),
            latency(now.number("worker_loop_lag_max_seconds", worker=worker)),
            _size(now.number("mailbox_bytes", worker=worker)),
            _count(now.number("worker_restarts_total", worker=worker)),
        )

    return _table(head, [row(worker) for (worker,) in now.labels("connections", "worker")], most)


def _upstreams(now: Look) -> list[Line]:
    head = ("UPSTREAM", "HEALTHY FOR", "CONNECTIONS", "FAILURES", "CHECK", "WAITING")
    rows = [
        (
            name,
            _count(now.number("upstream_healthy", upstream=name)),
            _count(now.number("upstream_connections", upstream=name)),
            _count(now.number("upstream_connects_total", upstream=name, result="failed")),
            latency(now.number("upstream_check_duration_seconds", upstream=name)),
            _count(now.number("admission_waiting", upstream=name)),
        )
        for (name,) in now.labels("upstream_connections", "upstream")
    ]
    return _table(head, rows, _LEAST_ROWS * 2) if rows else []


def _links(now: Look, before: Look | None, most: int) -> list[Line]:
    head = ("LINK", "STREAMS", "ROUND TRIP", "IN", "OUT", "KEPT", "UNSENT", "CREDIT WAITS", "BREAKS")

    def row(upstream: str, worker: str, link: str) -> tuple[str, ...]:
        of = {"upstream": upstream, "worker": worker, "link": link}
        return (
            f"{upstream} {worker}/{link}",
            _count(now.number("link_streams", **of)),
            latency(now.number("link_round_trip_seconds", **of)),
            _bytes_per_second(rate(now, before, "link_bytes_total", direction="in", **of)),
            _bytes_per_second(rate(now, before, "link_bytes_total", direction="out", **of)),
            _size(now.number("link_kept_bytes", **of)),
            _size(now.number("link_unsent_bytes", **of)),
            _count(now.number("link_credit_waits_total", **of)),
            _count(now.number("link_breaks_total", **of)),
        )

    found = now.labels("link_streams", "upstream", "worker", "link")
    return _table(head, [row(*each) for each in found], most) if found else []


def _ended(now: Look, before: Look | None) -> list[Line]:
    ended = sorted(
        ((number, labels["reason"]) for labels, number in now.samples("connections_closed_total")), reverse=True
    )
    rows = [
        (reason, _count(number), _per_second(rate(now, before, "connections_closed_total", reason=reason)))
        for number, reason in ended
        if number
    ]
    return _table(("ENDED", "ALL", "NOW"), rows, _LEAST_ROWS * 2) if rows else []


def _talkers(now: Look, before: Look | None, sort: Sort, most: int, columns: int) -> list[Line]:
    """The connections with the most bytes; `sort="now"` puts first what has grown most since the look before.

    A JID may not push the numbers off the screen; on a narrow one the state and the address are cut.
    """
    longest = max(_LEAST_JID, columns - _NUMBERS_COLUMNS)
    had = {row["id"]: _carried(row) for row in before.talkers} if before is not None else {}
    seconds = now.feed["at_seconds"] - before.feed["at_seconds"] if before is not None else 0.0

    def speed(row: Mapping[str, Any]) -> float | None:
        return (_carried(row) - had[row["id"]]) / seconds if row["id"] in had and seconds > 0 else None

    talkers = sorted(now.talkers, key=lambda row: -(speed(row) or 0)) if sort == "now" else now.talkers
    rows = [
        (
            _shortened(row.get("jid") or "-", longest),
            _bytes_per_second(speed(row)),
            size(row["bytes_in"]),
            size(row["bytes_out"]),
            latency(row.get("round_trip_seconds")),
            age(row["age_seconds"]),
            row["state"],
            f"{row['address']}:{row['port']}" if ":" not in row["address"] else f"[{row['address']}]:{row['port']}",
        )
        for row in talkers
    ]
    return _table(("TALKER", "NOW", "IN", "OUT", "ROUND TRIP", "AGE", "STATE", "ADDRESS"), rows, most) if rows else []


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _carried(row: Mapping[str, Any]) -> int:
    return int(row["bytes_in"]) + int(row["bytes_out"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[Line]:
    """A heading and at most `most` rows; of more, the last line says how many."""
    shown = rows if len(rows) <= most else rows[: most - 1]
    title, *lines = table(head, shown).split("\n")
    more: list[Line] = [(f"... {len(rows) - len(shown)} more", "plain")] if len(shown) < len(rows) else []
    return [(title, "head"), *((line, "plain") for line in lines), *more]


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _size(value: float | None) -> str:
    return size(None if value is None else round(value))


def _per_second(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}/s" if value < 10 else f"{value:,.0f}/s"


def _bytes_per_second(value: float | None) -> str:
    return "-" if value is None else f"{_size(value)}/s"

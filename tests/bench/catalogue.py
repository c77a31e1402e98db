"""Every benchmark in the order in which `make bench` runs them: what is quick and needs no server first."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module of this package; `minutes` on two cores that nothing else uses, `tables` are the names of its files."""

    name: str
    what: str
    minutes: float
    tables: tuple[str, ...]


CATALOGUE = {
    each.name: each
    for each in (
        Benchmark(
            "wire",
            "the framer, stanza headers and fan-out beside expat and lxml",
            0.3,
            ("wire", "wire-stanzas", "wire-corners", "wire-limits"),
        ),
        Benchmark(
            "websocket",
            "the WebSocket reader beside picows, websockets and wsproto",
            0.5,
            ("websocket", "websocket-memory"),
        ),
        Benchmark(
            "web",
            "WebSockets beside plain TCP, nginx and Python's servers: CPU, memory, unmasking; 1,000 viewers of a page",
            5,
            ("web-memory", "web-cpu", "web-unmasking", "web-pages"),
        ),
        Benchmark("link_codec", "the link codec and whole link sessions beside Python's struct", 0.1, ("link_codec",)),
        Benchmark("storage", "messages kept on disk in batches beside a transaction for each", 0.1, ("storage",)),
        Benchmark(
            "history",
            "replicas of a room become the same: bytes and rounds; entries appended",
            6,
            ("history-sync", "history-storage"),
        ),
        Benchmark("relay", "plain XMPP beside HAProxy and nginx: CPU, memory, latency", 3, ("relay",)),
        Benchmark("tls", "what TLS adds beside HAProxy, nginx and our own OpenSSL path", 6, ("tls", "tls-handshakes")),
        Benchmark("tls_engines", "the comparison behind decision 0002", 2, ("tls_engines", "tls_engines-options")),
        Benchmark(
            "link",
            "many clients over two links: CPU, memory of a whole host, login storms",
            8,
            ("link-cpu", "link-memory", "link-storm"),
        ),
        Benchmark(
            "service",
            "Megaphone by itself beside ejabberd and Prosody: messages, memory, a big room, logins",
            9,
            ("service-messages", "service-memory", "service-room", "service-logins"),
        ),
        Benchmark(
            "cluster",
            "three nodes on this machine: a big room over them, and a cut that heals",
            6,
            ("cluster-room", "cluster-heal"),
        ),
    )
}


def listing() -> str:
    """A line for each."""
    lines = [f"  {each.name:<12} {_minutes(each.minutes):>6}  {each.what}" for each in CATALOGUE.values()]
    return "\n".join([*lines, f"  {'all':<12} {_minutes(sum(each.minutes for each in CATALOGUE.values())):>6}"])


def _minutes(minutes: float) -> str:
    return f"{minutes * 60:.0f} s" if minutes < 1 else f"{minutes:.0f} min"

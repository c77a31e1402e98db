"""`megaphone status`: how the running node is, as a page for people or as JSON."""

import argparse
from typing import Any

from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import FAILED, OK, age, latency, print_json, printable, size, table


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `status` to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="show how the running node is",
        description="Show workers, connections, domains and upstreams of the running node. "
        "Exit code 0 when it is ready for clients, 1 when it runs but is not ready.",
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Shows the status; 0 when ready, 1 when not."""
    status = ask(args, "GET", "/status")
    if args.json:
        print_json(status)
    else:
        print(page(status))
    return OK if status["ready"] else FAILED


def page(status: dict[str, Any]) -> str:
    """The status for people."""
    ready = "ready" if status["ready"] else "not ready"
    lines = [
        f"Megaphone {status['version']}, pid {status['pid']}, {status['phase']}, {ready}, "
        f"up {age(status['uptime_seconds'])}, {status['connections']} connections",
        *(f"  not ready: {printable(reason)}" for reason in status["reasons"]),
        *_reload(status["last_reload"]),
        *_upgrade(status.get("upgrade")),
        "",
        table(("LISTEN", "TLS"), [(entry["address"], entry["tls"]) for entry in status["listen"]]),
        "",
        table(
            (
                "WORKER",
                "VERSION",
                "PID",
                "STATE",
                "UP",
                "RESTARTS",
                "CONNECTIONS",
                "AUTHENTICATED",
                "MEMORY",
                "LAG",
                "LAST EXIT",
            ),
            [_worker(worker) for worker in status["workers"]],
        ),
        "",
        table(
            ("DOMAIN", "UPSTREAMS"),
            [(domain["name"], ", ".join(domain["upstreams"]) or "served here") for domain in status["domains"]],
        ),
        *_cluster(status.get("cluster")),
        *_upstreams(status["upstreams"], len(status["workers"])),
        *_links(status["upstreams"]),
    ]
    return "\n".join(lines)


def _cluster(cluster: dict[str, Any] | None) -> list[str]:
    if cluster is None:
        return []
    workers = f"{cluster['connected_workers']}/{cluster['workers']} workers connected to NATS"
    return ["", f"cluster {printable(cluster['name'])}: {cluster['nodes']} nodes, {workers}"]


def _upstreams(upstreams: list[dict[str, Any]], workers: int) -> list[str]:
    header = ("UPSTREAM", "ADDRESS", "HEALTHY", "CONNECTIONS", "FAILURES", "CHECK")
    return ["", table(header, [_upstream(upstream, workers) for upstream in upstreams])] if upstreams else []


def _links(upstreams: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            upstream["name"],
            f"{link['worker']}/{link['link']}",
            link["state"],
            str(link["streams"]),
            latency(link["round_trip_seconds"]),
            size(link["unsent_bytes"]),
            size(link["kept_bytes"]),
            str(link["reattached"]),
            str(link["breaks"]),
        )
        for upstream in upstreams
        for link in upstream["links"]
    ]
    header = ("UPSTREAM", "LINK", "STATE", "STREAMS", "ROUND TRIP", "UNSENT", "KEPT", "RE-ATTACHED", "BREAKS")
    return ["", table(header, rows)] if rows else []


def _reload(last: dict[str, Any] | None) -> list[str]:
    if last is None:
        return []
    what = "accepted" if last["accepted"] else f"refused: {printable(last['reason'])}"
    return [f"  last reload {age(last['ago_seconds'])} ago, {what}"]


def _upgrade(last: dict[str, Any] | None) -> list[str]:
    if last is None:
        return []
    reason = f": {printable(last['reason'])}" if last["reason"] else ""
    if last["stage"] == "workers":
        finished = sum(row["stage"] not in ("waiting", "handing over") for row in last["workers"])
        reason = f", {finished} of {len(last['workers'])} have handed over"
    words = f"upgrade from {last['from']} to {last['to']} {age(last['ago_seconds'])} ago"
    return [f"  {printable(words)}, {last['stage']}{reason}"]


def _worker(worker: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(worker["worker"]),
        worker.get("version") or "-",
        str(worker["pid"] or "-"),
        worker["state"],
        age(worker["uptime_seconds"]),
        str(sum(worker["restarts"].values())),
        str(worker["connections"]),
        str(worker["connections_by_state"]["authenticated"]),
        size(worker["resident_bytes"]),
        f"{worker['loop_lag_seconds'] * 1000:.1f} ms",
        worker["last_exit"] or "-",
    )


def _upstream(upstream: dict[str, Any], workers: int) -> tuple[str, ...]:
    return (
        upstream["name"],
        upstream["address"],
        f"{upstream['healthy_workers']}/{workers}",
        str(upstream["connections"]),
        str(upstream["connect_failures"]),
        f"{upstream['check_seconds'] * 1000:.1f} ms",
    )

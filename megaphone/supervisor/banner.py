"""What an operator reads when Megaphone has started: what listens where, and what it fronts or serves."""

from collections.abc import Sequence

from megaphone.config.schema import Config, Listen
from megaphone.supervisor.listeners import Bound


def banner(
    config: Config, bound: Sequence[Bound], *, version: str, pid: int, workers: int, config_path: str, admin: str
) -> str:
    """The start-up text, several lines without the last newline; `admin` is the bound admin address or ""."""
    rows = [("config", config_path)]
    rows += [("listen", f"{entry.address}  {_security(config.listen[entry.listen_index])}") for entry in bound]
    addresses = {upstream.name: upstream.address for upstream in config.upstream}
    for domain in config.domain:
        if config.embedded:
            rows += [("domain", f"{domain.name}, served here"), ("rooms", config.rooms.domain)]
            rows.append(("data", config.service.data))
            continue
        servers = ", ".join(f"{name} ({addresses.get(name, '?')})" for name in domain.upstreams)
        rows.append(("domain", f"{domain.name} -> {servers}"))
    if admin:
        rows.append(("admin", f"http://{admin}/  /metrics  /health/live  /health/ready"))
    rows.append(("control", config.admin.socket))
    head = f"Megaphone {version}, pid {pid}, {workers} worker{'s' if workers != 1 else ''}"
    return "\n".join([head, *(f"  {label:<8} {text}" for label, text in rows)])


def _security(listen: Listen) -> str:
    text = {
        "starttls": f"STARTTLS {listen.starttls}",
        "direct": "direct TLS",
        "both": f"direct TLS or STARTTLS {listen.starttls}",
        "none": "plain, no TLS",
    }[listen.tls]
    if listen.web:
        text += f", HTTP for {', '.join(listen.web)}"
    if listen.proxy_protocol_from:
        text += f", PROXY protocol from {', '.join(listen.proxy_protocol_from)}"
    return text

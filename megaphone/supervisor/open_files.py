"""The limit of open files: raised as far as allowed, and compared with what the configuration may need."""

import resource
from typing import Final

from megaphone.config.schema import Config

_OWN: Final = 128  # listening sockets, links, logs and the like
_PER_CONNECTION: Final = 2  # the client's socket and its upstream socket; a hub has only the latter


def raise_limit() -> int:
    """Sets the soft limit to the hard limit, which workers inherit, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def shortage(config: Config, limit: int, *, hub: bool = False) -> str | None:
    """What to tell the operator when a worker could run out of descriptors before its `max_connections`."""
    per_connection, key = (1, "hub.max_connections") if hub else (_PER_CONNECTION, "node.max_connections")
    needed = config.node.max_connections * per_connection + _OWN
    if limit >= needed:
        return None
    enough_for = max(limit - _OWN, 0) // per_connection
    return (
        f"the limit of open files is {limit}, enough for {enough_for} connections per worker; "
        f"{key} = {config.node.max_connections} needs {needed} (LimitNOFILE= or ulimit -n)"
    )

"""The limit of open files: raised as far as allowed, and compared with what the configuration may need."""

import os
import resource

from megaphone.config.schema import Config
from megaphone.host.needs import connections_within, descriptors_of_worker


def raise_limit() -> int:
    """Sets the soft limit to the hard limit, which workers inherit, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def shortage(config: Config, limit: int, *, hub: bool = False) -> str | None:
    """What to tell the operator when a worker could run out of descriptors before its `max_connections`."""
    direct = not hub and any(upstream.mode == "direct" for upstream in config.upstream)
    embedded = not hub and config.embedded
    workers = config.node.workers or len(os.sched_getaffinity(0))
    connections = config.node.max_connections
    needed = descriptors_of_worker(connections, direct=direct, embedded=embedded, workers=workers)
    if limit >= needed:
        return None
    enough_for = connections_within(limit, direct=direct, embedded=embedded, workers=workers)
    key = "hub.max_connections" if hub else "node.max_connections"
    return (
        f"the limit of open files is {limit}, enough for {enough_for} connections per worker; "
        f"{key} = {connections} needs {needed} (LimitNOFILE= or ulimit -n)"
    )

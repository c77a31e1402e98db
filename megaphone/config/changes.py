"""Which keys differ between two configurations in a way that only a restart can apply."""

from collections.abc import Collection
from itertools import zip_longest

import msgspec

from megaphone.config.schema import Config, Table

# These are laid out once: sockets, workers, the size of their registries, the upstreams' places on the counter boards;
# and the nodes know each other as they were when they started.
RESTART_TABLES = ("node", "listen", "upstream", "admin", "cluster")
# The embedded service: its database is open, and this is what its users and rooms are called.
RESTART_KEYS = (("service", "data"), ("rooms", "domain"))


def restart_needed(old: Config, new: Config) -> tuple[str, ...]:
    """Return the dotted keys, such as "node.workers" or "listen[1]", whose change needs a restart; () if none does."""
    changed: list[str] = []
    for name in RESTART_TABLES:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, tuple):
            for index, (left, right) in enumerate(zip_longest(before, after)):
                changed += differences(f"{name}[{index}]", left, right)
        else:
            changed += differences(name, before, after)
    if old.embedded and new.embedded:
        changed += [
            f"{table}.{key}"
            for table, key in RESTART_KEYS
            if getattr(getattr(old, table), key) != getattr(getattr(new, table), key)
        ]
        if old.domain[0].name != new.domain[0].name:
            changed.append("domain[0].name")
    return tuple(changed)


def differences(key: str, before: Table | None, after: Table | None, reloaded: Collection[str] = ()) -> list[str]:
    """Return the dotted keys of one table that differ, but for those that a reload takes over."""
    if before is None or after is None:  # added or removed
        return [key] if before is not after else []
    left, right = msgspec.structs.asdict(before), msgspec.structs.asdict(after)
    return [f"{key}.{field}" for field in left if left[field] != right[field] and field not in reloaded]

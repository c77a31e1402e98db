"""What an operator may set about the service, and the limits that keep every user's state bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _no_other_domain(_: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits are inclusive; behind each stands the answer to what goes beyond it. Bytes count UTF-8 as sent."""

    resource_conflict: str = "replace"  # or "reject" or "rename": whoever binds a resource that is bound already
    sessions_per_user: int = 16  # BindError resource-constraint
    roster_items: int = 1_000  # resource-constraint; requests that wait for an answer count too
    roster_groups_per_item: int = 32  # not-acceptable (RFC 6121 section 2.3.3)
    roster_name_bytes: int = 1_023  # not-acceptable; the limit of a group's name too
    request_bytes: int = 4_096  # a longer subscription request is kept without what is inside
    offline_messages_per_user: int = 1_000  # resource-constraint
    offline_bytes_per_user: int = 4 * 1024 * 1024  # resource-constraint
    private_bytes_per_user: int = 256 * 1024  # resource-constraint
    vcard_bytes: int = 128 * 1024  # resource-constraint
    directed_presence_targets: int = 256  # per session; resource-constraint
    presence_bytes: int = 16 * 1024  # not-acceptable
    held_stanzas: int = 256  # per inactive session (XEP-0352); then all of them are sent
    blocked_jids: int = 1_000  # resource-constraint
    users_remembered: int = 1_024  # users without a session whose state is kept in memory
    archive: bool = False  # whether messages are archived (XEP-0313); then none takes the short way past the service
    archive_page: int = 100  # entries in one answer; the rest is asked for
    archive_preferences: int = 1_000  # JIDs on both lists (XEP-0441); resource-constraint
    version: str = ""  # told to who asks (XEP-0092)
    components: tuple[tuple[str, str], ...] = ()  # domain and name of each component, such as that of the rooms
    is_local_domain: Callable[[str], bool] = _no_other_domain  # other domains that the host routes to

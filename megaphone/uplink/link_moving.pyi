"""Types of what moves with links."""

from typing import Any

from megaphone.dispatch.dispatcher import Owner
from megaphone.uplink.link import Link
from megaphone.uplink.link_carrier import LinkCarrier
from megaphone.uplink.uplink import Uplink

def export_link(link: Link) -> tuple[bytes | None, int, int, int, str | None]: ...
def export_streams(carrier: LinkCarrier) -> bytes: ...
def leave(carrier: LinkCarrier) -> None: ...
def new_owner(uplink: Uplink, carrier: LinkCarrier, connection_id: int) -> Owner: ...
def restore_carrier(carrier: LinkCarrier, attached: bool, unattached_ns: int, said: bool | None) -> None: ...
def restore_link(
    carrier: LinkCarrier,
    index: int,
    session_state: bytes | None,
    abandoned: int,
    delay_ms: int,
    due_ns: int,
    trouble: str | None,
) -> None: ...
def restore_streams(
    uplink: Uplink, carrier: LinkCarrier, state: bytes, names: list[str], asleep: dict[int, Any]
) -> None: ...
def go_on(carrier: LinkCarrier, lost: list[Owner]) -> None: ...

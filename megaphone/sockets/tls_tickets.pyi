"""Types of the session tickets."""

from collections.abc import Sequence

def set_ticket_keys(keys: Sequence[bytes]) -> None: ...

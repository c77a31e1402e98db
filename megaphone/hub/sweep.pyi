"""Types of the compiled sweep."""

from megaphone.hub.shared import Hub

def sweep(hub: Hub, parts: int) -> None: ...

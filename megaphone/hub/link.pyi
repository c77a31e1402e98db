"""Types of the compiled link."""

from typing import Any

from megaphone.hub.shared import Hub
from megaphone.hub.socket import LinkSocket

def welcome(socket: LinkSocket, greeting: Any) -> None: ...

class HubLink:
    """One edge's link and its streams."""

    @property
    def hub(self) -> Hub: ...
    def describe(self) -> dict[str, Any]: ...
    def leave(self) -> None: ...
    def close(self, reason: int, text: str) -> None: ...

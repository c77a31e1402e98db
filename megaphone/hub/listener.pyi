"""Types of the compiled listener for links."""

from megaphone.hub.shared import Hub
from megaphone.sockets.listening import ListeningSocket

class LinkListener(ListeningSocket):
    """One listening socket of the hub, for links."""

    def __init__(self, hub: Hub, fd: int) -> None: ...

"""Types of the compiled listener."""

from megaphone.edge.clients import Clients
from megaphone.edge.limits import ListenerFacts

class Listener:
    """One listening socket of this worker."""

    facts: ListenerFacts

    def __init__(self, clients: Clients, facts: ListenerFacts, fd: int) -> None: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def retry(self) -> None: ...

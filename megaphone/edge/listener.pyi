"""Types of the compiled listener."""

from megaphone.edge.clients import Clients
from megaphone.edge.limits import ListenerFacts
from megaphone.sockets.listening import ListeningSocket

class Listener(ListeningSocket):
    """One listening socket of this worker, for clients."""

    facts: ListenerFacts

    def __init__(self, clients: Clients, facts: ListenerFacts, fd: int) -> None: ...

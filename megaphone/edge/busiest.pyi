"""Types of the compiled search for the busiest connections."""

from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.edge.connection import ClientConnection

def busiest(dispatcher: Dispatcher, limit: int) -> list[ClientConnection]: ...

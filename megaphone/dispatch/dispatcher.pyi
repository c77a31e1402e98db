"""Types of the compiled dispatcher."""

from typing import Any

class Sink:
    """Whoever takes what a socket's receiver reads."""

class Connection(Sink):
    """One accepted client connection."""

    @property
    def id(self) -> int: ...

class Owner(Sink):
    """The session owner behind a connection."""

    def upstream_name(self) -> str | None: ...

class Dispatcher:
    """The registry and the four messages of one worker."""

    def __init__(self, worker: int, capacity: int, generation: int = 1) -> None: ...
    @property
    def capacity(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def open_connections(self) -> int: ...
    def connections(self) -> list[Any]: ...
    def connection(self, connection_id: int) -> Any: ...

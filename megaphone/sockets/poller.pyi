"""Types of the compiled poller."""

from collections.abc import Callable

def ticks_of(seconds: float) -> int: ...

class Poller:
    """The sockets of one worker."""

    on_fault: Callable[[Exception], None] | None
    frozen: bool

    def __init__(self, wake: Callable[[], object] | None = None) -> None: ...
    @property
    def fd(self) -> int: ...
    @property
    def turns(self) -> int: ...
    @property
    def events(self) -> int: ...
    def turn(self) -> None: ...

"""Types of the compiled socket of a link."""

class LinkSocket:
    """One accepted socket of an edge."""

    @property
    def peer(self) -> str: ...
    @property
    def state(self) -> int: ...

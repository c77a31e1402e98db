"""Types of the compiled homes."""

def home_of(name: str, workers: int) -> int:
    """Return the index, 0 to workers - 1, of the home of a bare JID; the same in every process and on every machine."""

def name_at_home(begin: str, domain: str, home: int, workers: int) -> str:
    """Return a local part that begins so and whose home is the worker `home`; if none is soon found, just `begin`."""

"""Which key goes with which name: trust on first use, and a changed key is never taken silently. No I/O.

name unknown ──► NEW: pin it      name and key pinned ──► KNOWN      name pinned, another key ──► CHANGED: refuse
                                                                      unless the user said --trust NAME: pin anew
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from megaphone.peers.names import name_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from megaphone.history.entry import Origin

PINS_LIMIT: Final = 10_000
NAMES_OF_A_KEY: Final = 4  # so that one peer cannot take all the names there are


class Pin(NamedTuple):
    """The key of a name; `shown` is the name as it was first written."""

    shown: str
    key: Origin


class PinStore(Protocol):
    """Where pins are kept."""

    def pins(self) -> Mapping[str, Pin]:
        """Return all pins by `name_key`."""
        ...

    def put_pin(self, name: str, pin: Pin) -> None:
        """Keep a pin, in place of the one there was."""
        ...


class Verdict(Enum):
    """What a name with a key is."""

    NEW = auto()
    KNOWN = auto()
    CHANGED = auto()
    TOO_MANY_NAMES = auto()
    """The key has as many names as one may have, or there are as many pins as may be."""


class Pins:
    """All pins of this user. `trusted` are names whose key may change once: the user has asked for it."""

    def __init__(self, store: PinStore, trusted: Iterable[str] = ()) -> None:
        self._store = store
        self._pins = dict(store.pins())
        self._names_of = Counter(pin.key for pin in self._pins.values())
        self._trusted = {name_key(name) for name in trusted}

    def check(self, name: str, key: Origin) -> Verdict:
        """Say what this name with this key is; the name is a clean one."""
        pin = self._pins.get(name_key(name))
        if pin is not None:
            if pin.key == key:
                return Verdict.KNOWN
            if name_key(name) not in self._trusted:
                return Verdict.CHANGED
        if self._names_of[key] >= NAMES_OF_A_KEY or (pin is None and len(self._pins) >= PINS_LIMIT):
            return Verdict.TOO_MANY_NAMES
        return Verdict.NEW

    def pin(self, name: str, key: Origin) -> None:
        """Keep a name that is NEW with its key."""
        found = name_key(name)
        if (old := self._pins.get(found)) is not None:
            self._names_of[old.key] -= 1
        pin = Pin(name, key)
        self._pins[found] = pin
        self._names_of[key] += 1
        self._trusted.discard(found)
        self._store.put_pin(found, pin)

    def key_of(self, name: str) -> Origin | None:
        """Return the key that is pinned for a name."""
        pin = self._pins.get(name_key(name))
        return None if pin is None else pin.key

    def is_pinned(self, name: str, key: Origin) -> bool:
        """Tell whether this name is this key's; False also for what is no name."""
        try:
            return self.key_of(name) == key
        except ValueError:
            return False

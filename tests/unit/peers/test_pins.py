"""Trust on first use."""

from collections.abc import Mapping

import pytest

from megaphone.history.entry import Origin
from megaphone.peers import pins
from megaphone.peers.pins import Pin, Pins, Verdict

JULIA, ROMEO = Origin(b"j" * 32), Origin(b"r" * 32)


class Store:
    """Pins in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Pin] = {}

    def pins(self) -> Mapping[str, Pin]:
        return dict(self.kept)

    def put_pin(self, name: str, pin: Pin) -> None:
        self.kept[name] = pin


def test_the_first_key_of_a_name_is_its_key_from_then_on_and_after_a_restart() -> None:
    store = Store()
    first = Pins(store)
    assert first.check("Julia", JULIA) is Verdict.NEW
    assert not first.is_pinned("Julia", JULIA)
    first.pin("Julia", JULIA)
    for each in (first, Pins(store)):
        assert each.check("Julia", JULIA) is Verdict.KNOWN
        assert each.check("Julia", ROMEO) is Verdict.CHANGED
        assert each.is_pinned("Julia", JULIA)
        assert not each.is_pinned("Julia", ROMEO)
        assert each.key_of("Julia") == JULIA
    assert store.kept == {"julia": Pin("Julia", JULIA)}


def test_another_spelling_is_no_way_around_a_pin() -> None:
    some = Pins(Store())
    some.pin("Julia", JULIA)
    assert some.check("JULIA", ROMEO) is Verdict.CHANGED
    assert some.is_pinned("julia", JULIA)


def test_a_changed_key_is_taken_once_if_the_user_says_so() -> None:
    store = Store()
    Pins(store).pin("Julia", JULIA)
    trusting = Pins(store, ["julia"])
    assert trusting.check("Julia", JULIA) is Verdict.KNOWN
    assert trusting.check("Julia", ROMEO) is Verdict.NEW
    trusting.pin("Julia", ROMEO)
    assert trusting.check("Julia", JULIA) is Verdict.CHANGED
    assert trusting.check("Julia", ROMEO) is Verdict.KNOWN
    assert Pins(store).key_of("Julia") == ROMEO


def test_a_key_cannot_take_all_names() -> None:
    some = Pins(Store())
    for number in range(pins.NAMES_OF_A_KEY):
        assert some.check(f"name {number}", JULIA) is Verdict.NEW
        some.pin(f"name {number}", JULIA)
    assert some.check("one more", JULIA) is Verdict.TOO_MANY_NAMES
    assert some.check("name 0", JULIA) is Verdict.KNOWN
    assert some.check("one more", ROMEO) is Verdict.NEW


def test_pins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "PINS_LIMIT", 1)
    some = Pins(Store())
    some.pin("Julia", JULIA)
    assert some.check("Romeo", ROMEO) is Verdict.TOO_MANY_NAMES
    assert some.check("Julia", ROMEO) is Verdict.CHANGED


def test_what_is_no_name_is_nobodys() -> None:
    assert not Pins(Store()).is_pinned("\x1b", JULIA)

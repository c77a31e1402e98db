"""Contents that come in parts: together they have a limit, and none may take long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.pages.assemblies import Assemblies
from megaphone.pages.content import PART_CHARACTERS, Assembly, parts_of
from megaphone.pages.page import Channel
from tests.unit.pages.windows import Window, World


def channel() -> Channel:
    return Channel(Window(World()).visitor, "have:x", "1", None, True)


def test_of_too_many_those_that_began_first_are_given_up() -> None:
    assemblies = Assemblies(250)
    first, second, third = channel(), channel(), channel()
    for each in (first, second, third):
        assert assemblies.add(each, 0, 2, "x" * 100, 1000, 0.0) is None
    assert assemblies.bytes == 200
    with pytest.raises(ValueError, match="bad_part"):
        assemblies.add(first, 1, 2, "x", 1000, 0.0)
    assert assemblies.add(second, 1, 2, "y", 1000, 0.0) == "x" * 100 + "y"
    assert assemblies.bytes == 100
    assemblies.drop(third)
    assert assemblies.bytes == 0


def test_one_that_takes_long_is_given_up() -> None:
    assemblies = Assemblies()
    slow, other = channel(), channel()
    assemblies.add(slow, 0, 2, "x", 1000, 0.0)
    assemblies.add(other, 0, 2, "x", 1000, 20.1)
    assert slow.assembly is None
    assert assemblies.bytes == 1


def test_beginning_anew_forgets_what_was_there() -> None:
    assemblies = Assemblies()
    one = channel()
    assemblies.add(one, 0, 3, "old", 1000, 0.0)
    assemblies.add(one, 0, 2, "new", 1000, 1.0)
    assert assemblies.add(one, 1, 2, "er", 1000, 1.0) == "newer"
    assert assemblies.bytes == 0


@given(st.text(max_size=200), st.integers(1, 60))
def test_parts_make_the_whole(text: str, size: int) -> None:
    parts = [text[at : at + size] for at in range(0, len(text), size)] or [""]
    assembly = Assembly(1000)
    taken = [assembly.add(index, len(parts), part) for index, part in enumerate(parts)]
    assert taken == [None] * (len(parts) - 1) + [text]
    assert "".join(parts_of(text * 300)) == text * 300
    assert all(len(part) <= PART_CHARACTERS for part in parts_of(text * 300))

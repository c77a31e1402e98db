"""Session ticket keys: newest first, three kept."""

import pytest

from megaphone.supervisor.tickets import KEY_BYTES, rotated


def test_the_newest_comes_first_and_three_are_kept() -> None:
    keys: tuple[bytes, ...] = ()
    a, b, c, d = (bytes([number]) * KEY_BYTES for number in range(4))
    for fresh, expected in ((a, (a,)), (b, (b, a)), (c, (c, b, a)), (d, (d, c, b))):
        keys = rotated(keys, fresh)
        assert keys == expected


@pytest.mark.parametrize("length", [0, 79, 81])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="80 bytes"):
        rotated((), bytes(length))

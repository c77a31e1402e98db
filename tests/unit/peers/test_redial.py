"""Pauses between two attempts."""

from hypothesis import given
from hypothesis import strategies as st

from megaphone.peers.redial import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, STABLE_SECONDS, Redial


def test_pauses_double_up_to_half_a_minute() -> None:
    redial = Redial(lambda: 1.0)
    assert [redial.failed() for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_good_connection_and_a_sign_of_life_begin_anew() -> None:
    redial = Redial(lambda: 1.0)
    for _ in range(5):
        redial.failed()
    assert redial.failed(STABLE_SECONDS) == FIRST_PAUSE_SECONDS
    redial.failed()
    redial.seen()
    assert redial.failed() == FIRST_PAUSE_SECONDS


def test_who_refuses_us_is_left_in_peace() -> None:
    redial = Redial(lambda: 1.0)
    assert redial.refused() == redial.refused() == LONGEST_PAUSE_SECONDS


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_chance_shortens_a_pause_by_at_most_half(chances: list[float]) -> None:
    numbers = iter(chances)
    some, longest = Redial(lambda: next(numbers)), Redial(lambda: 1.0)
    for _ in chances:
        most = longest.failed()
        assert most / 2 <= some.failed() <= most <= LONGEST_PAUSE_SECONDS

"""The fuzz target's checks, on what hypothesis thinks of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.history.batch_fuzz import check_input, check_script


@settings(max_examples=400)
@given(st.lists(st.integers(0, 255), max_size=30).map(bytes))
def test_two_logs_end_the_same(script: bytes) -> None:
    check_script(script)


@given(st.binary(max_size=300))
def test_any_input_passes(data: bytes) -> None:
    check_input(data)

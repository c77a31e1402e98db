"""The fuzz target's checks, on what hypothesis thinks of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.history.messages_codec import encode
from tests.unit.history.messages_fuzz import check_input, check_lies, check_script
from tests.unit.history.test_messages import MESSAGES


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 255), max_size=40).map(bytes))
def test_two_replicas_end_the_same(script: bytes) -> None:
    check_script(script)


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=6))
def test_lies_do_no_harm(messages: list[object]) -> None:
    written = [encode(message) for message in messages]  # type: ignore[arg-type]
    check_lies(b"".join(len(each).to_bytes(2) + each for each in written))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_input_passes(data: bytes) -> None:
    check_input(data)

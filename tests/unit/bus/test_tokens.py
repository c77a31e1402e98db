"""Subjects of a cluster: every node makes the same ones, and NATS takes them."""

import re

from hypothesis import given
from hypothesis import strategies as st

from megaphone.bus.ports import encode_subject
from megaphone.bus.tokens import (
    TOKEN_CHARACTERS,
    room_subject,
    session_subject,
    token_of,
    user_subject,
    worker_subject,
)

TOKEN_OF_JULIET = "s3iyjummkviwf2mbs26t75w7me"


def test_tokens_never_change() -> None:
    """Nodes of different versions meet: computed once with coreutils, `printf %s ... | sha256sum`, and base32."""
    assert token_of("juliet@example.org") == TOKEN_OF_JULIET
    assert user_subject("juliet@example.org") == f"u.{TOKEN_OF_JULIET}"
    assert worker_subject("ab" * 32, 3, "move.in") == "n.abababababababab.3.move.in"


@given(st.text(), st.text())
def test_any_text_makes_subjects(bare: str, resource: str) -> None:
    for subject in (user_subject(bare), session_subject(bare, resource), room_subject(bare)):
        assert encode_subject(subject)
    assert re.fullmatch(r"[a-z2-7]{26}", token_of(bare))
    assert len(token_of(bare)) == TOKEN_CHARACTERS
    assert (token_of(bare) == token_of(resource)) is (bare == resource)

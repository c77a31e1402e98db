"""JIDs in their one comparable form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.stream.jid import JID


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("example.org", ("", "example.org", "")),
        ("Romeo@Example.ORG", ("romeo", "example.org", "")),
        ("romeo@example.org/Balcony", ("romeo", "example.org", "Balcony")),
        ("example.org/a@b/c", ("", "example.org", "a@b/c")),
        ("romeo@example.org/a/b@c", ("romeo", "example.org", "a/b@c")),
        ("fußball@example.org", ("fußball", "example.org", "")),
        ("ΠΕΡΙΚΛΗΣ@example.org", ("περικλης", "example.org", "")),
        ("\uff21@example.org", ("a", "example.org", "")),
        ("a@example.org/ⅣThe  one", ("a", "example.org", "ⅣThe  one")),
        ("a@[2001:DB8::1]/x", ("a", "[2001:db8::1]", "x")),
    ],
)
def test_parts(text: str, parts: tuple[str, str, str]) -> None:
    assert JID.parse(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", "@example.org", "romeo@", "romeo@example.org/", "/x", "a b@example.org", "a@b@c", "\ud800@example.org"),
        *('"x@example.org', "a:b@example.org", "a&b@example.org", "a<b@example.org", "henryⅣ@example.org"),
        *("a@example.org/\0", "a@example.org/\n", "a@example..org", "a@ex ample.org", "a@example.org/\u200b\x7f"),
        *("a" * 1024 + "@example.org", "a@example.org/" + "r" * 1024, "a@example.org/" + "é" * 512),
        "ü" * 512 + "@x.org",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        JID.parse(text)


@given(st.text(max_size=40))
def test_a_normal_form_stays(text: str) -> None:
    """What was read once reads the same again (or is refused both times)."""
    try:
        jid = JID.parse(text)
    except ValueError:
        return
    assert JID.parse(str(jid)) == jid
    assert jid.bare.at(jid.resource) == jid

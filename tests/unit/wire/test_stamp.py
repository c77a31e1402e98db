"""Start tags written anew: the attributes asked for, and nothing else, change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.wire.stamp import KEEP, add_child, prefix_declarations, stamp
from tests.unit.wire.stanzas import stanzas
from tests.unit.wire.streams import STREAM_SCOPE
from tests.unit.wire.test_rendered import meaning

MESSAGE = b"<message id='m1' from='romeo@example.net' type='groupchat'\n to=\"verona\" ><body>hi</body></message>"
TEXT = st.none() | st.text(max_size=20)


def test_only_what_is_asked_for_changes() -> None:
    assert stamp(MESSAGE) == MESSAGE
    assert (
        stamp(MESSAGE, from_="a'b")
        == b"<message from='a&apos;b' id='m1' type='groupchat'\n to=\"verona\" ><body>hi</body></message>"
    )
    assert stamp(MESSAGE, to=None, type_=None) == (
        b"<message id='m1' from='romeo@example.net' ><body>hi</body></message>"
    )
    assert stamp(b"<iq/>", id_="1", declarations=b" xmlns:x='urn:x'") == b"<iq xmlns:x='urn:x' id='1'/>"


@given(stanzas(STREAM_SCOPE), TEXT, TEXT, TEXT, TEXT)
def test_meaning(text: str, to: str | None, from_: str | None, type_: str | None, id_: str | None) -> None:
    stanza = text.encode()
    changed = stamp(stanza, to=to, from_=from_, type_=type_, id_=id_)
    assert meaning(changed, {}) == meaning(stanza, {"to": to, "from": from_, "type": type_, "id": id_})
    assert stamp(stanza, to=KEEP, from_=KEEP) == stanza


@given(stanzas(STREAM_SCOPE))
def test_one_more_child(text: str) -> None:
    stanza = text.encode()
    before, after = meaning(stanza, {}), meaning(add_child(stanza, b"<x xmlns='urn:x'>1</x>"), {})
    assert after[-1][0] == "{urn:x}x"  # type: ignore[index]
    assert [each[0] for each in after[:-1]] == [each[0] for each in before]  # type: ignore[index]


def test_declarations() -> None:
    element = b"<a xmlns='u'  xmlns:b='v' c='d' xmlns:e=\"f\"/>"
    assert prefix_declarations(element) == [b"  xmlns:b='v'", b' xmlns:e="f"']


@pytest.mark.parametrize("text", [b"", b"x", b"<", b"<a b"])
def test_no_start_tag(text: bytes) -> None:
    with pytest.raises(ValueError, match="start tag"):
        stamp(text)
    with pytest.raises(ValueError, match="start tag"):
        add_child(text, b"<x/>")

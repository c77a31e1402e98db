"""First-level elements that are no stanzas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.stream.nonza import Ack, AckRequest, ClientState, Enable, Nonza, Resume, read_nonza

SM = "xmlns='urn:xmpp:sm:3'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<r {SM}/>", AckRequest()),
        ('<r xmlns="urn:xmpp:sm:3"/>', AckRequest()),
        ("<sm:r xmlns:sm='urn:xmpp:sm:3'></sm:r>", AckRequest()),
        (f"<a {SM} h='0'/>", Ack(0)),
        ('<a xmlns="urn:xmpp:sm:3" h="4294967295" />', Ack(4294967295)),
        (f"<a h='12' {SM}/>", Ack(12)),
        (f"<a h=' 12 ' {SM}></a>", Ack(12)),
        (f"<a h='&#49;2' {SM}/>", Ack(12)),
        (f"<enable {SM}/>", Enable(resume=False, max_seconds=None)),
        (f"<enable {SM} resume='true' max='60'/>", Enable(resume=True, max_seconds=60)),
        (f"<enable {SM} resume='1'/>", Enable(resume=True, max_seconds=None)),
        (f"<enable {SM} resume='false'/>", Enable(resume=False, max_seconds=None)),
        (f"<resume {SM} h='3' previd='some&lt;id'/>", Resume("some<id", 3)),
        ("<active xmlns='urn:xmpp:csi:0'/>", ClientState(active=True)),
        ("<inactive xmlns='urn:xmpp:csi:0'/>", ClientState(active=False)),
        ("<r/>", None),
        ("<r xmlns='urn:xmpp:sm:2'/>", None),
        ("<a h='1'/>", None),
        (f"<enabled {SM}/>", None),
        ("<message/>", None),
    ],
)
def test_read(text: str, expected: Nonza | None) -> None:
    assert read_nonza(text.encode()) == expected


@pytest.mark.parametrize(
    "text",
    [
        f"<a {SM}/>",
        f"<a {SM} {SM} h='1'/>",
        f"<a {SM} h=''/>",
        f"<a {SM} h='-1'/>",
        f"<a {SM} h='1.5'/>",
        f"<a {SM} h='4294967296'/>",
        f"<a {SM} h='9999999999'/>",
        f"<a {SM} h='99999999999999999999'/>",
        f"<a {SM} h='\u0661'/>",
        f"<enable {SM} resume='true' max='soon'/>",
        f"<resume {SM} previd='x'/>",
        f"<resume {SM} h='1'/>",
        f"<resume {SM} h='1' previd=''/>",
        f"<resume {SM} h='1' previd='{'x' * 257}'/>",
        "<x:r/>",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="bad-format"):
        read_nonza(text.encode())


@given(st.integers(0, (1 << 32) - 1), st.sampled_from(["<a {1} h='{0}'/>", "<a h='{0}' {1} />", "<a\n{1} h='{0}'/>"]))
def test_both_ways_of_reading_agree(h: int, template: str) -> None:
    assert read_nonza(template.format(h, SM).encode()) == Ack(h)

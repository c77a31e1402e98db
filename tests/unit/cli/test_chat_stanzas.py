"""Stanzas of a room, read from XML and written to it."""

from xml.etree import ElementTree as ET

import pytest

from megaphone.cli.chat_stanzas import (
    Message,
    Presence,
    StanzaError,
    join,
    leave,
    read_message,
    read_presence,
    say,
)

ROOM = "r@conference.x"
USER = "xmlns='http://jabber.org/protocol/muc#user'"
ERROR = (
    "<error type='auth'><{} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'> no </text></error>"
)


def parse(text: str) -> ET.Element:
    name, rest = text[1:].split(" ", 1)
    return ET.fromstring(f"<{name} xmlns='jabber:client' {rest}")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"<presence from='{ROOM}/A'/>", Presence("A", True)),
        (
            f"<presence from='{ROOM}/A'><x {USER}><status code='110'/><status code='201'/><status code='x'/>"
            f"<status code='{'9' * 9999}'/><item role='none'/></x></presence>",
            Presence("A", True, frozenset({110, 201})),
        ),
        (
            f"<presence from='{ROOM}/A' type='unavailable'>"
            f"<x {USER}><item nick='B/C'/><status code='303'/></x></presence>",
            Presence("A", False, frozenset({303}), "B/C"),
        ),
        (
            f"<presence from='{ROOM}/A' type='unavailable'>"
            f"<x {USER}><destroy><reason> old </reason></destroy></x></presence>",
            Presence("A", False, reason="old", destroyed=True),
        ),
        (
            f"<presence from='{ROOM}/A' type='error'>{ERROR.format('forbidden')}</presence>",
            Presence("A", False, error=StanzaError("forbidden", "no")),
        ),
        (f"<presence from='{ROOM}/A/b'/>", Presence("A/b", True)),
        (f"<presence from='{ROOM}' type='error'/>", Presence("", False, error=StanzaError("undefined-condition", ""))),
        ("<presence from='other@conference.x/A'/>", None),
        (f"<presence from='{ROOM}/A' type='subscribe'/>", None),
        ("<presence to='a@b'/>", None),
    ],
)
def test_presence(text: str, read: Presence | None) -> None:
    assert read_presence(parse(text), ROOM) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (
            f"<message from='{ROOM}/A' type='groupchat' id='i'><body>hi</body>"
            f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s'/>"
            "<origin-id xmlns='urn:xmpp:sid:0' id='o'/><delay xmlns='urn:xmpp:delay' stamp='t'/></message>",
            Message("A", "hi", None, "i", "s", "o", "t"),
        ),
        (
            f"<message from='{ROOM}/A' type='groupchat'><body>hi</body>"
            "<stanza-id xmlns='urn:xmpp:sid:0' by='someone@else' id='s'/></message>",
            Message("A", "hi"),
        ),
        (f"<message from='{ROOM}' type='groupchat'><subject/></message>", Message("", None, "")),
        (
            f"<message from='{ROOM}/A' type='groupchat'><thread>1</thread><subject>x</subject></message>",
            Message("A", None),
        ),
        (f"<message from='{ROOM}/A' type='chat'><body>psst</body></message>", Message("A", "psst", private=True)),
        (
            f"<message from='{ROOM}' type='error' id='i'>{ERROR.format('forbidden')}</message>",
            Message("", None, identifier="i", error=StanzaError("forbidden", "no")),
        ),
        (f"<message from='{ROOM}/A' type='headline'><body>x</body></message>", None),
        (f"<message from='{ROOM}/A'><body>x</body></message>", None),
        ("<message from='a@b/c' type='chat'><body>x</body></message>", None),
    ],
)
def test_messages(text: str, read: Message | None) -> None:
    assert read_message(parse(text), ROOM) == read


def test_what_is_written_is_read() -> None:
    element = parse(say(ROOM, "a < b & 'c'", "i").replace(f'to="{ROOM}"', f"from='{ROOM}/A'"))
    assert read_message(element, ROOM) == Message("A", "a < b & 'c'", None, "i", None, "i")


def test_a_join_asks_for_what_it_needs() -> None:
    assert join(ROOM, "A'<", password="p&", maxstanzas=0, seconds=None) == (
        f'<presence to="{ROOM}/A\'&lt;"><x xmlns="http://jabber.org/protocol/muc"><password>p&amp;</password>'
        '<history maxstanzas="0" /></x></presence>'
    )
    assert '<history seconds="9" />' in join(ROOM, "A", password=None, maxstanzas=None, seconds=9)
    assert leave(ROOM, "A") == f'<presence to="{ROOM}/A" type="unavailable" />'

"""Text of others on our terminal, and ours in XML."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.cli.chat_events import (
    Joined,
    Left,
    NotSent,
    Present,
    Renamed,
    RoomSaid,
    Said,
    ServerChanged,
    ServersUpdated,
)
from megaphone.cli.chat_events import SubjectChanged as Subject
from megaphone.cli.chat_text import BODY_LIMIT_BYTES, NICK_LIMIT, readable, readable_nick, sendable, too_long

JOINERS = "\u200c\u200d"


@given(st.text())
def test_nothing_that_steers_a_terminal_is_readable(text: str) -> None:
    events = [
        *(Joined(text), Left(text, text), Renamed(text, text), Said(text, text), Said(text, text, private=True)),
        *(Subject(text, text), Present((text, text)), RoomSaid(text), NotSent(text, text)),
        *(ServerChanged(text), ServersUpdated((text, text))),
    ]
    for event in events:
        for line in event.lines():
            assert all(character.isprintable() or character in JOINERS for character in line)


def test_letters_blanks_and_emoji_stay() -> None:
    assert readable("Zoë 漢字\tc\u00a0d") == "Zoë 漢字 c d"
    assert readable("👩\u200d👩\u200d👧 ❤\ufe0f") == "👩\u200d👩\u200d👧 ❤\ufe0f"
    assert readable("\x1b[2J\u202e") == "\\u001b[2J\\u202e"


@pytest.mark.parametrize(
    ("nick", "shown"),
    [
        ("John", "John"),
        ("JOIN", '"JOIN"'),
        ("server", '"server"'),
        ("Server Update", '"Server Update"'),
        ("Bob] hi [Eve", '"Bob] hi [Eve"'),
        ('"JOIN"', '""JOIN""'),
        (" John", '" John"'),
        ("Jo\nhn", "Jo\\u000ahn"),
        ("x" * (NICK_LIMIT + 1), "x" * (NICK_LIMIT - 1) + "…"),
    ],
)
def test_a_nick_cannot_feign_a_line_of_ours(nick: str, shown: str) -> None:
    assert readable_nick(nick) == shown


def test_each_line_of_a_text_has_its_author() -> None:
    assert Said("Eve", "a\n[JOIN] Bob joined the chat\r\n\x0bb").lines() == [
        *("[Eve] a", "[Eve] [JOIN] Bob joined the chat", "[Eve] ", "[Eve] b")
    ]
    assert Said("Eve", "").lines() == ["[Eve] "]


@given(st.text(st.characters()))
def test_what_is_sent_is_xml(text: str) -> None:
    sent = sendable(text)
    element = ET.Element("body")
    element.text = sent
    read = ET.fromstring(ET.tostring(element, encoding="unicode")).text or ""
    assert read == sent.replace("\r\n", "\n").replace("\r", "\n")


def test_the_limit_counts_bytes_as_they_are_sent() -> None:
    assert too_long("x" * BODY_LIMIT_BYTES) is None
    assert too_long("x" * (BODY_LIMIT_BYTES + 1)) == "8001 bytes are too long for one message (at most 8000)"
    assert too_long("ä" * (BODY_LIMIT_BYTES // 2)) is None
    assert too_long("&" * (BODY_LIMIT_BYTES // 5 + 1)) is not None


def test_only_the_first_names_are_listed() -> None:
    assert Present(("A", "B")).lines() == ["[ROOM] here: A, B"]
    assert Present(tuple(f"n{number}" for number in range(15))).lines()[0].endswith("n11 and 3 more")

"""The stanzas of one occupant of a room (XEP-0045): reads what the room sends, writes what we say. No I/O."""

import re
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

CLIENT: Final = "{jabber:client}"
MUC: Final = "http://jabber.org/protocol/muc"
MUC_USER: Final = "{http://jabber.org/protocol/muc#user}"
MUC_OWNER: Final = "http://jabber.org/protocol/muc#owner"
DATA_FORM: Final = "jabber:x:data"
DELAY: Final = "{urn:xmpp:delay}delay"
UNIQUE_ID: Final = "{urn:xmpp:sid:0}"  # XEP-0359
NODES: Final = "{urn:megaphone:nodes:0}"  # docs/reference/cluster.md
STANZA_ERRORS: Final = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

SELF: Final = 110  # status codes of section 15.6
NICK_ASSIGNED: Final = 210
CREATED: Final = 201
BANNED: Final = 301
RENAMED: Final = 303
KICKED: Final = 307
AFFILIATION_LOST: Final = 321
MEMBERS_ONLY: Final = 322
SHUTDOWN: Final = 332
TECHNICAL: Final = 333

_CODE: Final = re.compile("[1-9][0-9]{2}")


@dataclass(frozen=True, slots=True)
class StanzaError:
    """The defined condition of RFC 6120 section 8.3.3, and the server's words."""

    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class Presence:
    """Presence from the room, of the occupant `nick`."""

    nick: str
    available: bool
    codes: frozenset[int] = frozenset()
    new_nick: str | None = None
    reason: str = ""
    destroyed: bool = False
    error: StanzaError | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the room; `nick` is "" if the room itself speaks, `stamp` the time of one from the history."""

    nick: str
    body: str | None
    subject: str | None = None
    identifier: str | None = None
    stanza_id: str | None = None
    origin_id: str | None = None
    stamp: str | None = None
    private: bool = False
    error: StanzaError | None = None


def read_presence(stanza: ET.Element, room: str) -> Presence | None:
    """What a presence stanza says, or None if it is not from `room` (a bare JID) or no use to an occupant."""
    nick = _nick(stanza, room)
    kind = stanza.get("type", "available")
    if nick is None or kind not in ("available", "unavailable", "error"):
        return None
    if kind == "error":
        return Presence(nick, False, error=_error(stanza))
    codes: set[int] = set()
    new_nick, reason, destroyed = None, "", False
    for user in stanza.iterfind(f"{MUC_USER}x"):
        codes |= {
            int(code) for each in user.iterfind(f"{MUC_USER}status") if _CODE.fullmatch(code := each.get("code", ""))
        }
        for item in user.iterfind(f"{MUC_USER}item"):
            new_nick = item.get("nick") or new_nick
            reason = item.findtext(f"{MUC_USER}reason") or reason
        for destroy in user.iterfind(f"{MUC_USER}destroy"):
            destroyed = True
            reason = destroy.findtext(f"{MUC_USER}reason") or reason
    return Presence(nick, kind == "available", frozenset(codes), new_nick, reason.strip(), destroyed)


def read_message(stanza: ET.Element, room: str) -> Message | None:
    """What a message stanza says, or None if it is not from `room` or of a type that a room does not send."""
    nick = _nick(stanza, room)
    kind = stanza.get("type", "normal")
    if nick is None or kind not in ("groupchat", "chat", "error"):
        return None
    delay = stanza.find(DELAY)
    stanza_ids = [each.get("id") for each in stanza.iterfind(f"{UNIQUE_ID}stanza-id") if each.get("by") == room]
    origin = stanza.find(f"{UNIQUE_ID}origin-id")
    return Message(
        nick,
        stanza.findtext(f"{CLIENT}body"),
        None if stanza.find(f"{CLIENT}thread") is not None else stanza.findtext(f"{CLIENT}subject"),
        stanza.get("id"),
        stanza_ids[0] if stanza_ids else None,
        None if origin is None else origin.get("id"),
        None if delay is None else delay.get("stamp", ""),
        kind == "chat",
        _error(stanza) if kind == "error" else None,
    )


def join(room: str, nick: str, *, password: str | None, maxstanzas: int | None, seconds: int | None) -> str:
    """Presence that enters the room (section 7.2) and asks for some of its history (section 7.2.14)."""
    presence = ET.Element("presence", {"to": f"{room}/{nick}"})
    muc = ET.SubElement(presence, "x", {"xmlns": MUC})
    if password is not None:
        ET.SubElement(muc, "password").text = password
    asked = {"maxstanzas": maxstanzas, "seconds": seconds}
    ET.SubElement(muc, "history", {name: str(value) for name, value in asked.items() if value is not None})
    return _text(presence)


def leave(room: str, nick: str) -> str:
    """Presence that leaves the room (section 7.14)."""
    return _text(ET.Element("presence", {"to": f"{room}/{nick}", "type": "unavailable"}))


def say(room: str, text: str, identifier: str) -> str:
    """A message to all occupants, with the id by which its reflection is known (section 7.4)."""
    message = ET.Element("message", {"to": room, "type": "groupchat", "id": identifier})
    ET.SubElement(message, "body").text = text
    ET.SubElement(message, "origin-id", {"xmlns": UNIQUE_ID[1:-1], "id": identifier})
    return _text(message)


def watch_nodes() -> ET.Element:
    """The query that asks the server which nodes of its cluster are there, and to be told when that changes."""
    return ET.Element(f"{NODES}nodes")


def read_nodes(stanza: ET.Element) -> tuple[str, ...] | None:
    """The names of the nodes in an answer, or in news of them; None if it is about something else."""
    nodes = stanza.find(f"{NODES}nodes")
    return None if nodes is None else tuple(each.get("name", "") for each in nodes.iterfind(f"{NODES}node"))


def instant_room() -> ET.Element:
    """The query that accepts a new room's default configuration (section 10.1.2)."""
    query = ET.Element(f"{{{MUC_OWNER}}}query")
    ET.SubElement(query, f"{{{DATA_FORM}}}x", {"type": "submit"})
    return query


def _text(stanza: ET.Element) -> str:
    return ET.tostring(stanza, encoding="unicode")


def _nick(stanza: ET.Element, room: str) -> str | None:
    bare, _, nick = stanza.get("from", "").partition("/")
    return nick if bare == room else None


def _error(stanza: ET.Element) -> StanzaError:
    condition, text = "undefined-condition", ""
    for child in stanza.iterfind(f"{CLIENT}error/*"):
        if child.tag == f"{STANZA_ERRORS}text":
            text = (child.text or "").strip()
        elif child.tag.startswith(STANZA_ERRORS):
            condition = child.tag.removeprefix(STANZA_ERRORS)
    return StanzaError(condition, text)

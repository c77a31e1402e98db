"""Taking messages back (XEP-0424) and away (XEP-0425): how it is said, and what stands in an archive in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.stream.mam import timestamp
from megaphone.stream.stanza import Stanza
from megaphone.wire.stanza_writer import message
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RETRACT: Final = "urn:xmpp:message-retract:1"
TOMBSTONE: Final = "urn:xmpp:message-retract:1#tombstone"
MODERATE: Final = "urn:xmpp:message-moderate:1"
OCCUPANT_ID: Final = "urn:xmpp:occupant-id:0"

_RETRACT: Final = RETRACT.encode()


def retracts(stanza: Stanza) -> str | None:
    """Return the id of the message that a message takes back; None if it takes none back."""
    if _RETRACT not in stanza.data:
        return None
    element = stanza.child(RETRACT, "retract")
    return None if element is None else element.get("id") or None


def moderates(request: Element) -> tuple[str | None, str, bool]:
    """Return of `<moderate/>` the id of the message, the reason, and whether the message is to be retracted."""
    reason = request.findtext(f"{{{MODERATE}}}reason") or ""
    return request.get("id") or None, reason, request.find(f"{{{RETRACT}}}retract") is not None


def moderated(by: str, mark: bytes, reason: str) -> bytes:
    """Return what a retraction has in it that a moderator has asked for; `mark` is the moderator's occupant-id."""
    said = b"<reason>%b</reason>" % escape(reason) if reason else b""
    return b"<moderated by='%b' xmlns='urn:xmpp:message-moderate:1'>%b</moderated>%b" % (escape(by), mark, said)


def moderation(room: str, id_: str, target: str, content: bytes) -> bytes:
    """Return the message by which a room tells that a moderator has taken a message away, without `to`."""
    retract = b"<retract xmlns='urn:xmpp:message-retract:1' id='%b'>%b</retract>" % (escape(target), content)
    return message(from_=room, type_="groupchat", id_=id_, content=retract)


def placeholder(data: bytes, retraction: str, time: float, content: bytes = b"") -> bytes:
    """Return what stands in the place of a message: who it was from, and that it was retracted, at `time`.

    `retraction` is the id of the message that has taken it back, "" if it has none; `content` what `moderated` returns.
    """
    erased = Stanza.read(data)
    mark = b"".join(
        erased.child_bytes(child)
        for child in erased.children
        if (child.namespace, child.name) == (OCCUPANT_ID, "occupant-id")
    )
    by = b" id='%b'" % escape(retraction) if retraction else b""
    tombstone = b"<retracted xmlns='urn:xmpp:message-retract:1'%b stamp='%b'>%b</retracted>" % (
        by,
        timestamp(time).encode(),
        content,
    )
    return message(
        to=None if erased.to is None else str(erased.to),
        from_=None if erased.from_ is None else str(erased.from_),
        type_=erased.type if erased.type in ("chat", "groupchat") else None,
        id_=erased.id,
        content=mark + tombstone,
    )

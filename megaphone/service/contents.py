"""What a message is about, as far as its delivery depends on it: most are told from a glance at their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.stream.stanza import CLIENT_NAMESPACE

if TYPE_CHECKING:
    from megaphone.stream.stanza import Stanza

ARCHIVE = "urn:xmpp:mam:2"
CARBONS = "urn:xmpp:carbons:2"
CHAT_STATES = "http://jabber.org/protocol/chatstates"
HINTS = "urn:xmpp:hints"
MUC_USER = "http://jabber.org/protocol/muc#user"
CONFERENCE = "jabber:x:conference"

# Of a message without a body: what says something about a conversation that its other clients want to know later.
ARCHIVED_PAYLOADS = frozenset(
    {
        "eu.siacs.conversations.axolotl",  # XEP-0384, as clients have it today
        "jabber:x:conference",  # XEP-0249
        "jabber:x:encrypted",  # XEP-0027
        "jabber:x:oob",  # XEP-0066
        "urn:xmpp:chat-markers:0",  # XEP-0333
        "urn:xmpp:message-correct:0",  # XEP-0308
        "urn:xmpp:message-retract:1",  # XEP-0424
        "urn:xmpp:omemo:2",  # XEP-0384
        "urn:xmpp:openpgp:0",  # XEP-0373
        "urn:xmpp:reactions:0",  # XEP-0444
        "urn:xmpp:receipts",  # XEP-0184
    }
)


def message_type(stanza: Stanza) -> str:
    """Return the type of a message; one that RFC 6121 section 5.2.2 does not know is normal."""
    return stanza.type if stanza.type in ("chat", "error", "groupchat", "headline") else "normal"


def has(stanza: Stanza, namespace: str, *names: str) -> bool:
    """Whether a stanza has a child element of this namespace, with one of the names if any are given."""
    if namespace != CLIENT_NAMESPACE and namespace.encode() not in stanza.data:
        return False
    return any(child.namespace == namespace and (not names or child.name in names) for child in stanza.children)


def has_body(stanza: Stanza) -> bool:
    """Whether there is something to read."""
    return b"body" in stanza.data and has(stanza, CLIENT_NAMESPACE, "body")


def only_chat_state(stanza: Stanza) -> bool:
    """Whether a message says no more than that somebody is writing (XEP-0085 section 5.5)."""
    if b"<body" in stanza.data or CHAT_STATES.encode() not in stanza.data:
        return False
    return all(
        child.namespace in (CHAT_STATES, HINTS) or (child.namespace, child.name) == (CLIENT_NAMESPACE, "thread")
        for child in stanza.children
    )


def is_invitation(stanza: Stanza) -> bool:
    """Whether a message invites to a room, directly or mediated (XEP-0249, XEP-0045 section 7.8)."""
    if has(stanza, CONFERENCE, "x"):
        return True
    if not has(stanza, MUC_USER, "x"):
        return False
    element = stanza.child(MUC_USER, "x")
    return element is not None and element.find(f"{{{MUC_USER}}}invite") is not None


def may_be_stored(stanza: Stanza) -> bool:
    """Whether a message may wait for its recipient (RFC 6121 section 8.5.2.2.1, XEP-0160 section 3, XEP-0334)."""
    if message_type(stanza) not in ("chat", "normal") or has(stanza, HINTS, "no-store", "no-permanent-store"):
        return False
    return has(stanza, HINTS, "store") or not only_chat_state(stanza)


def is_archived(stanza: Stanza) -> bool:
    """Whether a message belongs into the archives of those between whom it goes (XEP-0313 section 6.1.1, XEP-0334)."""
    if message_type(stanza) not in ("chat", "normal") or has(stanza, HINTS, "no-store", "no-permanent-store"):
        return False
    return has_body(stanza) or any(
        child.namespace in ARCHIVED_PAYLOADS or (child.namespace, child.name) == (HINTS, "store")
        for child in stanza.children
    )


def is_archive_result(stanza: Stanza) -> bool:
    """Whether a message is part of an archive's answer, of use only to the client that has asked."""
    return has(stanza, ARCHIVE, "result")

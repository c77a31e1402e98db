"""The namespaces, status codes and small elements of chat rooms (XEP-0045 section 15)."""

from __future__ import annotations

import datetime
from enum import IntEnum

from megaphone.wire.writer import escape

CLIENT = "jabber:client"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = "http://jabber.org/protocol/muc#user"
MUC_ADMIN = "http://jabber.org/protocol/muc#admin"
MUC_OWNER = "http://jabber.org/protocol/muc#owner"
MUC_REQUEST = "http://jabber.org/protocol/muc#request"
MUC_ROOM_CONFIG = "http://jabber.org/protocol/muc#roomconfig"
MUC_ROOM_INFO = "http://jabber.org/protocol/muc#roominfo"
MUC_SELF_PING = "http://jabber.org/protocol/muc#self-ping-optimization"
MUC_STABLE_ID = "http://jabber.org/protocol/muc#stable_id"
CONFERENCE = "jabber:x:conference"
DATA_FORM = "jabber:x:data"
DELAY = "urn:xmpp:delay"
HINTS = "urn:xmpp:hints"
LEGACY_DELAY = "jabber:x:delay"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
OCCUPANT_ID = "urn:xmpp:occupant-id:0"
PING = "urn:xmpp:ping"
STANZA_ID = "urn:xmpp:sid:0"
VERSION = "jabber:iq:version"


class Status(IntEnum):
    """Status codes (XEP-0045 section 15.6.2)."""

    NON_ANONYMOUS = 100
    CONFIGURATION_CHANGED = 104
    SELF_PRESENCE = 110
    NOW_NON_ANONYMOUS = 172
    NOW_SEMI_ANONYMOUS = 173
    CREATED = 201
    NICK_ASSIGNED = 210
    BANNED = 301
    NEW_NICK = 303
    KICKED = 307
    AFFILIATION_CHANGED = 321
    NOW_MEMBERS_ONLY = 322
    SHUT_DOWN = 332
    ERROR = 333


def element(name: bytes, namespace: str = "", /, content: bytes = b"", **attributes: str | None) -> bytes:
    """Return one element; attributes that are None are left out, `content` is markup, `from_` stands for from."""
    parts = [b"<", name]
    if namespace:
        parts.append(b" xmlns='%b'" % namespace.encode())
    parts += [
        b" %b='%b'" % (key.rstrip("_").encode(), escape(value))
        for key, value in attributes.items()
        if value is not None
    ]
    parts.append(b">%b</%b>" % (content, name) if content else b"/>")
    return b"".join(parts)


def muc_user(content: bytes, statuses: tuple[int, ...] = ()) -> bytes:
    """Return `<x xmlns='…muc#user'/>` with the statuses behind its other content."""
    codes = b"".join(b"<status code='%d'/>" % status for status in statuses)
    return element(b"x", MUC_USER, content + codes)


def delay(by: str, time: float) -> bytes:
    """Return the delay stamp of what was said at `time`, Unix seconds (XEP-0203, XEP-0082)."""
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
    return element(b"delay", DELAY, from_=by, stamp=stamp)

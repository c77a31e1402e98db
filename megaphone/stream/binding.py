"""Reads and answers the requests that bind a resource (RFC 6120 section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.stream.jid import JID, normalise_resource
from megaphone.wire.stanza_writer import iq_error, iq_result
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BIND_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-bind"

_IQ = "{jabber:client}iq"
_BIND = "{" + BIND_NAMESPACE + "}bind"
_RESOURCE = "{" + BIND_NAMESPACE + "}resource"


@dataclass(frozen=True, slots=True)
class Bind:
    """A request to bind `resource` (normalised), or any resource if it is None; `id` is the request's."""

    id: str
    resource: str | None


def read_bind(element: Element) -> Bind | bytes:
    """Read an iq that binds; the error that answers it if it is none as section 7 has it, b"" for anything else."""
    if element.tag != _IQ or len(element) == 0 or element[0].tag != _BIND or element.get("type") in ("result", "error"):
        return b""
    id_ = element.get("id", "")
    if element.get("type") != "set" or not id_:
        return iq_error("bad-request", id_=id_, text="A resource is bound with an iq of type set that has an id")
    wish = element[0].findtext(_RESOURCE)
    if not wish:  # section 7.6.1
        return Bind(id_, None)
    try:
        return Bind(id_, normalise_resource(wish))
    except ValueError as error:  # section 7.7.2.1
        return iq_error("bad-request", id_=id_, text=str(error))


def bind_result(id_: str, jid: JID) -> bytes:
    """Return the answer to the request `id_`: the full JID that is now the client's (section 7.6.1)."""
    content = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind>" % escape(str(jid))
    return iq_result(id_=id_, content=content)


def is_own_request(element: Element, account: JID) -> bool:
    """Say whether an element asks the client's own server or account: that may be answered (section 7.1)."""
    if element.tag != _IQ or element.get("type") not in ("get", "set"):
        return False
    to = element.get("to")
    if to is None:
        return True
    try:
        return JID.parse(to) in (account.bare, JID("", account.domain))
    except ValueError:
        return False

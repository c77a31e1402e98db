"""XML that clients keep with the service: private storage (XEP-0049) and the vCard (XEP-0054), as they sent it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service.refusal import Refusal
from megaphone.stream.stanza import CLIENT_NAMESPACE, Stanza

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.session import User

PRIVATE = "jabber:iq:private"
VCARD = "vcard-temp"
NAME_LIMIT = 1_023  # characters of a namespace and a name

_NO_STORE = "An anonymous user has no storage"


def get_private(home: Home, user: User, stanza: Stanza) -> bytes:
    """Return what is kept under the name of the element that is asked for, or that element empty."""
    element, name = _private_element(stanza)
    kept = None if user.anonymous else home.store.private(user.jid, name)
    return b"<query xmlns='jabber:iq:private'>%b</query>" % (element if kept is None else kept)


def set_private(home: Home, user: User, stanza: Stanza) -> bytes:
    """Keep an element."""
    if user.anonymous:
        raise Refusal("not-allowed", _NO_STORE)
    element, name = _private_element(stanza)
    before = home.store.private(user.jid, name) or b""
    if home.store.private_bytes(user.jid) - len(before) + len(element) > home.settings.private_bytes_per_user:
        raise Refusal("resource-constraint", "There is no room for so much private XML")
    home.store.put_private(user.jid, name, element)
    return b""


def _private_element(stanza: Stanza) -> tuple[bytes, str]:
    """Return the one element inside the query, and its name (XEP-0049 section 2: of a namespace of its own)."""
    query = Stanza(stanza.child_bytes(stanza.children[0]), "iq", to=None, from_=None, type_=None, id_=None)
    if len(query.children) != 1:
        raise Refusal("bad-request", "Private XML is kept and asked for one element at a time")
    child = query.children[0]
    if child.namespace in ("", PRIVATE, CLIENT_NAMESPACE):
        raise Refusal("bad-request", "Private XML has a namespace of its own")
    name = f"{{{child.namespace}}}{child.name}"
    if len(name) > NAME_LIMIT:
        raise Refusal("not-acceptable", "The name of this element is too long")
    return query.child_bytes(child), name


def get_vcard(home: Home, user: User) -> bytes:
    """Return a user's vCard, an empty one if there is none (XEP-0054 section 3.1)."""
    kept = None if user.anonymous else home.store.vcard(user.jid)
    return b"<vCard xmlns='vcard-temp'/>" if kept is None else kept


def set_vcard(home: Home, user: User, stanza: Stanza) -> bytes:
    """Keep the user's vCard."""
    if user.anonymous:
        raise Refusal("not-allowed", _NO_STORE)
    element = stanza.child_bytes(stanza.children[0])
    if len(element) > home.settings.vcard_bytes:
        raise Refusal("resource-constraint", f"A vCard has at most {home.settings.vcard_bytes} bytes")
    home.store.put_vcard(user.jid, element)
    return b""

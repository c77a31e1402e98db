"""Writes small stanzas: presence, messages, results of requests, and stanza errors.

Every function returns bytes that are well-formed whatever text is put in; only `content` is markup, and is the caller's
own. Attributes that are None are left out. Sources: RFC 6120 section 8, RFC 6121 sections 4 and 5.
"""

from megaphone.wire.writer import escape

STANZA_ERROR_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-stanzas"

ERROR_TYPES = frozenset({"auth", "cancel", "continue", "modify", "wait"})  # RFC 6120 section 8.3.2

# RFC 6120 section 8.3.3: each condition with the type that it usually has. Where the section names two, the one that
# stops a client from trying the same again; undefined-condition may have any.
STANZA_ERROR_CONDITIONS = {
    "bad-request": "modify",
    "conflict": "cancel",
    "feature-not-implemented": "cancel",
    "forbidden": "auth",
    "gone": "cancel",
    "internal-server-error": "cancel",
    "item-not-found": "cancel",
    "jid-malformed": "modify",
    "not-acceptable": "modify",
    "not-allowed": "cancel",
    "not-authorized": "auth",
    "policy-violation": "modify",
    "recipient-unavailable": "wait",
    "redirect": "modify",
    "registration-required": "auth",
    "remote-server-not-found": "cancel",
    "remote-server-timeout": "wait",
    "resource-constraint": "wait",
    "service-unavailable": "cancel",
    "subscription-required": "auth",
    "undefined-condition": "cancel",
    "unexpected-request": "modify",
}

# RFC 6121 sections 4.7.1 and 5.2.2; None is an available presence, or a message of type normal.
PRESENCE_TYPES = frozenset(
    {None, "error", "probe", "subscribe", "subscribed", "unavailable", "unsubscribe", "unsubscribed"}
)
MESSAGE_TYPES = frozenset({None, "chat", "error", "groupchat", "headline", "normal"})
STANZA_NAMES = frozenset({"iq", "message", "presence"})


def _stanza(name: bytes, attributes: tuple[tuple[bytes, str | None], ...], content: bytes) -> bytes:
    tag = b"<" + name + b"".join(b" %b='%b'" % (key, escape(value)) for key, value in attributes if value is not None)
    return b"%b>%b</%b>" % (tag, content, name) if content else tag + b"/>"


def presence(
    *,
    to: str | None = None,
    from_: str | None = None,
    type_: str | None = None,
    id_: str | None = None,
    content: bytes = b"",
) -> bytes:
    """Return a `<presence/>` (RFC 6121 section 4.7); ValueError for a type that section 4.7.1 does not define."""
    if type_ not in PRESENCE_TYPES:
        raise ValueError(f"{type_!r} is not a presence type of RFC 6121 section 4.7.1")
    return _stanza(b"presence", ((b"to", to), (b"from", from_), (b"type", type_), (b"id", id_)), content)


def message(
    *,
    body: str | None = None,
    to: str | None = None,
    from_: str | None = None,
    type_: str | None = None,
    id_: str | None = None,
    content: bytes = b"",
) -> bytes:
    """Return a `<message/>` with its body, and `content` behind it (RFC 6121 section 5.2).

    ValueError for a type that section 5.2.2 does not define.
    """
    if type_ not in MESSAGE_TYPES:
        raise ValueError(f"{type_!r} is not a message type of RFC 6121 section 5.2.2")
    if body is not None:
        content = b"<body>%b</body>%b" % (escape(body), content)
    return _stanza(b"message", ((b"to", to), (b"from", from_), (b"type", type_), (b"id", id_)), content)


def iq_result(*, id_: str, to: str | None = None, from_: str | None = None, content: bytes = b"") -> bytes:
    """Return the answer to the request `id_` (RFC 6120 section 8.2.3); `content` is one element at most."""
    return _stanza(b"iq", ((b"to", to), (b"from", from_), (b"type", "result"), (b"id", id_)), content)


def iq_error(
    condition: str,
    *,
    id_: str,
    to: str | None = None,
    from_: str | None = None,
    type_: str | None = None,
    text: str = "",
    request: bytes = b"",
) -> bytes:
    """Return the refusal of the request `id_`; `request` is the request's own child, which may be given back.

    The rest is `stanza_error`'s.
    """
    error = stanza_error(condition, type_=type_, text=text)
    return _stanza(b"iq", ((b"to", to), (b"from", from_), (b"type", "error"), (b"id", id_)), request + error)


def bounce(
    name: str,
    condition: str,
    *,
    to: str | None,
    from_: str | None,
    id_: str | None = None,
    type_: str | None = None,
    text: str = "",
) -> bytes:
    """Return the error that answers a stanza called `name` (RFC 6120 section 8.3.1).

    The addresses are the answer's own. ValueError unless `name` is message, presence or iq. An error must not be
    answered: that is for the caller to see. The rest is `stanza_error`'s.
    """
    if name not in STANZA_NAMES:
        raise ValueError(f"{name!r} is not a stanza of RFC 6120 section 8.1")
    attributes = ((b"to", to), (b"from", from_), (b"type", "error"), (b"id", id_))
    return _stanza(name.encode(), attributes, stanza_error(condition, type_=type_, text=text))


def stanza_error(
    condition: str, *, type_: str | None = None, text: str = "", by: str | None = None, address: str = ""
) -> bytes:
    """Return an `<error/>` (RFC 6120 section 8.3.2), the child of a stanza of type error.

    `type_` is auth, cancel, continue, modify or wait; None is the condition's usual one. `text` is for people, in
    English. `by` is who found the error. `address` is where to turn to after gone or redirect, a URI (sections 8.3.3.5
    and 8.3.3.14). ValueError for what these sections do not define.
    """
    if condition not in STANZA_ERROR_CONDITIONS:
        raise ValueError(f"{condition!r} is not a stanza error condition of RFC 6120 section 8.3.3")
    if type_ is None:
        type_ = STANZA_ERROR_CONDITIONS[condition]
    if type_ not in ERROR_TYPES:
        raise ValueError(f"{type_!r} is not an error type of RFC 6120 section 8.3.2")
    if address and condition not in ("gone", "redirect"):
        raise ValueError(f"{condition} has no address")
    name = condition.encode()
    content = (
        b"<%b xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>%b</%b>" % (name, escape(address), name)
        if address
        else b"<%b xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" % name
    )
    if text:
        content += b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>%b</text>" % escape(text)
    return _stanza(b"error", ((b"by", by), (b"type", type_)), content)

"""Writes the few pieces of XML that the edge says itself: stream header, features, stream errors.

Every function returns bytes that are well-formed whatever text is put in, so an answer to bad input can never
become bad input itself. Sources: RFC 6120 sections 4.2 (header), 4.9 (errors), 5.4 (STARTTLS).
"""

import re

from megaphone.wire.start_tag import read_start_tag

STREAMS_NAMESPACE = "http://etherx.jabber.org/streams"
CLIENT_NAMESPACE = "jabber:client"
TLS_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-tls"
STREAM_ERROR_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-streams"

# RFC 6120 section 4.9.3, without see-other-host, which needs an address as its content.
STREAM_ERROR_CONDITIONS = frozenset(
    {
        "bad-format",
        "bad-namespace-prefix",
        "conflict",
        "connection-timeout",
        "host-gone",
        "host-unknown",
        "improper-addressing",
        "internal-server-error",
        "invalid-from",
        "invalid-namespace",
        "invalid-xml",
        "not-authorized",
        "not-well-formed",
        "policy-violation",
        "remote-connection-failed",
        "reset",
        "resource-constraint",
        "restricted-xml",
        "system-shutdown",
        "undefined-condition",
        "unsupported-encoding",
        "unsupported-feature",
        "unsupported-stanza-type",
        "unsupported-version",
    }
)

STREAM_END = b"</stream:stream>"
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
STARTTLS_FAILURE = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
STARTTLS_OFFER = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

# Everything outside XML 1.0's Char production (section 2.2); lone surrogates are in the last range.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Text that stands for itself, as most of it does: it needs no look at each character.
_PLAIN = re.compile("[ !#-%(-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
# Tab and line ends as references: inside an attribute a parser would turn the plain characters into spaces.
_ENTITIES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "'": "&apos;",
        '"': "&quot;",
        "\t": "&#9;",
        "\n": "&#10;",
        "\r": "&#13;",
    }
)


def escape(text: str) -> bytes:
    """Return `text` as UTF-8 that is safe in element content and in quoted attribute values.

    A character that XML 1.0 cannot carry even as a reference (section 2.2) becomes U+FFFD.
    """
    if _PLAIN.fullmatch(text):
        return text.encode()
    return _NOT_XML.sub("\ufffd", text).translate(_ENTITIES).encode()


def stream_header(*, from_domain: str, to: str | None, stream_id: str, lang: str = "en") -> bytes:
    """Return an XML declaration and the response stream header (RFC 6120 section 4.7), open, version 1.0.

    `from_domain` may be "" when the peer named no domain of ours (section 4.9.1.2).
    """
    to_attribute = b"" if to is None else b" to='%b'" % escape(to)
    return (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" id='%b' from='%b'%b version='1.0' xml:lang='%b'>"
        % (escape(stream_id), escape(from_domain), to_attribute, escape(lang))
    )


def stream_error(condition: str, text: str = "", *, detail: bytes = b"") -> bytes:
    """Return one `<stream:error/>` (RFC 6120 section 4.9.2); `text` is for people, in English.

    `detail` is an application-specific condition, one whole element (section 4.9.4). Raises ValueError for a condition
    that section 4.9.3 does not define.
    """
    if condition not in STREAM_ERROR_CONDITIONS:
        raise ValueError(f"{condition!r} is not a stream error condition of RFC 6120 section 4.9.3")
    text_element = (
        b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>%b</text>" % escape(text) if text else b""
    )
    return b"<stream:error><%b xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>%b%b</stream:error>" % (
        condition.encode(),
        text_element,
        detail,
    )


def see_other_host(host: str, port: int | None = None) -> bytes:
    """Return the `<stream:error/>` that sends a client elsewhere (RFC 6120 section 4.9.3.19).

    `host` is a domain name or an IP address; an IPv6 address may stand in brackets or not.
    """
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    address = host if port is None else f"{host}:{port}"
    return (
        b"<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>%b</see-other-host></stream:error>"
        % escape(address)
    )


def starttls_features(required: bool) -> bytes:
    """Return the features of a stream whose only feature is STARTTLS (RFC 6120 section 5.4.1).

    A peer must take the only feature as mandatory even without `<required/>` (section 5.3.1).
    """
    if not required:
        return b"<stream:features>%b</stream:features>" % STARTTLS_OFFER
    return (
        b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
    )


def offer_starttls(features: bytes) -> bytes:
    """Return a server's whole `<stream:features/>` with STARTTLS as its first child.

    Features that already name STARTTLS stay as they are. Raises ValueError when `features` begins with no start tag.
    """
    if TLS_NAMESPACE.encode() in features:
        return features
    try:
        name, end, empty = read_start_tag(features)
    except ValueError:
        raise ValueError("the features do not begin with a start tag") from None
    if empty:
        return b"%b>%b</%b>%b" % (features[: end - 2], STARTTLS_OFFER, name, features[end:])
    return features[:end] + STARTTLS_OFFER + features[end:]

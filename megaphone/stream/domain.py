"""Brings the domain part of a JID into the one form in which two of them can be compared (RFC 7622 section 3.2)."""

import ipaddress
import re
import unicodedata

DOMAIN_LIMIT_BYTES = 1023

_PLAIN_LABEL = re.compile("[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
# Letters, marks and digits make a label; these few others belong to words of some scripts (RFC 5892 appendix A).
_CONTEXTUAL = frozenset("-\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")


def normalise_domain(text: str) -> str:
    """Return `text` in lower case, without a final dot, its international labels as Unicode.

    Raises ValueError with the reason for what is no domain name and no IP address; "[2001:db8::1]" is the form of an
    IPv6 address here.
    """
    if len(text.encode("utf-8", "surrogatepass")) > DOMAIN_LIMIT_BYTES:
        raise ValueError(f"a domain has at most {DOMAIN_LIMIT_BYTES} bytes")
    if text.startswith("["):
        return _ipv6_literal(text)
    labels = text.translate(_DOTS).removesuffix(".").split(".")
    return ".".join(_normalise_label(label) for label in labels)


def _ipv6_literal(text: str) -> str:
    try:
        if text.endswith("]") and "%" not in text:  # a zone index means nothing to anybody else
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ipaddress.AddressValueError:
        pass
    raise ValueError(f"{text[:80]!r} is not an IPv6 address in brackets")


def _normalise_label(label: str) -> str:
    lowered = label.lower() if label.isascii() else _map_characters(label)
    if not lowered:
        raise ValueError("a domain has no empty label (two dots in a row, or none of it at all)")
    if not lowered.isascii():
        return _check_unicode(lowered)
    if len(lowered) > 63:
        raise ValueError(f"the label {lowered[:20]!r}... is longer than 63 characters")
    if not _PLAIN_LABEL.fullmatch(lowered):
        raise ValueError(f"the label {lowered!r} is not made of letters, digits and inner hyphens")
    if not lowered.startswith("xn--"):
        return lowered
    try:
        decoded = lowered[4:].encode().decode("punycode")
    except UnicodeError:
        decoded = ""
    # an encoding that comes out otherwise would be a second spelling of the same name
    if decoded.isascii() or _map_characters(decoded) != decoded or _encoded(decoded) != lowered:
        raise ValueError(f"the label {lowered!r} is not valid Punycode (RFC 3492)")
    return _check_unicode(decoded)


def _map_characters(label: str) -> str:
    """Map full-width forms, case and composition as RFC 5895 section 2 does."""
    narrow = "".join(
        unicodedata.normalize("NFKC", character) if "\uff00" <= character <= "\uffef" else character
        for character in label
    )
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", narrow).lower())


def _encoded(label: str) -> str:
    return "xn--" + label.encode("punycode").decode()


def _check_unicode(label: str) -> str:
    for character in label:
        if unicodedata.category(character)[0] not in "LMN" and character not in _CONTEXTUAL:
            raise ValueError(f"the label {label[:63]!r} holds {character!r}, which no domain name has")
    if unicodedata.category(label[0]).startswith("M") or label[0] == "-" or label[-1] == "-":
        raise ValueError(f"the label {label[:63]!r} begins or ends with a character that must stand inside")
    if label.startswith("xn--"):
        raise ValueError(f"the label {label[:63]!r} is both Unicode and Punycode")
    if len(label) > 63 or len(_encoded(label)) > 63:
        raise ValueError(f"the label {label[:20]!r}... is longer than 63 characters")
    return label


def ascii_domain(domain: str) -> str:
    """Return a normalised domain as DNS and TLS write it, its international labels as Punycode (RFC 5891)."""
    return ".".join(label if label.isascii() else _encoded(label) for label in domain.split("."))

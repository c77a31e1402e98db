"""Prepares passwords as SASLprep does (RFC 4013): the form in which both ends of SCRAM hash them."""

import re
import stringprep
import unicodedata

PASSWORD_LIMIT_BYTES = 4096

_PLAIN = re.compile("[ -~]+")
# RFC 4013 section 2.3. Code points that Unicode 3.2 does not know are let through, as from a query (RFC 3454 section
# 7): clients take part in every login that way, and an emoji in a password harms nobody.
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Return a password as it is hashed; ValueError with the reason for what no password can be."""
    if len(text.encode("utf-8", "surrogatepass")) > PASSWORD_LIMIT_BYTES:
        raise ValueError(f"a password has at most {PASSWORD_LIMIT_BYTES} bytes")
    if _PLAIN.fullmatch(text):
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character  # section 2.1
        for character in text
        if not stringprep.in_table_b1(character)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)  # section 2.2
    if not normal:
        raise ValueError("a password is not empty")
    for character in normal:
        if any(prohibited(character) for prohibited in _PROHIBITED):
            raise ValueError(f"a password cannot hold U+{ord(character):04X} (RFC 4013 section 2.3)")
    _check_directions(normal)
    return normal


def _check_directions(text: str) -> None:
    """Check the rules for text that runs from right to left (section 2.4, RFC 3454 section 6)."""
    from_right = [stringprep.in_table_d1(character) for character in text]
    if not any(from_right):
        return
    if any(stringprep.in_table_d2(character) for character in text):
        raise ValueError("a password cannot mix letters of both writing directions (RFC 3454 section 6)")
    if not (from_right[0] and from_right[-1]):
        raise ValueError("a password written from right to left begins and ends so (RFC 3454 section 6)")

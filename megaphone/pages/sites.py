"""What workers say to each other about pages. A site is one life of one worker: 16 hexadecimal digits, by chance.

    pages.<page>       Held: how many holders a site has; heard by all sites with holders or wants of the page
    pages.at.<site>    Held, to one that has asked; and as a request the page's name, answered with

        0x00              no holder has answered
        0x01 · content    UTF-8

Each site says `ask` when its interest begins, when nobody is known, and now and then: lost words are made up for.
"""

from __future__ import annotations

import msgspec

NOTHING = b"\0"
FOUND = b"\1"
SITE_CHARACTERS = 16
COUNT_LIMIT = 1_000_000_000


class Held(msgspec.Struct, frozen=True, array_like=True):
    """Site `site` has `holders` holders of `page`; `serial` grows with each word of the site's."""

    page: str
    site: str
    serial: int
    holders: int
    ask: bool = False
    node: str = ""  # of a cluster: the first 16 hexadecimal digits of its key
    worker: int = 0


_decode = msgspec.msgpack.Decoder(Held).decode


def encode_held(word: Held) -> bytes:
    """Write one word."""
    return msgspec.msgpack.encode(word)


def decode_held(payload: bytes) -> Held:
    """Read one word. ValueError if it is none."""
    word = _decode(payload)
    if len(word.site) != SITE_CHARACTERS or not 0 <= word.holders <= COUNT_LIMIT:
        raise ValueError("no word of a site")
    return word


def page_subject(page: str) -> str:
    """Return where a page is spoken of."""
    return f"pages.{page}"


def site_subject(site: str) -> str:
    """Return where a site is spoken to."""
    return f"pages.at.{site}"

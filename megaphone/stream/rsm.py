"""Result Set Management (XEP-0059): which page of an ordered set is asked for, and what is said of the one given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import ArchiveError
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RSM: Final = "http://jabber.org/protocol/rsm"
ID_LIMIT: Final = 256  # characters of an id that is asked for; none of ours is longer
_NUMBER_LIMIT: Final = 10  # digits


class PageRequest(NamedTuple):
    """What a `<set/>` asks for; `max` is None where the client leaves it to us.

    `before` is "" for the last page (section 2.5), an id for the one before it, None where pages go forward.
    """

    max: int | None = None
    after: str | None = None
    before: str | None = None

    @property
    def backwards(self) -> bool:
        """Whether the page is the last one of those that fit, not the first."""
        return self.before is not None


def read_page_request(parent: Element) -> PageRequest:
    """Read the `<set/>` inside a query; a query without one asks for the first page. ArchiveError for what is none."""
    sets = parent.findall(f"{{{RSM}}}set")
    if not sets:
        return PageRequest()
    if len(sets) > 1:
        raise ArchiveError("bad-request", "a query has one <set/>")
    if sets[0].find(f"{{{RSM}}}index") is not None:
        # section 2.6: pages out of order are optional
        raise ArchiveError("feature-not-implemented", "pages are found by ids, not by numbers")
    maximum, after, before = (_text(sets[0], name) for name in ("max", "after", "before"))
    if after == "":
        raise ArchiveError("bad-request", "<after/> without an id")
    return PageRequest(None if maximum is None else _number(maximum), after, before)


def page_result(first: str | None, last: str | None, *, count: int | None = None) -> bytes:
    """Return the `<set/>` of a page by the ids of its first and last item, None for an empty one (section 2.2)."""
    content = (
        b"" if first is None or last is None else b"<first>%b</first><last>%b</last>" % (escape(first), escape(last))
    )
    if count is not None:
        content += b"<count>%d</count>" % count
    return b"<set xmlns='http://jabber.org/protocol/rsm'>%b</set>" % content


def _text(parent: Element, name: str) -> str | None:
    found = parent.findall(f"{{{RSM}}}{name}")
    if not found:
        return None
    if len(found) > 1 or len(found[0]):
        raise ArchiveError("bad-request", f"<{name}/> is there once, and is text")
    text = found[0].text or ""
    if len(text) > ID_LIMIT:
        raise ArchiveError("bad-request", f"<{name}/> is too long")
    return text


def _number(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal()) or len(text) > _NUMBER_LIMIT:
        raise ArchiveError("bad-request", "<max/> is a number of 0 or more")
    return int(text)

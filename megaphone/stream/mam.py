"""The words of Message Archive Management (XEP-0313), for rooms and users alike: queries, results, their end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import ArchiveError
from megaphone.stream.archive import Wanted
from megaphone.stream.forwarded import forwarded
from megaphone.stream.jid import JID
from megaphone.stream.rsm import ID_LIMIT, page_result, read_page_request
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.stream.archive import Archived, Page

MAM: Final = "urn:xmpp:mam:2"
EXTENDED: Final = "urn:xmpp:mam:2#extended"
FEATURES: Final = (MAM, EXTENDED)

_FORM: Final = "{jabber:x:data}"
_FIELDS_LIMIT: Final = 16
_ALWAYS: Final = float("-inf")
_NEVER: Final = float("inf")

# Section 4.1.5: what a form may have in it. The list is open: any id may be asked for.
FORM: Final = (
    b"<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>"
    b"<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
    b"<field type='jid-single' var='with'/><field type='text-single' var='start'/>"
    b"<field type='text-single' var='end'/><field type='text-single' var='before-id'/>"
    b"<field type='text-single' var='after-id'/><field type='list-multi' var='ids'>"
    b"<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field>"
    b"</x></query>"
)


class Query(NamedTuple):
    """A query: the page, but for whom it is with, which is for the archive to understand; and how it is to be sent."""

    wanted: Wanted
    with_: JID | None
    id: str | None
    """`queryid`, which each result repeats."""
    flipped: bool
    """Whether the page is sent from its end to its beginning (section 4.3.4); it is the same page."""


def read_query(query: Element, limit: int) -> Query:
    """Read `<query/>`; a page has at most `limit` entries. ArchiveError for what is none."""
    if query.get("node") is not None:
        raise ArchiveError("item-not-found", "there is no such node")
    page = read_page_request(query)
    given = _read_form(query)
    before, after = _id(given, "before-id"), _id(given, "after-id")
    ids = given.get("ids")
    if ids is not None and (not ids or len(ids) > limit or any(not 0 < len(each) <= ID_LIMIT for each in ids)):
        raise ArchiveError("bad-request", f"ids are 1 to {limit}")
    wanted = Wanted(
        max=limit if page.max is None else min(page.max, limit),
        after=tuple(each for each in (page.after, after) if each),
        before=tuple(each for each in (page.before, before) if each),
        backwards=page.backwards,
        start=_time(given, "start", _ALWAYS),
        end=_time(given, "end", _NEVER),
        ids=None if ids is None else tuple(ids),
    )
    flipped = query.find(f"{{{MAM}}}flip-page") is not None
    return Query(wanted, _jid(given), query.get("queryid"), flipped)


def result(entry: Archived, stanza: bytes, query: Query) -> bytes:
    """Return `<result/>` with one entry (section 4.2); `stanza` is what it said, with what the asker may know of it."""
    asked = b"" if query.id is None else b" queryid='%b'" % escape(query.id)
    stamp = b"<delay xmlns='urn:xmpp:delay' stamp='%b'/>" % timestamp(entry.said.time).encode()
    return b"<result xmlns='urn:xmpp:mam:2'%b id='%b'>%b</result>" % (
        asked,
        escape(entry.id),
        forwarded(stanza, stamp),
    )


def in_sending_order(page: Page, query: Query) -> tuple[Archived, ...]:
    """Return the entries of a page in the order in which they are to be sent."""
    return page.entries[::-1] if query.flipped else page.entries


def fin(page: Page) -> bytes:
    """Return `<fin/>`, which ends an answer (section 4.3.2)."""
    complete = b" complete='true'" if page.complete else b""
    stable = b"" if page.stable else b" stable='false'"
    ids = (page.entries[0].id, page.entries[-1].id) if page.entries else (None, None)
    return b"<fin xmlns='urn:xmpp:mam:2'%b%b>%b</fin>" % (complete, stable, page_result(*ids, count=page.total))


def metadata(ends: tuple[Archived, Archived] | None) -> bytes:
    """Return `<metadata/>` of an archive by its first and last entry (section 5); it is empty for an empty one."""
    if ends is None:
        return b"<metadata xmlns='urn:xmpp:mam:2'/>"
    content = b"".join(
        b"<%b id='%b' timestamp='%b'/>" % (name, escape(entry.id), timestamp(entry.said.time).encode())
        for name, entry in zip((b"start", b"end"), ends, strict=True)
    )
    return b"<metadata xmlns='urn:xmpp:mam:2'>%b</metadata>" % content


def timestamp(time: float) -> str:
    """Return Unix seconds as a DateTime of XEP-0082, in UTC, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_form(query: Element) -> dict[str, list[str]]:
    forms = query.findall(f"{_FORM}x")
    if not forms:
        return {}
    fields = forms[0].findall(f"{_FORM}field")
    if len(forms) > 1 or forms[0].get("type") != "submit" or len(fields) > _FIELDS_LIMIT:
        raise ArchiveError("bad-request", "a query has one form, which is submitted")
    given: dict[str, list[str]] = {}
    for field in fields:
        var = field.get("var", "")
        if var in given:
            raise ArchiveError("bad-request", f"two fields {var[:80]}")
        given[var] = [value.text or "" for value in field.findall(f"{_FORM}value")]
    if given.pop("FORM_TYPE", None) != [MAM]:
        raise ArchiveError("bad-request", f"the form is not of type {MAM}")
    for var in given.keys() - {"with", "start", "end", "before-id", "after-id", "ids"}:
        # section 4.1.5: so that nobody takes for filtered what is not
        raise ArchiveError("feature-not-implemented", f"there is no field {var[:80]}")
    return given


def _single(given: dict[str, list[str]], var: str) -> str | None:
    values = given.get(var)
    if values is None:
        return None
    if len(values) != 1 or not values[0]:
        raise ArchiveError("bad-request", f"{var} has one value")
    return values[0]


def _id(given: dict[str, list[str]], var: str) -> str | None:
    text = _single(given, var)
    if text is not None and len(text) > ID_LIMIT:
        raise ArchiveError("bad-request", f"{var} is too long")
    return text


def _jid(given: dict[str, list[str]]) -> JID | None:
    text = _single(given, "with")
    try:
        return None if text is None else JID.parse(text)
    except ValueError:
        raise ArchiveError("jid-malformed", "with is no JID") from None


def _time(given: dict[str, list[str]], var: str, default: float) -> float:
    text = _single(given, var)
    if text is None:
        return default
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None and "T" in text:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    raise ArchiveError("bad-request", f"{var} is no DateTime of XEP-0082")

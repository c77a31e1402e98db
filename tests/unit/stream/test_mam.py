"""The words of XEP-0313: queries as they may be asked, and what is refused."""

from xml.etree import ElementTree

import pytest

from megaphone.errors import ArchiveError
from megaphone.history.entry import Kind
from megaphone.stream import mam
from megaphone.stream.archive import Archived, Page, Said, Wanted
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza

TYPE = "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"
LONG = "x" * 257


def element(content: str, attributes: str = "") -> ElementTree.Element:
    return ElementTree.fromstring(f"<query xmlns='urn:xmpp:mam:2' {attributes}>{content}</query>")


def form(fields: str, type_: str = TYPE) -> str:
    return f"<x xmlns='jabber:x:data' type='submit'>{type_}{fields}</x>"


def field(var: str, *values: str) -> str:
    return f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


def rsm(content: str) -> str:
    return f"<set xmlns='http://jabber.org/protocol/rsm'>{content}</set>"


def wanted(content: str) -> Wanted:
    return mam.read_query(element(content), 50).wanted


def test_a_bare_query_wants_the_first_page() -> None:
    query = mam.read_query(element(""), 50)
    assert query == mam.Query(Wanted(max=50), None, None, flipped=False)


def test_everything_at_once() -> None:
    content = (
        form(
            field("with", "juliet@x/balcony")
            + field("start", "2010-06-07T00:00:00Z")
            + field("end", "2010-06-07T02:00:00.5+01:00")
            + field("before-id", "z")
            + field("after-id", "a")
            + field("ids", "k", "l")
        )
        + rsm("<max>1000</max><before>y</before>")
        + "<flip-page/>"
    )
    query = mam.read_query(element(content, "queryid='q1'"), 50)
    assert query.with_ == JID.parse("juliet@x/balcony")
    assert (query.id, query.flipped) == ("q1", True)
    assert query.wanted == Wanted(
        max=50,
        after=("a",),
        before=("y", "z"),
        backwards=True,
        start=1_275_868_800.0,
        end=1_275_872_400.5,
        ids=("k", "l"),
    )


def test_directions() -> None:
    assert wanted(rsm("<max>3</max>")) == Wanted(max=3)
    assert wanted(rsm("<max>0</max>")) == Wanted(max=0)
    assert wanted(rsm("<after>a</after>")) == Wanted(max=50, after=("a",))
    assert wanted(rsm("<before/>")) == Wanted(max=50, backwards=True)
    assert wanted(form(field("before-id", "b"))) == Wanted(max=50, before=("b",))  # section 9: no paging backwards


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        (form(field("with", "@")), "jid-malformed"),
        (form(field("with", "a@b", "c@d")), "bad-request"),
        (form(field("with")), "bad-request"),
        (form(field("start", "2010-06-07")), "bad-request"),
        (form(field("start", "2010-06-07T00:00:00")), "bad-request"),
        (form(field("end", "now")), "bad-request"),
        (form(field("ids")), "bad-request"),
        (form(field("ids", "")), "bad-request"),
        (form(field("ids", *map(str, range(51)))), "bad-request"),
        (form(field("after-id", LONG)), "bad-request"),
        (form(field("after-id", "")), "bad-request"),
        (form(field("after-id", "a") * 2), "bad-request"),
        (form(field("include-groupchat", "true")), "feature-not-implemented"),
        (form("".join(field(f"f{number}", "x") for number in range(20))), "bad-request"),
        (form("", ""), "bad-request"),
        (form("", TYPE.replace("mam:2", "mam:1")), "bad-request"),
        (form("").replace("submit", "form"), "bad-request"),
        (form("") * 2, "bad-request"),
        (rsm("<max>many</max>"), "bad-request"),
        (rsm("<index>3</index>"), "feature-not-implemented"),
    ],
)
def test_what_is_refused(content: str, condition: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        mam.read_query(element(content), 50)
    assert refused.value.condition == condition


def test_archives_have_no_nodes() -> None:
    with pytest.raises(ArchiveError) as refused:
        mam.read_query(element("", "node='n'"), 50)
    assert refused.value.condition == "item-not-found"


def test_a_result() -> None:
    said = Said(1_278_803_305.25, Kind.MESSAGE, "a@x", "a@x", "", b"<message from='a@x'><body>hi</body></message>")
    query = mam.read_query(element("", "queryid='&lt;q'"), 50)
    result = mam.result(Archived("i&d", said), said.stanza, query)
    assert result == (
        b"<result xmlns='urn:xmpp:mam:2' queryid='&lt;q' id='i&amp;d'><forwarded xmlns='urn:xmpp:forward:0'>"
        b"<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25.250Z'/>"
        b"<message xmlns='jabber:client' from='a@x'><body>hi</body></message></forwarded></result>"
    )
    inside = Stanza.read(b"<message>%b</message>" % result).tree
    assert inside.find(".//{jabber:client}message/{jabber:client}body") is not None


@pytest.mark.parametrize(
    ("page", "attributes", "ids"),
    [
        (Page((), complete=True), " complete='true'", ""),
        (Page((), complete=False, total=7), "", "<count>7</count>"),
        (Page((), complete=True, stable=False), " complete='true' stable='false'", ""),
    ],
)
def test_the_end_of_an_answer(page: Page, attributes: str, ids: str) -> None:
    expected = f"<fin xmlns='urn:xmpp:mam:2'{attributes}><set xmlns='http://jabber.org/protocol/rsm'>{ids}</set></fin>"
    assert mam.fin(page).decode() == expected


def test_the_form_says_what_a_query_may_have() -> None:
    tree = ElementTree.fromstring(mam.FORM)
    fields = {each.get("var") for each in tree.iter("{jabber:x:data}field")}
    assert fields == {"FORM_TYPE", "with", "start", "end", "before-id", "after-id", "ids"}

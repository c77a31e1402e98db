"""Result Set Management: what a `<set/>` may say, and what is said of a page."""

from xml.etree import ElementTree

import pytest

from megaphone.errors import ArchiveError
from megaphone.stream.rsm import PageRequest, page_result, read_page_request

LONG = "x" * 257


def query(content: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<query xmlns='urn:x' xmlns:r='http://jabber.org/protocol/rsm'>{content}</query>")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", PageRequest()),
        ("<set/>", PageRequest()),  # of another namespace
        ("<r:set/>", PageRequest()),
        ("<r:set><r:max>10</r:max></r:set>", PageRequest(10)),
        ("<r:set><r:max> 0 </r:max></r:set>", PageRequest(0)),
        ("<r:set><r:max>9999999999</r:max><r:after>a</r:after></r:set>", PageRequest(9_999_999_999, "a")),
        ("<r:set><r:before/></r:set>", PageRequest(None, None, "")),
        ("<r:set><r:before> b </r:before></r:set>", PageRequest(None, None, " b ")),
        ("<r:set><r:after>a</r:after><r:before>b</r:before></r:set>", PageRequest(None, "a", "b")),
        ("<r:set><r:first index='1'>f</r:first><unknown/></r:set>", PageRequest()),
    ],
)
def test_what_is_asked_for(content: str, wanted: PageRequest) -> None:
    assert read_page_request(query(content)) == wanted
    assert wanted.backwards is (wanted.before is not None)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        ("<r:set/><r:set/>", "bad-request"),
        ("<r:set><r:max/></r:set>", "bad-request"),
        ("<r:set><r:max>-1</r:max></r:set>", "bad-request"),
        ("<r:set><r:max>1e3</r:max></r:set>", "bad-request"),
        ("<r:set><r:max>\u0663</r:max></r:set>", "bad-request"),
        ("<r:set><r:max>99999999999</r:max></r:set>", "bad-request"),
        ("<r:set><r:max>1</r:max><r:max>2</r:max></r:set>", "bad-request"),
        ("<r:set><r:after/></r:set>", "bad-request"),
        ("<r:set><r:after><a/></r:after></r:set>", "bad-request"),
        (f"<r:set><r:before>{LONG}</r:before></r:set>", "bad-request"),
        ("<r:set><r:index>371</r:index></r:set>", "feature-not-implemented"),
    ],
)
def test_what_is_refused(content: str, condition: str) -> None:
    with pytest.raises(ArchiveError) as refused:
        read_page_request(query(content))
    assert refused.value.condition == condition


@pytest.mark.parametrize(
    ("arguments", "count", "content"),
    [
        ((None, None), None, b""),
        ((None, None), 800, b"<count>800</count>"),
        (("a&", "<b"), None, b"<first>a&amp;</first><last>&lt;b</last>"),
        (("a", "a"), 1, b"<first>a</first><last>a</last><count>1</count>"),
    ],
)
def test_what_is_said(arguments: tuple[str | None, str | None], count: int | None, content: bytes) -> None:
    assert page_result(*arguments, count=count) == b"<set xmlns='http://jabber.org/protocol/rsm'>%b</set>" % content

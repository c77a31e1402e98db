"""Domains in their one comparable form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.stream.domain import normalise_domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org.", "example.org"),
        ("localhost", "localhost"),
        ("a-b.c1", "a-b.c1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("bücher.example", "bücher.example"),
        ("BÜCHER.example", "bücher.example"),
        ("bu\u0308cher.example", "bücher.example"),
        ("xn--bcher-kva.example", "bücher.example"),
        ("XN--BCHER-KVA.example", "bücher.example"),
        ("".join(chr(ord(character) + 0xFEE0) for character in "EXAMPLE.org"), "example.org"),  # full width
        ("example\u3002org", "example.org"),
        ("例え。テスト", "例え.テスト"),
        ("δοκιμή", "δοκιμή"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_normal_form(text: str, domain: str) -> None:
    assert normalise_domain(text) == domain


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b",
        "a@b",
        "a/b",
        "a:5222",
        "<a>",
        "a" * 64,
        "ü" * 64,
        ("a" * 63 + ".") * 16,
        "xn--",
        "xn--a",
        "xn--example-",
        "xn--BCHER-KVA!",
        "xn--Bcher-kva\u0301",
        "bü cher",
        "\u0301a.example",
        "ü-.example",
        "💌.example",
        "\ud800",
        "[::1",
        "[example]",
        "[fe80::1%eth0]",
        "[192.0.2.1]",
    ],
)
def test_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"label|domain|IPv6"):
        normalise_domain(text)


@given(st.text(max_size=80) | st.text("abcü-.xn0", max_size=20))
def test_normal_form_is_a_fixed_point(text: str) -> None:
    try:
        domain = normalise_domain(text)
    except ValueError:
        return
    assert normalise_domain(domain) == domain
    assert normalise_domain(domain + ".") == domain
    if domain.isascii():
        assert normalise_domain(domain.upper()) == domain

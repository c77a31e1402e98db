"""What `[bosh]` must say, and must not."""

import pytest

from megaphone.config.load import parse
from tests.unit.config.test_rules import refusal, written


@pytest.mark.parametrize(
    ("table", "key", "reason"),
    [
        ('path = "http-bind"', "bosh.path", "such as"),
        ('path = "/http bind"', "bosh.path", "such as"),
        ('path = "/"', "bosh.path", "such as"),
        ('path = "/xmpp-websocket"', "bosh.path", "something else"),
        ('path = "/.well-known/host-meta"', "bosh.path", "something else"),
        ('path = "/chat"', "bosh.path", "something else"),
        ('see_other_uri = "example.org"', "bosh.see_other_uri", "whole address"),
        ('see_other_uri = "https://example.org"', "bosh.see_other_uri", "whole address"),
        ("requests = 1", "bosh.requests", "from 2 to 10"),
        ("wait_seconds = 0", "bosh.wait_seconds", "from 1 to 600"),
        ("body_bytes = 1000001", "bosh.body_bytes", "from 10000 to 1000000"),
    ],
)
def test_what_is_refused(table: str, key: str, reason: str) -> None:
    refused = refusal(written({}, f"[bosh]\n{table}\n"))
    assert refused[0] == key
    assert reason in refused[1]


def test_what_is_taken() -> None:
    table = '[bosh]\npath = "/bosh/"\nsee_other_uri = "https://b.example/bosh"\nwait_seconds = 30\n'
    bosh = parse(written({}, table), "megaphone.toml").bosh
    assert (bosh.path, bosh.see_other_uri, bosh.wait_seconds) == ("/bosh/", "https://b.example/bosh", 30)

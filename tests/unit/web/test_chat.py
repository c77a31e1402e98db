"""The web chat's page and settings: what Converse.js is told, and that nothing of it leads elsewhere."""

import json
import re

import pytest

from megaphone.web.chat import ChatSettings, chat_routes, content_security_policy
from megaphone.web.routes import Routes
from tests.unit.web.recorded import Recorded

SETTINGS = ChatSettings("Tea house", ("example.org",), "rooms.example.org", websocket_path="/xmpp-websocket")


def ask(path: str, settings: ChatSettings = SETTINGS, **fields: str) -> Recorded:
    found = Routes(chat_routes(settings)).find(path)
    assert found is not None, path
    asked = Recorded("GET", path, {name.encode(): value.encode() for name, value in fields.items()})
    found.take(asked)
    return asked


def settings_of(settings: ChatSettings) -> dict[str, object]:
    told: dict[str, object] = json.loads(ask("/chat/settings.json", settings).body)
    return told


def converse(settings: ChatSettings) -> dict[str, object]:
    told = settings_of(settings)["converse"]
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("path", ["/chat", "/chat/"])
def test_the_page_loads_what_is_served_here(path: str) -> None:
    page = ask(path)
    assert page.status == 200
    assert page.fields[b"Content-Type"] == b"text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.body.decode())
    assert len(loaded) == 5
    assert all(ask(each).status == 200 for each in loaded)
    assert b"style=" not in page.body
    assert re.search(rb"<script[^>]*>.", page.body) is None or b"></script>" in page.body


def test_the_page_is_asked_for_again_and_not_sent_again() -> None:
    page = ask("/chat")
    assert page.fields[b"Cache-Control"] == b"no-cache"
    again = ask("/chat", **{"if-none-match": page.fields[b"ETag"].decode()})
    assert (again.status, again.body) == (304, b"")


def test_converse_is_kept_for_ever_under_its_version() -> None:
    code = ask(f"{settings_of(SETTINGS)['assets']}converse.min.js", **{"accept-encoding": "gzip, br"})
    assert code.fields[b"Content-Type"] == b"text/javascript; charset=utf-8"
    assert code.fields[b"Content-Encoding"] == b"gzip"
    assert b"immutable" in code.fields[b"Cache-Control"]
    assert re.fullmatch(r"/chat/[0-9.]+/", str(settings_of(SETTINGS)["assets"]))


def test_a_title_is_text() -> None:
    page = ask("/chat", ChatSettings('</title><script>"&', ("example.org",)))
    assert b"<title>&lt;/title&gt;&lt;script&gt;&quot;&amp;</title>" in page.body


def test_ways_in_are_paths_of_this_server() -> None:
    assert (settings_of(SETTINGS)["websocket"], settings_of(SETTINGS)["bosh"]) == ("/xmpp-websocket", None)
    only_bosh = settings_of(ChatSettings("x", ("example.org",), bosh_path="/http-bind"))
    assert (only_bosh["websocket"], only_bosh["bosh"]) == (None, "/http-bind")


def test_users_of_one_domain_need_not_say_it() -> None:
    assert converse(SETTINGS)["locked_domain"] == "example.org"
    several = converse(ChatSettings("x", ("b.example", "a.example")))
    assert several["default_domain"] == "b.example"
    assert "locked_domain" not in several
    assert "muc_domain" not in several  # the server says it


def test_rooms_are_entered_by_name() -> None:
    told = converse(ChatSettings("x", ("example.org",), "rooms.example.org", ("lobby@rooms.example.org",)))
    assert told["muc_domain"] == "rooms.example.org"
    assert told["auto_join_rooms"] == ["lobby@rooms.example.org"]


def test_guests_come_in_without_an_account() -> None:
    assert converse(SETTINGS)["authentication"] == "login"
    told = converse(ChatSettings("x", ("example.org",), guests=True))
    assert (told["authentication"], told["jid"]) == ("anonymous", "example.org")
    assert told["muc_nickname_from_jid"] is False  # they choose one


def test_no_address_of_others_is_in_the_settings() -> None:
    assert re.search(r"\w+://|search\.jabber", ask("/chat/settings.json").body.decode()) is None


def test_pictures_are_shown_from_where_files_are_uploaded_to() -> None:
    assert converse(SETTINGS)["render_media"] is False
    origins = ("https://upload.example.org:5281", "https://[2001:db8::1]:5281")
    told = converse(ChatSettings("x", ("example.org",), uploads=origins))
    assert told["render_media"] == told["allowed_image_domains"] == ["upload.example.org", "[2001:db8::1]"]


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (each.split() for each in policy.split(";"))}


def test_the_policy_allows_our_scripts_and_nobody_else() -> None:
    policy = directives(ask("/chat").fields[b"Content-Security-Policy"].decode())
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'", "wss://chat.example", "ws://chat.example"]
    assert policy["img-src"] == ["'self'", "data:", "blob:"]
    assert "frame-src" not in policy
    with_uploads = directives(content_security_policy(("https://u.example",), "h"))
    assert "https://u.example" in with_uploads["connect-src"]
    assert "https://u.example" not in with_uploads["script-src"]


@pytest.mark.parametrize("host", ["", "a b", "a;script-src *", "a\r\nX: y", "*", "*.example", "[::1", "a:123456"])
def test_a_host_that_is_none_gets_into_no_policy(host: str) -> None:
    assert directives(content_security_policy((), host))["connect-src"] == ["'self'"]


@pytest.mark.parametrize("host", ["localhost:5280", "[::1]:8080", "chat.example"])
def test_a_host_is_where_sockets_may_go(host: str) -> None:
    assert directives(content_security_policy((), host))["connect-src"] == ["'self'", f"wss://{host}", f"ws://{host}"]

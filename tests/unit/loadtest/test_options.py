"""Options become a plan or a clear refusal; accounts are shared out so that no two flocks log in as the same."""

from pathlib import Path
from typing import Any

import pytest
from locust.argument_parser import get_empty_argument_parser, setup_parser_arguments

from loadtest.options import UsageError, add_options, parse_host, plan, plan_tables


def options(*arguments: str) -> dict[str, Any]:
    parser = get_empty_argument_parser(default_config_files=[])
    setup_parser_arguments(parser)
    add_options(parser)
    found = vars(parser.parse_args(["--profile", "chat", *arguments]))
    return found | {"hold_seconds": 0}


def planned(host: str, *arguments: str) -> Any:
    found = options(*arguments)
    return plan(found | plan_tables(found), host)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xmpp://example.org", ("example.org", 5222, "xmpp")),
        ("xmpps://[::1]:443", ("::1", 443, "xmpps")),
        ("xmpp://127.0.0.1:5222/", ("127.0.0.1", 5222, "xmpp")),
    ],
)
def test_hosts(text: str, expected: tuple[str, int, str]) -> None:
    assert parse_host(text) == expected


@pytest.mark.parametrize(
    "text", ["example.org", "http://example.org", "xmpp://", "xmpp://a:b", "xmpp://a:70000", "xmpp://a/b", "xmpp://u@a"]
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="xmpp://host:port"):
        parse_host(text)


def test_what_is_not_said_follows_from_the_host() -> None:
    made = planned("xmpp://localhost:5222")
    assert (made.target.domain, made.target.security, made.mechanism) == ("localhost", "starttls", "ANONYMOUS")
    assert made.rooms_domain == "conference.localhost"
    assert planned("xmpps://127.0.0.1").target.security == "tls"
    assert planned("xmpp://127.0.0.1", "--security", "plain").target.security == "plain"


@pytest.mark.parametrize(
    ("host", "arguments", "message"),
    [
        ("", [], "which server"),
        ("xmpp://192.0.2.1", [], "--domain"),
        ("xmpp://localhost", ["--mechanism", "PLAIN"], "with --accounts"),
        ("xmpp://localhost", ["--mechanism", "ANONYMOUS", "--accounts", "x"], "without --accounts"),
        ("xmpp://localhost", ["--accounts", "/nowhere"], "cannot read accounts"),
        ("xmpp://localhost", ["--accounts", "user{n}"], "not a password"),
        ("xmpp://localhost", ["--source-addresses", "127.0.0.300"], "not an address or network"),
        ("xmpp://localhost", ["--domain", "a b"], "not the domain"),
        ("xmpp://localhost", ["--profile", "reconnect"], "--disturb 'COMMAND' or --disturb-pid"),
        ("xmpp://localhost", ["--set", "chat_secnds=1"], "did you mean activity.chat_seconds?"),
        ("xmpp://localhost", ["--time-scale", "0"], "--time-scale"),
    ],
)
def test_what_makes_no_test_is_refused(host: str, arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned(host, *arguments)
    assert message in str(raised.value)


def test_the_hold_can_be_scaled_or_given() -> None:
    assert planned("xmpp://localhost", "--profile", "soak", "--time-scale", "0.01").profile.timing.hold_seconds == 864
    found = options() | {"hold_seconds": 7}
    assert plan(found | plan_tables(found), "xmpp://localhost").profile.timing.hold_seconds == 7


def test_made_names_are_shared_out() -> None:
    made = planned("xmpp://localhost", "--accounts", "user{n}", "--password", "x", "--sessions-per-user", "10")
    shares = [made.accounts_of(flock, 3) for flock in range(4)]
    assert [(each.prefix, each.first, each.count) for each in shares] == [
        *(("user", 0, 10), ("user", 10, 10), ("user", 20, 10)),
        ("user", 0, 10),  # a flock more than planned
    ]


def test_a_file_is_shared_out(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("".join(f"user{n}@localhost secret {n}\n" for n in range(6)))
    made = planned("xmpp://localhost", "--accounts", str(path), "--mechanism", "PLAIN")
    assert made.accounts_of(1, 2).listed == (("user1", "secret 1"), ("user3", "secret 3"), ("user5", "secret 5"))


@pytest.mark.parametrize("arguments", [["--profile", "chta"], ["--host", "example.org"], ["--security", "none"]])
def test_locust_itself_refuses_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options(*arguments)
    assert raised.value.code == 2
    assert arguments[0] in capsys.readouterr().err

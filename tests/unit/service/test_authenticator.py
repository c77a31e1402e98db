"""Which mechanisms are offered, and every way in which a login is refused."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import SASLError
from megaphone.service.accounts import PasswordCheck
from megaphone.service.attempt import Authenticated, Challenge, Outcome, Transport
from megaphone.service.authenticator import Authenticator
from megaphone.service.failed_logins import LockPolicy
from megaphone.service.tokens import TokenKey, make_token
from megaphone.stream.jid import JID
from tests.unit.service.clients import (
    BINDINGS,
    DOMAIN,
    JULIET,
    PASSWORD,
    Accounts,
    authenticator,
    slixmpp_mechanism,
)

TLS = Transport(encrypted=True, address="192.0.2.1")
KEY = TokenKey("a", b"k" * 32)
TOKENS = (KEY,)


def refused(attempt: object, message: bytes, now: float = 0.0) -> str:
    with pytest.raises(SASLError) as caught:
        attempt.receive(message, now)  # type: ignore[attr-defined]
    return caught.value.condition


def run_plain(authenticator: Authenticator, message: bytes, transport: Transport = TLS, now: float = 0.0) -> str:
    """Return "" for a client that PLAIN lets in, or the condition that refuses it."""
    try:
        attempt = authenticator.begin("PLAIN", transport)
        outcome: Outcome = attempt.receive(message, now)
        if isinstance(outcome, PasswordCheck):
            outcome = attempt.verified(outcome.holds(), now)
    except SASLError as error:
        return error.condition
    assert isinstance(outcome, Authenticated)
    return ""


RIGHT = b"\0juliet\0" + PASSWORD.encode()
WRONG = b"\0juliet\0Paris"


@pytest.mark.parametrize(
    ("settings", "transport", "mechanisms"),
    [
        ({}, Transport(), "SCRAM-SHA-256 SCRAM-SHA-1"),
        ({}, TLS, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"),
        ({"plain_without_tls": True}, Transport(), "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN"),
        ({"anonymous": lambda: "x"}, Transport(), "SCRAM-SHA-256 SCRAM-SHA-1 ANONYMOUS"),
        ({"tokens": TOKENS}, Transport(), "SCRAM-SHA-256 SCRAM-SHA-1"),
        ({"tokens": TOKENS}, TLS, "SCRAM-SHA-256 SCRAM-SHA-1 OAUTHBEARER PLAIN"),
        ({"mechanisms_off": frozenset({"SCRAM-SHA-1", "PLAIN"})}, TLS, "SCRAM-SHA-256"),
        (
            {},
            Transport(encrypted=True, bindings=BINDINGS),
            "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN",
        ),
    ],
)
def test_offered(settings: dict[str, object], transport: Transport, mechanisms: str) -> None:
    given = authenticator(**settings)  # type: ignore[arg-type]
    assert given.mechanisms(transport) == tuple(mechanisms.split())
    assert given.feature(transport).count(b"<mechanism>") == len(mechanisms.split())
    assert (b"channel-binding" in given.feature(transport)) == ("PLUS" in mechanisms)


@pytest.mark.parametrize(
    ("mechanism", "settings", "transport", "condition"),
    [
        ("PLAIN", {}, Transport(), "encryption-required"),
        ("OAUTHBEARER", {"tokens": TOKENS}, Transport(), "encryption-required"),
        ("OAUTHBEARER", {}, TLS, "invalid-mechanism"),
        ("SCRAM-SHA-1", {"mechanisms_off": frozenset({"SCRAM-SHA-1"})}, TLS, "mechanism-too-weak"),
        ("PLAIN", {"mechanisms_off": frozenset({"PLAIN"})}, Transport(), "mechanism-too-weak"),
        ("SCRAM-SHA-256-PLUS", {}, TLS, "invalid-mechanism"),
        ("SCRAM-SHA-512", {}, TLS, "invalid-mechanism"),
        ("EXTERNAL", {}, TLS, "invalid-mechanism"),
        ("ANONYMOUS", {}, TLS, "invalid-mechanism"),
        ("", {}, TLS, "invalid-mechanism"),
        ("PLAIN'/>", {}, TLS, "invalid-mechanism"),
    ],
)
def test_mechanisms_that_are_not_possible(
    mechanism: str, settings: dict[str, object], transport: Transport, condition: str
) -> None:
    with pytest.raises(SASLError) as caught:
        authenticator(**settings).begin(mechanism, transport)  # type: ignore[arg-type]
    assert caught.value.condition == condition


def test_disabled_account_is_said_to_its_owner_alone() -> None:
    accounts = Accounts()
    accounts.add(JULIET, PASSWORD)
    accounts.kept[JULIET] = replace(accounts.kept[JULIET], disabled=True)
    given = authenticator(accounts, tokens=TOKENS)
    assert run_plain(given, RIGHT) == "account-disabled"
    assert run_plain(given, WRONG) == "not-authorized"
    token = make_token(KEY, JULIET, now=0.0, lifetime_seconds=60)
    assert run_plain(given, b"\0juliet\0" + token.encode()) == "account-disabled"
    client = slixmpp_mechanism("SCRAM-SHA-256")
    attempt = given.begin("SCRAM-SHA-256", TLS)
    challenge = attempt.receive(client.process(), 0.0)  # type: ignore[attr-defined]
    assert isinstance(challenge, Challenge)
    assert refused(attempt, client.process(challenge.message)) == "account-disabled"  # type: ignore[attr-defined]


def test_accounts_out_of_reach() -> None:
    accounts = Accounts()
    accounts.broken = True
    given = authenticator(accounts)
    assert run_plain(given, RIGHT) == "temporary-auth-failure"
    assert refused(given.begin("SCRAM-SHA-1", TLS), b"n,,n=juliet,r=x") == "temporary-auth-failure"


def test_token_of_an_account_that_is_not_kept_here() -> None:
    given = authenticator(Accounts(), tokens=TOKENS)
    token = make_token(KEY, JID("nurse", DOMAIN), now=0.0, lifetime_seconds=60).encode()
    assert run_plain(given, b"\0nurse\0" + token) == ""
    assert run_plain(given, b"\0juliet\0" + token) == "not-authorized"
    assert run_plain(given, b"romeo@example.org\0nurse\0" + token) == "invalid-authzid"
    assert run_plain(given, b"\0nurse\0" + token, now=1000.0) == "credentials-expired"
    assert run_plain(given, b"\0nurse\0" + token[:-2] + b"AA") == "not-authorized"


def test_a_password_may_look_like_a_token() -> None:
    password = "eyJhIjoxfQ.eyJhIjoxfQ." + "A" * 43
    accounts = Accounts()
    accounts.add(JULIET, password)
    assert run_plain(authenticator(accounts, tokens=TOKENS), b"\0juliet\0" + password.encode()) == ""


def test_refused_bearer_token_is_explained_first() -> None:
    """RFC 7628 section 3.2.3: the reason as a challenge, an empty answer, and only then the failure."""
    given = authenticator(tokens=TOKENS)
    token = make_token(KEY, JULIET, now=0.0, lifetime_seconds=60).encode()
    for sent, now, condition in (
        (b"n,,\1auth=Bearer x.y.z\1\1", 0.0, "not-authorized"),
        (b"n,,\1\1", 0.0, "malformed-request"),
        (b"n,,\1host=a\1\1", 0.0, "not-authorized"),
        (b"n,a=romeo@example.org,\1auth=Bearer %b\1\1" % token, 0.0, "invalid-authzid"),
        (b"n,,\1auth=Bearer %b\1\1" % token, 500.0, "credentials-expired"),
    ):
        attempt = given.begin("OAUTHBEARER", TLS)
        if condition != "malformed-request":
            assert attempt.receive(sent, now) == Challenge(b'{"status":"invalid_token"}')
            sent = b"\1"
        assert refused(attempt, sent, now) == condition


def test_anonymous_without_a_name_left() -> None:
    given = authenticator(anonymous=lambda: "")
    assert refused(given.begin("ANONYMOUS", TLS), b"") == "temporary-auth-failure"
    given = authenticator(anonymous=lambda: "x")
    assert refused(given.begin("ANONYMOUS", TLS), b"x" * 256) == "malformed-request"
    assert refused(given.begin("ANONYMOUS", TLS), b"\xff") == "malformed-request"


STRICT = LockPolicy(free_failures=2, first_lock_seconds=10.0, longest_lock_seconds=40.0)
LAX = LockPolicy(free_failures=1000, first_lock_seconds=1.0, longest_lock_seconds=1.0)


@pytest.mark.parametrize("username", ["juliet", "nurse"])
def test_account_is_locked_for_a_while(username: str) -> None:
    given = authenticator(address_locks=LAX, account_locks=STRICT)
    wrong = f"\0{username}\0Paris".encode()
    answers = [run_plain(given, wrong, now=now) for now in (0.0, 1.0, 2.0, 3.0)]
    assert answers == ["not-authorized"] * 3 + ["temporary-auth-failure"]
    assert run_plain(given, wrong.replace(username.encode(), b"romeo"), now=3.0) == "not-authorized"
    scram = given.begin("SCRAM-SHA-256", TLS)
    assert refused(scram, f"n,,n={username},r=x".encode(), 4.0) == "temporary-auth-failure"
    assert run_plain(given, RIGHT, now=12.0) == ""
    if username == "juliet":  # all is forgotten
        assert [run_plain(given, wrong, now=13.0) for _ in range(3)] == ["not-authorized"] * 3


def test_address_is_locked_for_a_while() -> None:
    given = authenticator(address_locks=STRICT, account_locks=LAX)
    for name in ("a", "b", "c"):
        assert run_plain(given, f"\0{name}\0x".encode(), now=0.0) == "not-authorized"
    assert run_plain(given, RIGHT, now=1.0) == "temporary-auth-failure"
    assert run_plain(given, RIGHT, Transport(encrypted=True, address="192.0.2.2"), now=1.0) == ""
    assert run_plain(given, RIGHT, now=10.0) == ""
    assert run_plain(given, WRONG, now=10.0) == "not-authorized"
    assert run_plain(given, RIGHT, now=29.0) == "temporary-auth-failure"  # a login of one's own forgives nothing


def test_a_lock_stops_a_run_that_had_begun() -> None:
    given = authenticator(address_locks=LAX, account_locks=STRICT)
    client = slixmpp_mechanism("SCRAM-SHA-256")
    attempt = given.begin("SCRAM-SHA-256", TLS)
    challenge = attempt.receive(client.process(), 0.0)  # type: ignore[attr-defined]
    assert isinstance(challenge, Challenge)
    for _ in range(3):
        run_plain(given, WRONG)
    assert refused(attempt, client.process(challenge.message)) == "temporary-auth-failure"  # type: ignore[attr-defined]


def test_bad_tokens_and_bad_bindings_count_as_failures() -> None:
    given = authenticator(tokens=TOKENS, address_locks=STRICT, account_locks=LAX)
    attempt = given.begin("OAUTHBEARER", TLS)
    attempt.receive(b"n,,\1auth=Bearer x\1\1", 0.0)
    assert refused(attempt, b"\1") == "not-authorized"  # the end of the first failure, not a second one
    given.begin("OAUTHBEARER", TLS).receive(b"n,,\1auth=Bearer x\1\1", 0.0)
    assert run_plain(given, RIGHT) == ""
    bound = Transport(encrypted=True, bindings=BINDINGS, address=TLS.address)
    assert refused(given.begin("SCRAM-SHA-256", bound), b"y,,n=juliet,r=x") == "not-authorized"
    assert run_plain(given, RIGHT) == "temporary-auth-failure"


def test_settings_change_while_logins_go_on() -> None:
    given = authenticator(tokens=TOKENS)
    token = make_token(KEY, JULIET, now=0.0, lifetime_seconds=60).encode()
    attempt = given.begin("PLAIN", TLS)
    assert b"OAUTHBEARER" in given.feature(TLS)
    given.apply(replace(given.settings, tokens=(TokenKey("b", b"x" * 32),), mechanisms_off=frozenset({"OAUTHBEARER"})))
    assert b"OAUTHBEARER" not in given.feature(TLS)
    outcome = attempt.receive(b"\0juliet\0" + token, 0.0)
    assert isinstance(outcome, PasswordCheck)  # no token any more, at best a password
    assert not outcome.holds()


def test_secret_must_be_one() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        authenticator(secret=b"short")


@given(
    st.sampled_from(["PLAIN", "OAUTHBEARER", "ANONYMOUS", "SCRAM-SHA-256", "SCRAM-SHA-1"]),
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.text(max_size=40).map(lambda text: b"\0juliet\0" + text.encode("utf-8", "replace")),
            st.text(max_size=40).map(lambda text: b"n,,n=juliet,r=" + text.encode("utf-8", "replace")),
            st.binary(max_size=60).map(lambda data: b"c=biws,r=x,p=" + base64.b64encode(data)),
            st.text(max_size=60).map(lambda text: b"n,,\1auth=Bearer " + text.encode("utf-8", "replace") + b"\1\1"),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_hostile_messages_let_nobody_in(mechanism: str, messages: list[bytes]) -> None:
    given = authenticator(tokens=TOKENS, anonymous=lambda: "guest")
    attempt = given.begin(mechanism, TLS)
    for message in messages:
        try:
            outcome = attempt.receive(message, 0.0)
        except SASLError:
            return
        if isinstance(outcome, PasswordCheck):
            assert not outcome.holds()
            return
        if isinstance(outcome, Authenticated):
            assert mechanism == "ANONYMOUS"
            assert outcome.anonymous
            return

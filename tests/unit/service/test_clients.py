"""Logins by other people's client code: slixmpp's mechanisms for all, scramp for SCRAM, PyJWT for tokens."""

from __future__ import annotations

import base64
import time
from xml.etree.ElementTree import fromstring

import jwt
import pytest
import scramp
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.service.accounts import make_credentials
from megaphone.service.attempt import Transport
from megaphone.service.login import Login, Step
from megaphone.service.login_states import Action
from megaphone.service.tokens import TokenKey
from megaphone.stream.jid import JID
from tests.unit.service.clients import (
    BINDINGS,
    DOMAIN,
    JULIET,
    PASSWORD,
    SALT,
    Accounts,
    auth,
    authenticator,
    plain,
    response,
    slixmpp_mechanism,
    started,
)

TLS = Transport(encrypted=True)
BOUND_TLS = Transport(encrypted=True, bindings=BINDINGS)
KEY = TokenKey("2026-11", b"k" * 32)


def content(step: Step) -> bytes:
    return base64.b64decode(fromstring(step.data).text or "")


def verified(login: Login, step: Step) -> Step:
    if step.action is not Action.VERIFY:
        return step
    assert step.check is not None
    return login.verified(step.check.holds(), 0.0)


def log_in(login: Login, mechanism: str, client: object) -> Step:
    """Carry messages between slixmpp's side of a mechanism and a login, as slixmpp's feature_mechanisms does."""
    step = verified(login, login.receive_element(auth(mechanism, client.process()), 0.0))  # type: ignore[attr-defined]
    while b"<challenge " in step.data:
        answer = client.process(content(step))  # type: ignore[attr-defined]
        step = verified(login, login.receive_element(response(answer), 0.0))
    if step.action is Action.AUTHENTICATED and mechanism.startswith("SCRAM"):
        client.process(content(step))  # type: ignore[attr-defined] - raises unless we have proved that we know the keys
    return step


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
@pytest.mark.parametrize("transport", [TLS, BOUND_TLS])
def test_slixmpp(mechanism: str, transport: Transport) -> None:
    login = started(Login({DOMAIN: authenticator()}, transport))
    step = log_in(login, mechanism, slixmpp_mechanism(mechanism))
    assert (step.action, step.account, step.anonymous, step.by_token) == (Action.AUTHENTICATED, JULIET, False, False)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"])
@pytest.mark.parametrize(("version", "binding"), [("TLSv1.3", "tls-exporter"), ("TLSv1.2", "tls-unique")])
def test_slixmpp_with_channel_binding(mechanism: str, version: str, binding: str) -> None:
    transport = Transport(encrypted=True, bindings={binding: BINDINGS[binding]})
    login = started(Login({DOMAIN: authenticator()}, transport))
    client = slixmpp_mechanism(mechanism, binding=BINDINGS[binding], tls_version=version)
    assert log_in(login, mechanism, client).account == JULIET
    login = started(Login({DOMAIN: authenticator()}, transport))
    client = slixmpp_mechanism(mechanism, binding=b"of another connection", tls_version=version)
    step = log_in(login, mechanism, client)
    assert b"<not-authorized/><text xml:lang='en'>The channel binding does not match</text>" in step.data


def test_slixmpp_that_was_told_of_no_channel_binding() -> None:
    login = started(Login({DOMAIN: authenticator()}, BOUND_TLS))
    step = log_in(login, "SCRAM-SHA-256", slixmpp_mechanism("SCRAM-SHA-256", binding_proposed=False))
    assert b"<not-authorized/><text xml:lang='en'>Channel binding was offered here" in step.data
    login = started(Login({DOMAIN: authenticator()}, TLS))
    step = log_in(login, "SCRAM-SHA-256", slixmpp_mechanism("SCRAM-SHA-256", binding_proposed=False))
    assert step.account == JULIET


def test_slixmpp_anonymous() -> None:
    login = started(Login({DOMAIN: authenticator(anonymous=lambda: "guest")}, TLS))
    step = log_in(login, "ANONYMOUS", slixmpp_mechanism("ANONYMOUS"))
    assert (step.account, step.anonymous) == (JID("guest", DOMAIN), True)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
def test_authorization_identity(mechanism: str) -> None:
    for authzid, accepted in (
        ("juliet@example.org", True),
        ("Juliet@EXAMPLE.org", True),
        ("romeo@example.org", False),
        ("juliet@example.net", False),
        ("juliet@example.org/balcony", False),
        ("juliet", False),
        ("@", False),
    ):
        login = started(Login({DOMAIN: authenticator()}, TLS))
        step = log_in(login, mechanism, slixmpp_mechanism(mechanism, authzid=authzid))
        assert (step.account == JULIET) is accepted, authzid
        assert (b"<invalid-authzid/>" in step.data) is not accepted


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
def test_unknown_user_and_wrong_password_look_the_same(mechanism: str) -> None:
    def conversation(username: str, password: str) -> list[bytes]:
        login = started(Login({DOMAIN: authenticator()}, TLS))
        client = slixmpp_mechanism(mechanism, username=username, password=password)
        client.cnonce = b"1"
        transcript = []
        step = verified(login, login.receive_element(auth(mechanism, client.process()), 0.0))
        while b"<challenge " in step.data:
            fields = client.parse(content(step))
            assert len(base64.b64decode(fields[b"s"])) == len(SALT)
            transcript.append(fields[b"i"])
            step = verified(login, login.receive_element(response(client.process(content(step))), 0.0))
        return [*transcript, step.data]

    wrong = conversation("juliet", "Paris")
    assert wrong == conversation("nurse", "Paris")
    assert wrong == conversation("not<a>name", "Paris")
    assert b"<not-authorized/>" in wrong[-1]


def test_unknown_user_has_the_same_salt_every_time_and_no_other_has_it() -> None:
    def salt(username: str, secret: bytes = b"s" * 32) -> bytes:
        login = started(Login({DOMAIN: authenticator(secret=secret)}, TLS))
        step = login.receive_element(auth("SCRAM-SHA-256", f"n,,n={username},r=x".encode()), 0.0)
        return content(step).split(b",")[1]

    assert salt("nurse") == salt("nurse") == salt("NURSE")
    assert len({salt("nurse"), salt("tybalt"), salt("juliet"), salt("nurse", secret=b"t" * 32)}) == 4


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scramp(mechanism: str) -> None:
    """Scramp insists on 4,096 iterations at least, as RFC 7677 does."""
    accounts = Accounts()
    accounts.add(JULIET, PASSWORD, iterations=4096)
    for password, right in ((PASSWORD, True), ("Paris", False)):
        login = started(Login({DOMAIN: authenticator(accounts)}, TLS))
        client = scramp.ScramClient([mechanism], "juliet", password)
        step = login.receive_element(auth(mechanism, client.get_client_first().encode()), 0.0)
        client.set_server_first(content(step).decode())
        step = login.receive_element(response(client.get_client_final().encode()), 0.0)
        if right:
            client.set_server_final(content(step).decode())
            assert step.account == JULIET
        else:
            assert b"<not-authorized/>" in step.data


def test_keys_are_those_of_scramp() -> None:
    credentials = make_credentials(PASSWORD, SALT, 4096)
    for mechanism, keys in (("SCRAM-SHA-1", credentials.sha1), ("SCRAM-SHA-256", credentials.sha256)):
        _, stored_key, server_key, _ = scramp.ScramMechanism(mechanism).make_auth_info(PASSWORD, 4096, SALT)
        assert (keys.stored_key, keys.server_key) == (stored_key, server_key)


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_username_and_password(username: str, password: str) -> None:
    """Whoever can have an account can log in, by every mechanism; nobody else can."""
    accounts = Accounts()
    try:
        account = JID.of(username, DOMAIN)
        accounts.add(account, password)
    except ValueError:
        return
    for mechanism in ("SCRAM-SHA-256", "PLAIN"):
        login = started(Login({DOMAIN: authenticator(accounts)}, TLS))
        try:
            client = slixmpp_mechanism(mechanism, username=username, password=password)
        except UnicodeError:  # slixmpp takes only what Unicode 3.2 knew
            return
        step = log_in(login, mechanism, client)
        if "\0" not in username and client.credentials["username"]:
            assert step.account == account


@pytest.mark.parametrize("algorithm", ["HS256"])
def test_tokens_of_pyjwt(algorithm: str) -> None:
    now = time.time()
    token = jwt.encode(
        {"sub": "juliet", "aud": DOMAIN, "exp": now + 60}, KEY.secret, algorithm, headers={"kid": KEY.name}
    )
    for element in (
        plain("juliet", token),
        plain("juliet", token, "juliet@example.org"),
        auth("OAUTHBEARER", b"n,a=juliet@example.org,\1auth=Bearer %b\1\1" % token.encode()),
        auth("OAUTHBEARER", b"n,,\1host=example.org\1port=5222\1auth=Bearer %b\1\1" % token.encode()),
    ):
        login = started(Login({DOMAIN: authenticator(Accounts(), tokens=(KEY,))}, TLS))
        step = login.receive_element(element, now)
        assert (step.action, step.account, step.by_token) == (Action.AUTHENTICATED, JULIET, True)

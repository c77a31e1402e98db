"""Logins under fire: whatever comes in whatever order, the answers are well-formed, and nobody gets in."""

from __future__ import annotations

from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.service.attempt import Transport
from megaphone.service.login import Login
from megaphone.service.login_states import Action, State
from megaphone.wire.writer import escape
from tests.unit.service.clients import DOMAIN, JULIET, auth, authenticator, header, response, started

SASL = b"xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
TLS = Transport(encrypted=True, bindings={"tls-exporter": b"x" * 32})

MESSAGES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"\0juliet\0wrong",
            b"\0\0",
            b"n,,n=juliet,r=abc",
            b"y,,n=juliet,r=abc",
            b"n,a=romeo@example.org,n=juliet,r=abc",
            b"p=tls-exporter,,n=juliet,r=abc",
            b"p=tls-unique,,n=juliet,r=abc",
            b"n,,n=,r=",
            b"c=biws,r=abc,p=AAAA",
            b"n,,\1auth=Bearer x\1\1",
        ]
    ),
)
NAMES = st.sampled_from(
    ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "EXTERNAL", "ANONYMOUS", ""]
)
TEXT = st.text(max_size=20)
SASL_ELEMENTS = st.one_of(
    st.builds(auth, NAMES, st.one_of(st.none(), MESSAGES)),
    st.builds(response, MESSAGES),
    st.builds(lambda text: b"<auth %b mechanism='PLAIN'>%b</auth>" % (SASL, escape(text)), TEXT),
    st.builds(lambda text: b"<auth %b mechanism='%b'/>" % (SASL, escape(text)), TEXT),
    st.builds(lambda text: b"<response %b>%b</response>" % (SASL, escape(text)), TEXT),
    st.just(b"<abort %b/>" % SASL),
)
OTHERS = st.one_of(
    SASL_ELEMENTS,
    st.builds(lambda text: b"<iq type='set' id='1'><bind xmlns='%b'/></iq>" % escape(text), TEXT),
    st.builds(
        lambda text, id_: (
            b"<iq type='set' id='%b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%b</resource></bind></iq>"
            % (escape(id_), escape(text))
        ),
        TEXT,
        TEXT,
    ),
    st.builds(lambda text: b"<resume xmlns='urn:xmpp:sm:3' h='%b' previd='a'/>" % escape(text), TEXT),
    st.builds(lambda text: b"<resume xmlns='urn:xmpp:sm:3' h='1' previd='%b'/>" % escape(text), TEXT),
    st.builds(lambda to: b"<iq type='get' id='1' to='%b'><q xmlns='urn:q'/></iq>" % escape(to), TEXT),
    st.sampled_from(
        [
            b"<message/>",
            b"<presence/>",
            b"<iq/>",
            b"<r xmlns='urn:xmpp:sm:3'/>",
            b"<enable xmlns='urn:xmpp:sm:3' max='-1'/>",
            b"<x xmlns=''/>",
            b"<not:declared/>",
            b"<stream:error/>",
        ]
    ),
)


class Answers:
    """What a client reads: one XML document, as long as the stream lasts."""

    def __init__(self, begun: bytes) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self.add(begun)

    def add(self, data: bytes, *, last: bool = False) -> None:
        self._parser.Parse(data, last)


@given(st.lists(SASL_ELEMENTS, max_size=12))
def test_nobody_gets_in(elements: list[bytes]) -> None:
    login = Login({DOMAIN: authenticator()}, TLS)
    answers = Answers(login.receive_header(header(), "s1").data)
    for element in elements:
        step = login.receive_element(element, 0.0)
        answers.add(step.data, last=step.action is Action.CLOSE)
        if step.action is Action.VERIFY:
            assert step.check is not None
            step = login.verified(step.check.holds(), 0.0)
            answers.add(step.data, last=step.action is Action.CLOSE)
        if step.action is Action.CLOSE:
            assert step.condition == "policy-violation"
            return
        assert step.action is Action.CONTINUE
    assert login.account is None


@given(st.lists(OTHERS, max_size=14))
def test_before_binding(elements: list[bytes]) -> None:
    login = Login.authenticated(JULIET)
    answers = Answers(login.receive_header(header(), "s1").data)
    for element in elements:
        step = login.receive_element(element, 0.0)
        answers.add(step.data, last=step.action is Action.CLOSE)
        if step.action is Action.CLOSE:
            assert step.condition in ("not-authorized", "unsupported-stanza-type", "bad-format", "policy-violation")
            return
        if step.action is Action.BIND:
            step = login.refuse_bind("conflict")
            answers.add(step.data, last=step.action is Action.CLOSE)
        elif step.action is Action.RESUME:
            step = login.refuse_resume()
            answers.add(step.data, last=step.action is Action.CLOSE)
        if step.action is Action.CLOSE:
            assert step.condition == "policy-violation"
            return
        assert login.state is State.WAIT_BIND


@pytest.mark.parametrize("element", [b"<not:declared/>", b"<a", b"<a b='1' b='2'/>", b"</s>", b"<a>&nbsp;</a>"])
@pytest.mark.parametrize("authenticated", [False, True])
def test_what_no_framer_lets_through(element: bytes, authenticated: bool) -> None:
    if authenticated:
        login = Login.authenticated(JULIET)
        login.receive_header(header(), "s1")
    else:
        login = started(Login({DOMAIN: authenticator()}, TLS))
    step = login.receive_element(element, 0.0)
    assert (step.action, step.condition) == (Action.CLOSE, "bad-format")

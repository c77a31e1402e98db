"""Logins as dialogues: >> what the client sends, << what it gets, * what the host has to do, and what the host says."""

import re
from itertools import product

import pytest

from megaphone.service.accounts import PasswordCheck
from megaphone.service.attempt import Transport
from megaphone.service.discovery import NODE, capabilities
from megaphone.service.login import AUTH_FAILURES, BIND_FAILURES, Login, Step
from megaphone.service.login_states import TRANSITIONS, Action, Event, State
from megaphone.stream.jid import JID
from megaphone.stream.nonza import Resume
from megaphone.stream.resumption import resumed
from megaphone.wire.header import read_stream_header
from tests.unit.service.clients import (
    BINDINGS,
    DOMAIN,
    JULIET,
    PASSWORD,
    Accounts,
    auth,
    authenticator,
    header,
    plain,
    response,
    started,
)

HEADER = (
    "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
ANSWER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    " id='s1' from='example.org' version='1.0' xml:lang='en'>"
)
WELCOME = ANSWER.replace("'example.org' version", "'example.org' to='juliet@example.org' version")
SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
MECHANISMS = (
    f"<stream:features><mechanisms {SASL}><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
    "<mechanism>PLAIN</mechanism></mechanisms></stream:features>"
)
SESSION = (
    "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session><sm xmlns='urn:xmpp:sm:3'/>"
    "<ver xmlns='urn:xmpp:features:rosterver'/><csi xmlns='urn:xmpp:csi:0'/>"
    f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='{NODE}' ver='{capabilities()}'/></stream:features>"
)
END = "</stream:stream>"
PLAIN = plain("juliet", PASSWORD).decode()
WRONG = f"<auth {SASL} mechanism='PLAIN'>AGp1bGlldABwYXJpcw==</auth>"
BIND = "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
BIND_BALCONY = BIND.replace("/></iq>", "><resource>balcony</resource></bind></iq>")
BOUND = (
    "<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
    "<jid>juliet@example.org/balcony</jid></bind></iq>"
)
RESUME = "<resume xmlns='urn:xmpp:sm:3' h='7' previd='abc'/>"
TLS = Transport(encrypted=True)


def error(condition: str, text: str) -> str:
    return (
        f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        f"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>{text}</text></stream:error>{END}"
    )


def iq_error(condition: str, type_: str, text: str = "", id_: str = "b1") -> str:
    text_element = f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>{text}</text>" if text else ""
    return (
        f"<iq type='error' id='{id_}'><error type='{type_}'>"
        f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{text_element}</error></iq>"
    )


def play(script: str, login: Login | None = None) -> Login:
    """Run lines of ">> in", "! call of the host's", "<< out" and "* ACTION", and compare what the login says."""
    if login is None:
        login = Login({DOMAIN: authenticator()}, TLS)
    lines = [line.strip() for line in script.splitlines() if line.strip()]
    transcript = []
    checks: list[PasswordCheck] = []
    for line in lines:
        sent = line[3:] if line[:2] == ">>" else line[2:]
        if line[:2] not in (">>", "! "):
            continue
        transcript.append(line)
        if line.startswith("! "):
            step = host_says(login, sent, checks)
        elif sent == END:
            step = login.receive_end()
        elif re.match(r"<\?xml|<[a-z]+:stream ", sent):
            step = login.receive_header(read_stream_header(sent.encode()), "s1")
        else:
            step = login.receive_element(sent.encode(), 0.0)
        if step.data:
            transcript.append(f"<< {step.data.decode()}")
        transcript.append(f"* {told(step)}")
        checks += [step.check] if step.check else []
        assert (f"<{step.condition} " in step.data.decode()) if step.condition else b"stream:error" not in step.data
    assert transcript == lines
    return login


def host_says(login: Login, call: str, checks: list[PasswordCheck]) -> Step:
    """Make the host's call that a line of a dialogue names."""
    return {
        "check": lambda: login.verified(checks[-1].holds(), 0.0),
        "bind": lambda: login.bound(JULIET.at("balcony")),
        "conflict": lambda: login.refuse_bind("conflict"),
        "resume": lambda: login.resumed(resumed("abc", 3)),
        "unknown session": lambda: login.refuse_resume(),
        "lost session": lambda: login.refuse_resume(41),
    }[call]()


def told(step: Step) -> str:
    """Say what a step wants of the host."""
    facts = [step.account and f"{step.account}{' anonymously' * step.anonymous}", step.resource, step.resume]
    return " ".join([step.action.name, *(str(fact) for fact in facts if fact)])


AUTHENTICATED = f"""
    >> {HEADER}
    << {ANSWER}{MECHANISMS}
    * CONTINUE
    >> {PLAIN}
    * VERIFY
    ! check
    << <success {SASL}/>
    * AUTHENTICATED juliet@example.org
    >> {HEADER}
    << {WELCOME}{SESSION}
    * CONTINUE
"""


def test_from_header_to_session() -> None:
    login = play(f"""{AUTHENTICATED}
        >> {BIND_BALCONY}
        * BIND balcony
        ! bind
        << {BOUND}
        * ATTACHED
    """)
    assert login.state is State.BOUND
    assert (login.account, login.anonymous) == (JULIET, False)


def test_home_worker_goes_on_from_the_account_alone() -> None:
    play(
        f"""
        >> {HEADER}
        << {WELCOME}{SESSION}
        * CONTINUE
        >> {BIND}
        * BIND
        ! bind
        << {BOUND}
        * ATTACHED
        """,
        Login.authenticated(JULIET),
    )


def test_host_refuses_and_the_client_asks_again() -> None:
    play(f"""{AUTHENTICATED}
        >> {RESUME}
        * RESUME {Resume("abc", 7)}
        ! unknown session
        << <failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>
        * CONTINUE
        >> {RESUME}
        * RESUME {Resume("abc", 7)}
        ! lost session
        << <failed xmlns='urn:xmpp:sm:3' h='41'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>
        * CONTINUE
        >> {BIND_BALCONY}
        * BIND balcony
        ! conflict
        << {iq_error("conflict", "cancel")}
        * CONTINUE
        >> {BIND}
        * BIND
        ! bind
        << {BOUND}
        * ATTACHED
    """)


def test_resumption_in_place_of_binding() -> None:
    play(f"""{AUTHENTICATED}
        >> {RESUME}
        * RESUME {Resume("abc", 7)}
        ! resume
        << <resumed xmlns='urn:xmpp:sm:3' h='3' previd='abc'/>
        * ATTACHED
    """)


def test_wrong_passwords_are_counted() -> None:
    again = f"""
        >> {WRONG}
        * VERIFY
        ! check
        << <failure {SASL}><not-authorized/></failure>
        * CONTINUE
    """
    play(f"""
        >> {HEADER}
        << {ANSWER}{MECHANISMS}
        * CONTINUE
        {again * (AUTH_FAILURES - 1)}
        >> {WRONG}
        * VERIFY
        ! check
        << <failure {SASL}><not-authorized/></failure>{error("policy-violation", "There were too many failed logins")}
        * CLOSE
    """)


def test_right_password_after_a_wrong_one() -> None:
    play(f"""
        >> {HEADER}
        << {ANSWER}{MECHANISMS}
        * CONTINUE
        >> {WRONG}
        * VERIFY
        ! check
        << <failure {SASL}><not-authorized/></failure>
        * CONTINUE
        >> {PLAIN}
        * VERIFY
        ! check
        << <success {SASL}/>
        * AUTHENTICATED juliet@example.org
    """)


def test_initial_response_may_come_later() -> None:
    play(f"""
        >> {HEADER}
        << {ANSWER}{MECHANISMS}
        * CONTINUE
        >> <auth {SASL} mechanism='PLAIN'/>
        << <challenge {SASL}></challenge>
        * CONTINUE
        >> {PLAIN.replace("auth", "response").replace(" mechanism='PLAIN'", "")}
        * VERIFY
        ! check
        << <success {SASL}/>
        * AUTHENTICATED juliet@example.org
    """)


@pytest.mark.parametrize("message", ["", "=", "dHJhY2U="])
def test_anonymous(message: str) -> None:
    mechanisms = MECHANISMS.replace("</mechanisms>", "<mechanism>ANONYMOUS</mechanism></mechanisms>")
    play(
        f"""
        >> {HEADER}
        << {ANSWER}{mechanisms}
        * CONTINUE
        >> <auth {SASL} mechanism='ANONYMOUS'>{message}</auth>
        << <success {SASL}/>
        * AUTHENTICATED guest-1@example.org anonymously
        """,
        Login({DOMAIN: authenticator(anonymous=lambda: "Guest-1")}, TLS),
    )


@pytest.mark.parametrize(
    ("script", "condition", "text"),
    [
        (f">> <abort {SASL}/>", "aborted", ""),
        (f">> <response {SASL}>YQ==</response>", "malformed-request", "There was no challenge to respond to"),
        (f">> <auth {SASL} mechanism='PLAIN'>x</auth>", "incorrect-encoding", "The data is not base64"),
        (f">> <auth {SASL} mechanism='X-OAUTH2'/>", "invalid-mechanism", "This mechanism is not offered here"),
        (f">> <auth {SASL} mechanism='scram-sha-1'/>", "invalid-mechanism", "This mechanism is not offered here"),
        (f">> <auth {SASL} mechanism='ANONYMOUS'/>", "invalid-mechanism", "This mechanism is not offered here"),
        (f">> <auth {SASL} mechanism='SCRAM-SHA-1-PLUS'/>", "invalid-mechanism", "This mechanism is not offered here"),
        (f">> <auth {SASL}/>", "invalid-mechanism", "The attribute mechanism is missing"),
    ],
)
def test_failures(script: str, condition: str, text: str) -> None:
    text_element = f"<text xml:lang='en'>{text}</text>" if text else ""
    login = play(f"""
        >> {HEADER}
        << {ANSWER}{MECHANISMS}
        * CONTINUE
        {script}
        << <failure {SASL}><{condition}/>{text_element}</failure>
        * CONTINUE
        >> {PLAIN}
        * VERIFY
        ! check
        << <success {SASL}/>
        * AUTHENTICATED juliet@example.org
    """)
    assert login.state is State.WAIT_RESTART


def test_abort_and_another_mechanism_in_the_middle() -> None:
    login = started(Login({DOMAIN: authenticator()}, TLS))
    scram = auth("SCRAM-SHA-256", b"n,,n=juliet,r=abc")
    assert login.receive_element(scram, 0.0).data.startswith(b"<challenge ")
    assert b"<aborted/>" in login.receive_element(f"<abort {SASL}/>".encode(), 0.0).data
    assert login.receive_element(scram, 0.0).data.startswith(b"<challenge ")
    assert b"<malformed-request/>" in login.receive_element(scram, 0.0).data
    assert login.state is State.WAIT_AUTH
    assert b"<malformed-request/>" in login.receive_element(response(b"c=biws"), 0.0).data


@pytest.mark.parametrize(
    "element",
    [
        "<iq type='get' id='a'><query xmlns='jabber:iq:auth'/></iq>",
        "<message to='romeo@example.org'/>",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        f"<success {SASL}/>",
        "<auth mechanism='PLAIN'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>",
        "<r xmlns='urn:xmpp:sm:3'/>",
    ],
)
def test_anything_else_before_authentication(element: str) -> None:
    play(f"""
        >> {HEADER}
        << {ANSWER}{MECHANISMS}
        * CONTINUE
        >> {element}
        << {error("not-authorized", "Authenticate first")}
        * CLOSE
    """)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ("<message to='romeo@example.org'/>", error("not-authorized", "Bind a resource first")),
        ("<presence/>", error("not-authorized", "Bind a resource first")),
        ("<iq type='get' id='b1' to='romeo@example.org'><q/></iq>", error("not-authorized", "Bind a resource first")),
        ("<iq type='get' id='b1' to='@'><q/></iq>", error("not-authorized", "Bind a resource first")),
        ("<iq type='result' id='b1'/>", error("not-authorized", "Bind a resource first")),
        (PLAIN, error("unsupported-stanza-type", "Bind a resource first")),
        ("<inactive xmlns='urn:xmpp:csi:0'/>", error("unsupported-stanza-type", "Bind a resource first")),
        ("<iq xmlns='jabber:server' type='set' id='b1'/>", error("unsupported-stanza-type", "Bind a resource first")),
        (RESUME.replace("'7'", "'x'"), error("bad-format", "h is a number from 0 to 4294967295")),
        (END, END),
    ],
)
def test_what_ends_the_stream_before_binding(sent: str, answer: str) -> None:
    play(f"""{AUTHENTICATED}
        >> {sent}
        << {answer}
        * CLOSE
    """)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (
            "<iq type='get' id='b1'><query xmlns='jabber:iq:roster'/></iq>",
            iq_error("not-authorized", "auth", "Bind a resource first"),
        ),
        (
            "<iq type='get' id='b1' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>",
            iq_error("not-authorized", "auth", "Bind a resource first"),
        ),
        (
            BIND.replace("'set'", "'get'"),
            iq_error("bad-request", "modify", "A resource is bound with an iq of type set that has an id"),
        ),
        (
            BIND_BALCONY.replace("balcony", "x" * 1024),
            iq_error("bad-request", "modify", "the resource has more than 1023 bytes"),
        ),
        (
            "<enable xmlns='urn:xmpp:sm:3'/>",
            "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
        ),
    ],
)
def test_what_is_refused_before_binding(sent: str, answer: str) -> None:
    play(f"""{AUTHENTICATED}
        >> {sent}
        << {answer}
        * CONTINUE
        >> {BIND}
        * BIND
    """)


def test_refusals_before_binding_are_counted() -> None:
    login = Login.authenticated(JULIET)
    login.receive_header(header(), "s1")
    for _ in range(BIND_FAILURES - 1):
        assert login.receive_element(b"<enable xmlns='urn:xmpp:sm:3'/>", 0.0).action is Action.CONTINUE
    step = login.receive_element(b"<enable xmlns='urn:xmpp:sm:3'/>", 0.0)
    assert (step.action, step.condition) == (Action.CLOSE, "policy-violation")
    assert step.data.startswith(b"<failed ")


def test_an_element_in_place_of_the_new_header() -> None:
    login = Login.authenticated(JULIET)
    step = login.receive_element(BIND.encode(), 0.0)
    assert (step.action, step.condition) == (Action.CLOSE, "not-authorized")


@pytest.mark.parametrize("resource", ["", "<resource/>", "<resource></resource>"])
def test_no_resource_is_any_resource(resource: str) -> None:
    login = Login.authenticated(JULIET)
    login.receive_header(header(), "s1")
    request = f"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>"
    step = login.receive_element(request.encode(), 0.0)
    assert (step.action, step.resource) == (Action.BIND, None)


def test_prefixes_make_no_difference() -> None:
    login = Login.authenticated(JULIET)
    login.receive_header(header(), "s1")
    request = (
        b"<c:iq xmlns:c='jabber:client' type='set' id='1'><b:bind xmlns:b='urn:ietf:params:xml:ns:xmpp-bind'>"
        b"<b:resource>a</b:resource></b:bind></c:iq>"
    )
    assert login.receive_element(request, 0.0).resource == "a"


@pytest.mark.parametrize(
    ("sent", "condition"),
    [
        (header(default="jabber:server"), "invalid-namespace"),
        (header(to="elsewhere.example"), "host-unknown"),
        (header(to="a..b"), "host-unknown"),
        (header(attributes=" version='0.9'"), "unsupported-version"),
        (header(attributes=""), "unsupported-version"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_refused_headers(sent: object, condition: str, again: bool) -> None:
    login = Login.authenticated(JULIET) if again else Login({DOMAIN: authenticator()}, TLS)
    step = login.receive_header(sent, "s1")
    assert (step.action, step.condition) == (Action.CLOSE, condition)
    assert step.data.startswith(b"<?xml version='1.0'?><stream:stream ")
    assert step.data.endswith(END.encode())


def test_the_new_stream_is_to_the_domain_of_the_account() -> None:
    other = authenticator()
    login = started(Login({DOMAIN: authenticator(), "example.net": other}, TLS))
    check = login.receive_element(plain("juliet", PASSWORD), 0.0).check
    assert check is not None
    login.verified(check.holds(), 0.0)
    assert login.receive_header(header(to="example.net"), "s2").condition == "host-unknown"


def test_channel_binding_is_offered_where_there_is_some() -> None:
    login = Login({DOMAIN: authenticator()}, Transport(encrypted=True, bindings=BINDINGS))
    features = login.receive_header(header(), "s1").data
    assert b"<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>" in features
    assert (
        b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
        b"<channel-binding type='tls-unique'/></sasl-channel-binding>"
    ) in features


def test_a_password_is_not_shown_by_repr() -> None:
    login = started(Login({DOMAIN: authenticator(Accounts())}, TLS))
    assert PASSWORD not in repr(login.receive_element(plain("juliet", PASSWORD), 0.0))


def test_every_state_is_reached_and_can_end() -> None:
    reachable = {State.WAIT_HEADER}
    for (_, _), (following, _) in TRANSITIONS.items():
        reachable.add(following)
    assert reachable == set(State)
    for state in set(State) - {State.BOUND, State.DONE}:
        assert TRANSITIONS[state, Event.END] == (State.DONE, Action.CLOSE)
    assert {action for _, action in TRANSITIONS.values()} == set(Action)
    assert {event for _, event in TRANSITIONS} == set(Event)


@pytest.mark.parametrize(
    ("state", "call"),
    list(
        product(
            State,
            [
                (lambda login: login.receive_header(header(), "s1"), (State.WAIT_HEADER, State.WAIT_RESTART)),
                (
                    lambda login: login.receive_element(b"<a/>", 0.0),
                    (State.WAIT_AUTH, State.WAIT_RESPONSE, State.WAIT_RESTART, State.WAIT_BIND),
                ),
                (lambda login: login.verified(True, 0.0), ()),
                (lambda login: login.bound(JID("a", "b", "c")), (State.WAIT_BOUND,)),
                (lambda login: login.resumed(b""), (State.WAIT_RESUMED,)),
                (lambda login: login.receive_end(), tuple(set(State) - {State.BOUND, State.DONE})),
            ],
        )
    ),
)
def test_calls_that_do_not_fit_are_mistakes_of_the_host(state: State, call: tuple) -> None:  # type: ignore[type-arg]
    act, fitting = call
    login = Login({DOMAIN: authenticator()}, TLS)
    login.state = state
    if state in fitting:
        act(login)
        assert login.state is not state
    else:
        with pytest.raises(RuntimeError, match=state.name):
            act(login)
        assert login.state is state

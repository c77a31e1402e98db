"""The edge's own first stream as dialogues: >> what the client sends, << what the edge answers, * what it does then."""

import re
from itertools import product

import pytest

from megaphone.stream.negotiation import TRANSITIONS, Action, Event, Negotiation, State
from megaphone.wire import writer
from megaphone.wire.header import read_element, read_stream_header

DOMAINS = frozenset({"example.org", "bücher.example"})
HEADER = (
    "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xml:lang='en' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams'>"
)
ANSWER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    " id='s1' from='example.org' version='1.0' xml:lang='en'>"
)
REQUIRED = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
STARTTLS = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
PROCEED = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
FAILURE = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
END = "</stream:stream>"


def error(condition: str, text: str) -> str:
    return (
        f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        f"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>{text}</text></stream:error>{END}"
    )


def play(*, starttls_required: bool, default_domain: str = "", script: str) -> Negotiation:
    """Run a dialogue of lines ">> in", "<< out" and "* ACTION" and compare what the negotiation says."""
    negotiation = Negotiation(
        is_known_domain=DOMAINS.__contains__, starttls_required=starttls_required, default_domain=default_domain
    )
    lines = [line.strip() for line in script.strip().splitlines()]
    transcript = []
    for line in lines:
        if not line.startswith(">> "):
            continue
        transcript.append(line)
        sent = line[3:]
        if sent == END:
            step = negotiation.receive_end()
        elif re.match(r"<\?xml|<[a-z]+:stream ", sent):
            step = negotiation.receive_header(read_stream_header(sent.encode()), "s1")
        else:
            step = negotiation.receive_element(*read_element(sent.encode()))
        if step.data:
            transcript.append(f"<< {step.data.decode()}")
        transcript.append(f"* {step.action.name}")
        assert (f"<{step.condition} " in step.data.decode()) if step.condition else b"stream:error" not in step.data
    assert transcript == lines
    return negotiation


def test_required_starttls() -> None:
    negotiation = play(
        starttls_required=True,
        script=f"""
        >> {HEADER}
        << {ANSWER}{REQUIRED}
        * CONTINUE
        >> {STARTTLS}
        << {PROCEED}
        * START_TLS
        """,
    )
    assert negotiation.domain == "example.org"
    assert negotiation.state is State.DONE


@pytest.mark.parametrize(
    "element",
    [
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>",
        "<iq type='get' id='a'><query xmlns='jabber:iq:auth'/></iq>",
        "<message to='romeo@example.org'/>",
        "<compress xmlns='http://jabber.org/protocol/compress'/>",
        "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>",
    ],
)
def test_required_starttls_refuses_everything_else(element: str) -> None:
    play(
        starttls_required=True,
        script=f"""
        >> {HEADER}
        << {ANSWER}{REQUIRED}
        * CONTINUE
        >> {element}
        << {error("policy-violation", "STARTTLS is required")}
        * CLOSE
        """,
    )


@pytest.mark.parametrize(
    "element",
    ["<starttls/>", "<starttls xmlns='urn:other'/>", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"],
)
@pytest.mark.parametrize("required", [True, False])
def test_malformed_starttls_fails_as_in_section_5_4_2_2(element: str, required: bool) -> None:
    answer = f"<< {ANSWER}{REQUIRED}\n * CONTINUE" if required else "* OFFER"
    play(
        starttls_required=required,
        script=f"""
        >> {HEADER}
        {answer}
        >> {element}
        << {FAILURE}{END}
        * CLOSE
        """,
    )


def test_client_ends_the_stream() -> None:
    play(
        starttls_required=True,
        script=f"""
        >> {HEADER}
        << {ANSWER}{REQUIRED}
        * CONTINUE
        >> {END}
        << {END}
        * CLOSE
        """,
    )


def test_optional_starttls_taken() -> None:
    play(
        starttls_required=False,
        script=f"""
        >> {HEADER}
        * OFFER
        >> {STARTTLS}
        << {PROCEED}
        * START_TLS
        """,
    )


@pytest.mark.parametrize("element", ["<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", END])
def test_optional_starttls_not_taken(element: str) -> None:
    play(
        starttls_required=False,
        script=f"""
        >> {HEADER}
        * OFFER
        >> {element}
        * RELAY
        """,
    )


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("default_domain", ["", "example.org"])
@pytest.mark.parametrize(
    "to", ["", " to='elsewhere.example'", " to=''", " to='example.org.evil'", " to='a..b'", " to='[::1'"]
)
def test_unknown_or_missing_host(to: str, default_domain: str, required: bool) -> None:
    negotiation = play(
        starttls_required=required,
        default_domain=default_domain,
        script=f"""
        >> {HEADER.replace(" to='example.org'", to)}
        << {ANSWER.replace("example.org", default_domain)}{
            error("host-unknown", "The stream is to no domain that is served here")
        }
        * CLOSE
        """,
    )
    assert negotiation.domain is None


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (
            HEADER.replace("jabber:client", "jabber:server"),
            error("invalid-namespace", "the content namespace is not jabber:client"),
        ),
        (
            HEADER.replace("etherx.jabber.org", "example.org"),
            error("invalid-namespace", "the stream&apos;s namespace is not http://etherx.jabber.org/streams"),
        ),
        (
            HEADER.replace("stream:stream ", "stream:streams "),
            error("bad-format", "a stream begins with &lt;stream:stream&gt;"),
        ),
        (
            HEADER.replace(" version='1.0' ", " version='0.9' "),
            error("unsupported-version", "XMPP version 1.0 is required"),
        ),
        (HEADER.replace(" version='1.0' ", " "), error("unsupported-version", "XMPP version 1.0 is required")),
    ],
)
def test_refused_header_is_answered_with_a_header_first(header: str, answer: str) -> None:
    play(
        starttls_required=True,
        script=f"""
        >> {header}
        << {ANSWER}{answer}
        * CLOSE
        """,
    )


@pytest.mark.parametrize(
    ("to", "domain"),
    [("EXAMPLE.ORG", "example.org"), ("example.org.", "example.org"), ("xn--bcher-kva.example", "bücher.example")],
)
def test_domain_is_compared_in_its_normal_form(to: str, domain: str) -> None:
    negotiation = play(
        starttls_required=True,
        script=f"""
        >> {HEADER.replace("example.org", to)}
        << {ANSWER.replace("example.org", domain)}{REQUIRED}
        * CONTINUE
        """,
    )
    assert negotiation.domain == domain


def test_client_that_says_who_it_is_gets_its_name_back() -> None:
    play(
        starttls_required=True,
        script=f"""
        >> {HEADER.replace(" to=", " from='&lt;juliet@example.org' to=")}
        << {ANSWER.replace(" version='1.0' ", " to='&lt;juliet@example.org' version='1.0' ")}{REQUIRED}
        * CONTINUE
        """,
    )


def test_absurd_client_name_is_not_given_back() -> None:
    negotiation = Negotiation(is_known_domain=DOMAINS.__contains__, starttls_required=True)
    step = negotiation.receive_header(
        read_stream_header(HEADER.replace(" to=", f" from='{'x' * 3072}' to=").encode()), "s1"
    )
    assert step.data.decode() == ANSWER + REQUIRED


def test_table_leads_from_every_state_to_done() -> None:
    reachable = {State.WAIT_HEADER}
    for (state, _), (following, _) in TRANSITIONS.items():
        assert state in reachable
        reachable.add(following)
    assert reachable == set(State)
    assert all(
        action in (Action.CONTINUE, Action.OFFER) or state is State.DONE for state, action in TRANSITIONS.values()
    )
    assert {action for _, action in TRANSITIONS.values()} == set(Action)


@pytest.mark.parametrize(
    ("state", "event"),
    [pair for pair in product(State, Event) if pair not in TRANSITIONS and pair[1].name[:6] != "HEADER"],
)
def test_events_outside_the_table_are_mistakes_of_the_caller(state: State, event: Event) -> None:
    negotiation = Negotiation(is_known_domain=DOMAINS.__contains__, starttls_required=True)
    negotiation.state = state
    receive = {
        Event.STARTTLS: lambda: negotiation.receive_element("starttls", writer.TLS_NAMESPACE),
        Event.STARTTLS_MALFORMED: lambda: negotiation.receive_element("starttls", ""),
        Event.ELEMENT: lambda: negotiation.receive_element("message", "jabber:client"),
        Event.END: negotiation.receive_end,
    }[event]
    with pytest.raises(RuntimeError, match=event.name):
        receive()
    assert negotiation.state is state


def test_second_header_is_a_mistake_of_the_caller() -> None:
    negotiation = Negotiation(is_known_domain=DOMAINS.__contains__, starttls_required=True)
    header = read_stream_header(HEADER.encode())
    negotiation.receive_header(header, "s1")
    with pytest.raises(RuntimeError, match="HEADER"):
        negotiation.receive_header(header, "s2")

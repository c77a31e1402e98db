"""The stanzas that the writer writes: exact bytes for the usual cases, well-formed whatever text is put in."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.wire import stanza_writer, writer
from megaphone.wire.framer import Event, StreamFramer
from megaphone.wire.stanza_header import read_stanza_header
from megaphone.wire.stanza_writer import STANZA_ERROR_CONDITIONS, STANZA_ERROR_NAMESPACE
from tests.unit.wire.framing import HEADER
from tests.unit.wire.test_writer import parse_children

ANY = st.text(max_size=20)
MAYBE = st.none() | ANY


def received(text: str | None) -> str | None:
    """What arrives of a text: characters that XML cannot carry are replaced."""
    return None if text is None else writer._NOT_XML.sub("\ufffd", text)


def test_presence() -> None:
    assert stanza_writer.presence() == b"<presence/>"
    assert stanza_writer.presence(to="a@b", from_="c@d/e", type_="unavailable", content=b"<status>bye</status>") == (
        b"<presence to='a@b' from='c@d/e' type='unavailable'><status>bye</status></presence>"
    )


def test_message() -> None:
    assert stanza_writer.message(body="it's < me", to="a@b", type_="chat", id_="1", content=b"<x/>") == (
        b"<message to='a@b' type='chat' id='1'><body>it&apos;s &lt; me</body><x/></message>"
    )
    assert stanza_writer.message(content=b"<subject/>") == b"<message><subject/></message>"


def test_iq() -> None:
    assert stanza_writer.iq_result(id_="1") == b"<iq type='result' id='1'/>"
    assert stanza_writer.iq_result(id_="1", to="a", from_="b", content=b"<query xmlns='q'/>") == (
        b"<iq to='a' from='b' type='result' id='1'><query xmlns='q'/></iq>"
    )
    assert stanza_writer.iq_error("item-not-found", id_="1", to="a", request=b"<query xmlns='q'/>") == (
        b"<iq to='a' type='error' id='1'><query xmlns='q'/><error type='cancel'>"
        b"<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )


def test_errors_have_a_type_a_condition_and_perhaps_more() -> None:
    assert stanza_writer.stanza_error("gone", text="moved", by="example.org", address="xmpp:a@b") == (
        b"<error by='example.org' type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:a@b</gone>"
        b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>moved</text></error>"
    )
    assert stanza_writer.bounce("message", "not-allowed", to="a", from_="b", id_="1", type_="auth") == (
        b"<message to='a' from='b' type='error' id='1'><error type='auth'>"
        b"<not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )


def test_the_conditions_of_rfc_6120_section_8_3_3_have_their_types() -> None:
    by_type: dict[str, set[str]] = {}
    for condition, kind in STANZA_ERROR_CONDITIONS.items():
        by_type.setdefault(kind, set()).add(condition)
    assert len(STANZA_ERROR_CONDITIONS) == 22
    assert by_type["auth"] == {"forbidden", "not-authorized", "registration-required", "subscription-required"}
    assert by_type["wait"] == {"recipient-unavailable", "remote-server-timeout", "resource-constraint"}
    assert {"bad-request", "jid-malformed", "not-acceptable", "policy-violation", "redirect"} < by_type["modify"]
    assert by_type.keys() == {"auth", "wait", "modify", "cancel"}
    for condition, kind in STANZA_ERROR_CONDITIONS.items():
        error, child = parse_children(stanza_writer.stanza_error(condition))
        assert error == ("jabber:client error", {"type": kind}, "")
        assert child == (f"{STANZA_ERROR_NAMESPACE} {condition}", {}, "")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda: stanza_writer.presence(type_="available"), "presence type"),
        (lambda: stanza_writer.message(type_="normal'"), "message type"),
        (lambda: stanza_writer.stanza_error("no-such"), "error condition"),
        (lambda: stanza_writer.stanza_error("gone", type_="stop"), "error type"),
        (lambda: stanza_writer.stanza_error("conflict", address="xmpp:a"), "no address"),
        (lambda: stanza_writer.bounce("r", "conflict", to=None, from_=None), "stanza"),
    ],
)
def test_what_the_rfcs_do_not_define_is_refused(write: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        write()


@given(MAYBE, MAYBE, ANY, ANY)
def test_any_text_arrives(to: str | None, from_: str | None, id_: str, text: str) -> None:
    addresses = {"to": to, "from_": from_}
    for stanza, name, kind, content in [
        (stanza_writer.presence(**addresses, id_=id_, type_="probe"), "presence", "probe", []),
        (stanza_writer.message(**addresses, id_=id_, body=text), "message", None, [text]),
        (stanza_writer.iq_result(**addresses, id_=id_), "iq", "result", []),
        (stanza_writer.iq_error("gone", **addresses, id_=id_, text=text), "iq", "error", ["", "", text]),
        (stanza_writer.bounce("presence", "gone", **addresses, id_=id_), "presence", "error", ["", ""]),
    ]:
        header = read_stanza_header(stanza)
        assert (header.name, header.namespace, header.type) == (name, "jabber:client", kind)
        assert (header.to, header.from_, header.id) == (received(to), received(from_), received(id_))
        children = [content for _, _, content in parse_children(stanza)[1:]]
        assert children == [received(each) for each in content][: len(children)]
        assert len(children) == len(content) or not text
        framer = StreamFramer()
        framer.scan(HEADER)
        assert framer.scan(stanza)[:2] == (Event.STANZA, len(stanza))


@given(ANY, ANY, ANY)
def test_any_text_arrives_within_an_error(text: str, by: str, address: str) -> None:
    error, child, *more = parse_children(stanza_writer.stanza_error("redirect", text=text, by=by, address=address))
    assert error == ("jabber:client error", {"type": "modify", "by": received(by)}, "")
    assert child == (f"{STANZA_ERROR_NAMESPACE} redirect", {}, received(address))
    assert [content for _, _, content in more] == ([received(text)] if text else [])

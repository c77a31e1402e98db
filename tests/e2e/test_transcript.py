"""Transparency: a session through the edge is the session without it, stanza for stanza."""

import copy
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from tests.scenarios.session import run_session
from tests.scenarios.transcript import Entry, Transcript, differences
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import TLSMode


@pytest.fixture(scope="session")
def baseline(request: pytest.FixtureRequest, authority: CertificateAuthority) -> Callable[[str, TLSMode], Transcript]:
    """Transcripts of sessions with the server itself, each recorded once."""
    recorded: dict[tuple[str, TLSMode], Transcript] = {}

    def record(server: str, tls: TLSMode) -> Transcript:
        if (server, tls) not in recorded:
            endpoint = getattr(request.getfixturevalue(server), tls)
            recorded[server, tls] = run_session(endpoint, authority.certificate)
        return recorded[server, tls]

    return record


@pytest.mark.parametrize("tls", ["starttls", "direct"])
@pytest.mark.parametrize(
    "server",
    [
        # one socket per client
        *("prosody", "prosody_with_module", "ejabberd"),
        # links
        *("prosody_with_links", "ejabberd_with_links", "prosody_behind_hub"),
    ],
)
def test_session_through_the_edge_is_the_session_without_it(
    server: str,
    tls: TLSMode,
    baseline: Callable[[str, TLSMode], Transcript],
    authority: CertificateAuthority,
    request: pytest.FixtureRequest,
) -> None:
    direct = baseline(server, tls)
    edge = request.getfixturevalue(f"edge_of_{server}")
    assert differences(direct, run_session(getattr(edge, tls), authority.certificate)) == ""


@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
def test_two_sessions_without_the_edge_are_equal(
    server: str,
    baseline: Callable[[str, TLSMode], Transcript],
    authority: CertificateAuthority,
    request: pytest.FixtureRequest,
) -> None:
    first = baseline(server, "starttls")
    second = run_session(request.getfixturevalue(server).starttls, authority.certificate)
    assert differences(first, second) == ""


def _positions(transcript: Transcript, step: str, direction: str, tag: str) -> list[int]:
    return [
        number
        for number, entry in enumerate(transcript.entries)
        if entry.step == step
        and entry.direction == direction
        and entry.element is not None
        and entry.element.tag == tag
    ]


MESSAGE = "{jabber:client}message"


def lose_a_stanza(transcript: Transcript) -> None:
    del transcript.entries[_positions(transcript, "many in a row", "in", MESSAGE)[17]]


def repeat_a_stanza(transcript: Transcript) -> None:
    number = _positions(transcript, "many in a row", "in", MESSAGE)[17]
    transcript.entries.insert(number, transcript.entries[number])


def swap_two_stanzas_of_one_sender(transcript: Transcript) -> None:
    entries = transcript.entries
    mine = [n for n in _positions(transcript, "many in a row", "in", MESSAGE) if entries[n].client == "bob"]
    entries[mine[3]], entries[mine[4]] = entries[mine[4]], entries[mine[3]]


def change_a_character(transcript: Transcript) -> None:
    body = _only(transcript, "messages", "in", MESSAGE).find("{jabber:client}body")
    assert body is not None
    assert body.text is not None
    body.text = body.text.replace("世", "丗")


def answer_another_question(transcript: Transcript) -> None:
    answers = _positions(transcript, "discovery", "in", "{jabber:client}iq")
    element = transcript.entries[answers[0]].element
    other = transcript.entries[answers[1]].element
    assert element is not None
    assert other is not None
    element.set("id", other.get("id", ""))


def offer_another_mechanism(transcript: Transcript) -> None:
    for entry in transcript.entries:
        if entry.element is not None and (found := entry.element.find(".//{*}mechanism")) is not None:
            found.text = "X-OTHER"
            return


def change_the_resumption_counter(transcript: Transcript) -> None:
    resumed = _only(transcript, "cut and resume", "in", "{urn:xmpp:sm:3}resumed")
    resumed.set("h", str(int(resumed.get("h", "0")) + 1))


def drop_the_end_of_the_stream(transcript: Transcript) -> None:
    transcript.entries.remove(Entry("goodbye", "bob", "event", None, "received </stream:stream>"))


def _only(transcript: Transcript, step: str, direction: str, tag: str) -> ET.Element:
    element = transcript.entries[_positions(transcript, step, direction, tag)[0]].element
    assert element is not None
    return element


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_stanza,
        repeat_a_stanza,
        swap_two_stanzas_of_one_sender,
        change_a_character,
        answer_another_question,
        offer_another_mechanism,
        change_the_resumption_counter,
        drop_the_end_of_the_stream,
    ],
)
@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
def test_a_difference_is_seen(
    server: str, damage: Callable[[Transcript], None], baseline: Callable[[str, TLSMode], Transcript]
) -> None:
    good = baseline(server, "starttls")
    damaged = copy.deepcopy(good)
    assert differences(good, damaged) == ""
    damage(damaged)
    assert differences(good, damaged) != ""

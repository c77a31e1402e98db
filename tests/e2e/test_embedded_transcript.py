"""A whole scripted session with the embedded service is the one with Prosody, but for differences that are allowed."""

import copy

import pytest

from tests.scenarios.judged import ALLOWED, without
from tests.scenarios.session import run_session
from tests.scenarios.transcript import Transcript, differences
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.prosody import Prosody


@pytest.fixture(scope="module")
def sessions(embedded: Embedded, prosody: Prosody, authority: CertificateAuthority) -> tuple[Transcript, Transcript]:
    """The same session with Prosody and with us; without the archive, which the embedded service does not have."""
    theirs, ours = (
        run_session(server.starttls, authority.certificate, archive=False) for server in (prosody, embedded)
    )
    return theirs, ours


def test_a_session_is_prosodys(sessions: tuple[Transcript, Transcript]) -> None:
    theirs, ours = (without(transcript) for transcript in sessions)
    assert differences(theirs, ours, ("prosody", "megaphone")) == ""
    assert len(ours.lines()) > 400


@pytest.mark.parametrize("left_out", ALLOWED, ids=lambda allowed: allowed.apply.__name__.strip("_"))
def test_every_allowed_difference_is_one(sessions: tuple[Transcript, Transcript], left_out: object) -> None:
    rules = tuple(rule for rule in ALLOWED if rule is not left_out)
    theirs, ours = (without(transcript, rules) for transcript in sessions)
    assert differences(theirs, ours) != ""


@pytest.mark.parametrize("step", ["carbons", "talk in the room", "cut and resume", "goodbye"])
def test_a_lost_stanza_is_seen(sessions: tuple[Transcript, Transcript], step: str) -> None:
    theirs, ours = sessions
    damaged = copy.deepcopy(ours)
    tags = ("{jabber:client}message", "{jabber:client}presence")
    lost = next(
        each
        for each in damaged.entries
        if each.step == step and each.direction == "in" and each.element is not None and each.element.tag in tags
    )
    damaged.entries.remove(lost)
    assert differences(without(theirs), without(damaged)) != ""

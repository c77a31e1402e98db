"""What is known of others' claims: events in their turn, gaps, whole lists, and what follows of several claims."""

from megaphone.rooms.events import Claim, Closed, Gone, Origin, Shown, Whole
from megaphone.rooms.mirror import LAST, Mirror
from tests.unit.rooms.town import ROOM, person

OURS = Origin("a", 0, b"1")
B = Origin("b", 0, b"1")
C = Origin("c", 0, b"1")
ROMEO, JULIET = person("romeo"), person("juliet")


def claim(session: object = ROMEO, *, entered: int = 1, spoke: int = 1, nick: str = "n") -> Claim:
    assert isinstance(session, type(ROMEO))
    return Claim(session, nick, "participant", entered, spoke, b"<presence/>")


def test_events_in_their_turn() -> None:
    mirror = Mirror(OURS)
    assert mirror.take(Shown(B, ROOM, 0, 5, claim())) == [ROMEO]
    assert mirror.take(Shown(B, ROOM, 5, 8, claim(JULIET))) == [JULIET]
    assert mirror.take(Shown(B, ROOM, 5, 8, claim(JULIET))) == []  # twice
    assert mirror.take(Gone(B, ROOM, 8, 9, ROMEO, b"<presence/>")) == [ROMEO]
    assert mirror.known(B) == 9
    assert mirror.take(Shown(B, ROOM, 11, 12, claim())) is None  # one is missing
    assert mirror.known(B) == 9
    assert mirror.take(Closed(B, ROOM, 9, 13)) == [JULIET]
    assert mirror.peers == {}


def test_an_event_that_begins_anew_ends_what_was_missed() -> None:
    mirror = Mirror(OURS)
    mirror.take(Shown(B, ROOM, 0, 5, claim()))
    assert mirror.take(Shown(B, ROOM, 0, 9, claim(JULIET))) == [ROMEO, JULIET]
    assert set(mirror.peers[B].claims) == {JULIET}


def test_a_whole_list_in_parts() -> None:
    mirror = Mirror(OURS)
    mirror.take(Shown(B, ROOM, 0, 5, claim(person("nurse"))))
    assert mirror.take_whole(Whole(B, ROOM, 9, (claim(),), last=False)) == []
    assert set(mirror.peers[B].claims) == {person("nurse")}
    assert mirror.take_whole(Whole(B, ROOM, 9, (claim(JULIET),), first=False)) == [person("nurse"), ROMEO, JULIET]
    assert mirror.known(B) == 9
    assert mirror.take_whole(Whole(B, ROOM, 9, same=True)) == [ROMEO, JULIET]
    assert mirror.take_whole(Whole(B, ROOM, 0)) == [ROMEO, JULIET]
    assert mirror.peers == {}


def test_a_first_part_begins_anew() -> None:
    mirror = Mirror(OURS)
    mirror.take_whole(Whole(B, ROOM, 7, (claim(),), last=False))
    mirror.take_whole(Whole(B, ROOM, 8, (claim(JULIET),)))
    assert set(mirror.peers[B].claims) == {JULIET}


def test_of_several_claims_the_living_one_that_spoke_last_counts() -> None:
    mirror = Mirror(OURS)
    mirror.own[ROMEO] = claim(spoke=5)
    mirror.take(Shown(B, ROOM, 0, 1, claim(spoke=4)))
    assert mirror.holder(ROMEO) == (OURS, claim(spoke=5))
    mirror.take(Shown(C, ROOM, 0, 1, claim(spoke=6)))
    assert mirror.holder(ROMEO) == (C, claim(spoke=6))
    mirror.peers[C].lost = True
    assert mirror.holder(ROMEO) == (OURS, claim(spoke=5))
    assert mirror.holder(JULIET) is None


def test_the_rank_of_a_nick() -> None:
    mirror = Mirror(OURS)
    mirror.own[ROMEO] = claim(entered=7)
    mirror.take(Shown(B, ROOM, 0, 1, claim(JULIET, entered=7)))
    assert mirror.rank(ROMEO) < mirror.rank(JULIET) < mirror.rank(person("nobody")) == LAST

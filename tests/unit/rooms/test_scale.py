"""A large room: one call for one message, and no work that grows with the square of the occupants."""

from collections.abc import Collection, Sequence
from time import process_time

from megaphone.rooms.ports import Audience
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza
from tests.unit.rooms.town import ROOM, Town

OCCUPANTS = 2_000


class Counted(Town):
    """A town that counts calls and carries nothing."""

    def route(self, stanza: bytes, to: JID) -> None:
        self.routes += 1

    def route_many(self, stanzas: Sequence[bytes], to: JID) -> None:
        self.stanzas = list(stanzas)

    def fan_out(
        self, room: JID, stanza: bytes, *, audience: Audience = Audience.ALL, except_: Collection[JID] = ()
    ) -> None:
        self.fan_outs += 1
        assert len(except_) <= 1
        self.last = stanza


def filled(count: int, town: Counted) -> float:
    """Let that many people enter; returns the CPU seconds that it took."""
    begin = process_time()
    town.enter(*(f"p{number}" for number in range(count)))
    return process_time() - begin


def test_calls() -> None:
    town = Counted()
    filled(OCCUPANTS, town)
    # a new occupant: two audiences hear of it, and what it gets is one list of the same objects that others get
    town.fan_outs = town.routes = 0
    town.enter("romeo")
    first = town.stanzas
    town.enter("juliet")
    assert (town.fan_outs, town.routes) == (4, 0)
    assert len(town.stanzas) == OCCUPANTS + 1 + 1 + 1
    # moderators and others see two versions; of the same version everybody gets the same object
    assert all(ours is theirs for ours, theirs in zip(first[:OCCUPANTS], town.stanzas[:OCCUPANTS], strict=True))
    town.fan_outs = town.routes = 0
    town.say("romeo", f"<message to='{ROOM}' type='groupchat'><body>hi</body></message>")
    assert (town.fan_outs, town.routes) == (1, 0)
    town.say("romeo", f"<presence to='{ROOM}/romeo'><show>away</show></presence>")
    assert (town.fan_outs, town.routes) == (3, 1)
    town.say("romeo", f"<presence to='{ROOM}' type='unavailable'/>")
    assert (town.fan_outs, town.routes) == (5, 2)
    town.rooms.home_lost(lambda jid: jid.local < "p2", town.now)
    assert town.fan_outs - 5 == 2 * (town.routes - 2)


def test_a_plain_message_is_not_parsed() -> None:
    town = Counted()
    filled(10, town)
    stanza = Stanza.read(
        b"<message from='p1@x/c' to='verona@r.x' type='groupchat' id='1'><body>hi</body>"
        b"<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
    town.rooms.receive(stanza, town.now)
    assert town.last.startswith(b"<message from='verona@r.x/p1' type='groupchat' id='1'><body>hi</body>")
    assert not {"tree", "children"} & vars(stanza).keys()


def test_work_for_a_message_does_not_grow_with_the_room() -> None:
    def seconds(count: int) -> float:
        town = Counted()
        filled(count, town)
        stanza = Stanza.read(b"<message from='p1@x/c' to='verona@r.x' type='groupchat'><body>hi</body></message>")
        best = float("inf")
        for _ in range(5):
            begin = process_time()
            for _ in range(1_000):
                town.rooms.receive(stanza, town.now)
            best = min(best, process_time() - begin)
        return best

    assert seconds(OCCUPANTS) < 3 * seconds(20)

"""A room as one occupant sees it: joins, history after a loss, what was said and not heard."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from megaphone.cli.chat_events import Event, Joined, Left, NotSent, Present, Renamed, RoomSaid, Said, SubjectChanged
from megaphone.cli.chat_room import SAY_LIMIT, Place, Removal, Room
from megaphone.cli.chat_stanzas import Message, Presence, StanzaError

SELF = frozenset({110})
SUBJECT = Message("", None, "")


def enter(room: Room, *others: str, history: tuple[Message, ...] = (), codes: frozenset[int] = SELF) -> list[Event]:
    """A complete join: who is there, we, the history, the subject."""
    room.begin_join("Me")
    events = [event for other in others for event in room.receive_presence(Presence(other, True))]
    events += room.receive_presence(Presence("Me", True, codes))
    for message in history:
        events += room.receive_message(message)
    return events + room.receive_message(SUBJECT)


def inside(*others: str) -> Room:
    room = Room("r@c", "Me")
    enter(room, *others)
    return room


def old(message: Message) -> Message:
    """The same in the history."""
    return dataclasses.replace(message, stamp="2026-01-01T00:00:00Z")


def test_a_join_tells_who_is_there_and_the_history() -> None:
    room = Room("r@c", "Me")
    events = enter(room, "A", "B", history=(old(Message("A", "hi")),))
    assert events == [Present(("A", "B")), Joined("Me"), Said("A", "hi", stamp="2026-01-01T00:00:00Z")]
    assert room.place is Place.INSIDE
    assert list(room.occupants) == ["A", "B", "Me"]


def test_a_new_room_is_locked_until_its_configuration_is_accepted() -> None:
    room = Room("r@c", "Me")
    room.say("hi", "1")
    assert enter(room, codes=frozenset({110, 201})) == [RoomSaid("r@c is new"), Joined("Me")]
    assert room.take_unsent() == ([], [])
    room.locked = False
    assert room.take_unsent() == ([("hi", "1")], [])


def test_coming_going_renaming() -> None:
    room = inside("A")
    assert room.receive_presence(Presence("A", True)) == [], "away, and the like"
    assert room.receive_presence(Presence("B", True)) == [Joined("B")]
    assert room.receive_presence(Presence("B", False, frozenset({303}), "C")) == [Renamed("B", "C")]
    assert room.receive_presence(Presence("C", True)) == []
    assert room.receive_presence(Presence("C", False)) == [Left("C")]
    assert room.receive_presence(Presence("C", False)) == []
    assert room.receive_presence(Presence("A", False, frozenset({307}), reason="loud")) == [Left("A", "kicked: loud")]
    assert room.receive_presence(Presence("Me", False, frozenset({110, 303}), "I")) == [Renamed("Me", "I")]
    assert room.nick == "I"


def test_the_room_may_assign_another_nick() -> None:
    room = Room("r@c", "Me")
    room.begin_join("Me")
    assert room.receive_presence(Presence("me-1", True, frozenset({110, 210}))) == [Joined("me-1")]
    assert room.nick == "me-1"


def test_refusal_and_removal() -> None:
    room = Room("r@c", "Me")
    room.begin_join("Me")
    assert room.receive_presence(Presence("Me", False, error=StanzaError("conflict", ""))) == []
    assert (room.refusal, room.place) == (StanzaError("conflict", ""), Place.OUTSIDE)
    room = inside("A")
    kicked = Presence("Me", False, frozenset({110, 307}), reason="loud")
    assert room.receive_presence(kicked) == [Left("Me", "kicked: loud")]
    assert room.removal == Removal("kicked: loud", again=False)
    room = inside("A")
    assert room.receive_presence(Presence("Me", False, frozenset({110, 332}))) == []
    assert room.removal == Removal("the service shuts down", again=True)


def test_after_a_loss_only_the_difference_is_told() -> None:
    room = inside("A", "B")
    assert enter(room, "B", "C") == [Left("A"), Joined("C")]


def test_a_join_that_is_lost_again_forgets_nobody() -> None:
    room = inside("A", "B")
    room.begin_join("Me")
    room.receive_presence(Presence("C", True))
    assert enter(room, "B", "C") == [Left("A"), Joined("C")]


def test_subjects() -> None:
    room = inside()
    assert room.receive_message(Message("A", None, "tea")) == [SubjectChanged("A", "tea")]
    assert room.receive_message(Message("A", None, "tea")) == []
    assert room.receive_message(Message("A", None, "")) == [SubjectChanged("A", "")]
    assert room.receive_message(Message("A", "text", "with a subject")) == [Said("A", "text")]


def test_a_line_is_pending_until_its_reflection() -> None:
    room = inside()
    room.say("hi", "1")
    assert room.take_unsent() == ([("hi", "1")], [])
    assert room.take_unsent() == ([], [])
    assert room.receive_message(Message("Me", "hi", identifier="1")) == [Said("Me", "hi", mine=True)]
    assert room.pending == {}


def test_what_was_not_heard_is_said_again_and_what_was_is_not() -> None:
    room = inside()
    room.say("heard", "1")
    room.say("lost", "2")
    room.take_unsent()
    assert enter(room, history=(old(Message("Me", "heard", identifier="1")),)) == [
        Said("Me", "heard", mine=True, stamp="2026-01-01T00:00:00Z")
    ]
    assert room.take_unsent() == ([("lost", "2")], [])


def test_a_line_that_breaks_every_connection_is_given_up() -> None:
    room = inside()
    room.say("poison", "1")
    for _ in range(SAY_LIMIT):
        assert room.take_unsent() == ([("poison", "1")], [])
        enter(room)
    assert room.take_unsent() == ([], [NotSent("poison", "the connection was lost each time it was sent")])
    assert room.pending == {}


def test_errors_to_our_lines() -> None:
    room = inside()
    room.say("hi", "1")
    room.take_unsent()
    assert room.receive_message(Message("", None, identifier="x", error=StanzaError("forbidden", ""))) == []
    refused = Message("", None, identifier="1", error=StanzaError("forbidden", "quiet"))
    assert room.receive_message(refused) == [NotSent("hi", "forbidden (quiet)")]
    room.say("hi", "2")
    room.take_unsent()
    assert room.receive_message(Message("", None, identifier="2", error=StanzaError("not-acceptable", ""))) == []
    assert room.removal is not None
    assert room.removal.again
    enter(room)
    assert room.take_unsent() == ([("hi", "2")], [])


def test_a_line_said_again_by_another_is_shown_once() -> None:
    room = inside("A")
    message = Message("A", "hi", identifier="1", origin_id="1", stanza_id="s1")
    assert room.receive_message(message) == [Said("A", "hi")]
    assert room.receive_message(dataclasses.replace(message, stanza_id="s2")) == []
    assert room.receive_message(dataclasses.replace(message, nick="B")) == [Said("B", "hi")]


Logs = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(["x", "y"]), st.booleans()), max_size=12)


@given(Logs, st.booleans(), st.booleans(), st.data())
def test_any_loss_shows_each_message_once_and_in_order(
    said: list[tuple[str, str, bool]], live_ids: bool, history_ids: bool, data: st.DataObject
) -> None:
    """Bots without ids say the same again and again; the history gives everything from the beginning."""
    log = [
        Message(nick, text, identifier=f"m{number}" if with_id else None, stanza_id=f"s{number}")
        for number, (nick, text, with_id) in enumerate(said)
    ]

    def live(message: Message) -> Message:
        return message if live_ids else dataclasses.replace(message, stanza_id=None)

    def from_history(message: Message) -> Message:
        return old(message if history_ids else dataclasses.replace(message, stanza_id=None))

    room = inside("A", "B")
    shown: list[Event] = []
    at = 0
    while at < len(log):
        heard, missed = (data.draw(st.integers(0, len(log) - at)) for _ in range(2))
        for message in log[at : at + heard]:
            shown += room.receive_message(live(message))
        at = min(len(log), at + heard + missed + 1)
        shown += enter(room, "A", "B", history=tuple(from_history(message) for message in log[:at]))
    assert [(event.nick, event.text) for event in shown if isinstance(event, Said)] == [
        (message.nick, message.body) for message in log
    ]

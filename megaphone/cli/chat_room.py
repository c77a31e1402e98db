"""A room as one occupant sees it (XEP-0045): presence and messages go in, events come out. No I/O.

```
            begin_join                 own presence (110)            subject
 outside ───────────────► entering ───────────────────► catching up ───────────► inside
    ▲                        │ error: refusal                │  history             │
    └────────────────────────┴──────────── own unavailable: removal ────────────────┘
```

A connection may be lost at any time; `begin_join` then starts again and nothing that was known is told twice: those who
are still there are not announced, and messages of the history that were seen are not shown. What we said and have not
seen reflected is in `pending`; after the history has come, what is still there was not heard and is said again.
"""

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from megaphone.cli import chat_stanzas
from megaphone.cli.chat_events import (
    Event,
    Joined,
    Left,
    NotSent,
    Present,
    Renamed,
    RoomSaid,
    Said,
    SubjectChanged,
)
from megaphone.cli.chat_stanzas import Message, Presence, StanzaError

SEEN_LIMIT: Final = 5_000  # messages remembered, so that a history does not show them again
SAY_LIMIT: Final = 3  # times one line is said when the connection breaks each time before its reflection


class Place(Enum):
    """Where we are."""

    OUTSIDE = auto()
    ENTERING = auto()
    CATCHING_UP = auto()
    INSIDE = auto()


@dataclass(frozen=True, slots=True)
class Removal:
    """Why we are no longer in the room; with `again` it makes sense to come back."""

    text: str
    again: bool


@dataclass(slots=True)
class Pending:
    """A line of ours that was not reflected yet."""

    text: str
    sent: bool = False  # since we entered
    times: int = 0  # sent in all


@dataclass(frozen=True, slots=True)
class _Seen:
    """How a message is known again; hashes, because ids and texts may be long and there are many of these."""

    stanza_id: int | None  # the room's id (XEP-0359)
    content: int  # of author, author's id and text
    origin: int | None  # of author, origin-id and text


class Room:
    """`jid` is the room's bare JID, `nick` ours, `occupants` everybody's."""

    def __init__(self, jid: str, nick: str) -> None:
        self.jid = jid
        self.nick = nick
        self.subject = ""
        self.place = Place.OUTSIDE
        self.locked = False  # we created it, and its configuration is not accepted yet (section 10.1)
        self.occupants: dict[str, None] = {}
        self.pending: dict[str, Pending] = {}
        self.refusal: StanzaError | None = None
        self.removal: Removal | None = None
        self._known: dict[str, None] | None = None  # who was there before the connection was lost
        self._seen: deque[_Seen] = deque(maxlen=SEEN_LIMIT)
        self._stanza_ids: set[int | None] = set()
        self._origins: set[int | None] = set()
        self._unmatched: Counter[tuple[int, bool]] = Counter()  # seen before this join; whether with the room's id

    def begin_join(self, nick: str) -> None:
        """We are about to enter, as `nick`, for the first time or again."""
        if self.place in (Place.CATCHING_UP, Place.INSIDE):
            self._known = self.occupants
        self.nick, self.occupants = nick, {}
        self.place, self.refusal, self.removal, self.locked = Place.ENTERING, None, None, False
        for entry in self.pending.values():
            entry.sent = False
        self._unmatched = Counter((each.content, each.stanza_id is not None) for each in self._seen)

    # Presence -------------------------------------------------------------------------------------------------------

    def receive_presence(self, presence: Presence) -> list[Event]:
        """What this presence means; `refusal` and `removal` tell of the ones that end our stay."""
        if presence.error is not None:
            if self.place is Place.ENTERING:
                self.refusal, self.place = presence.error, Place.OUTSIDE
            return []
        ours = chat_stanzas.SELF in presence.codes or (presence.nick == self.nick and self.place is not Place.ENTERING)
        if not presence.available:
            return self._receive_unavailable(presence, ours)
        if self.place is Place.ENTERING:
            self.occupants[presence.nick] = None
            return self._enter(presence) if ours else []
        if presence.nick in self.occupants:
            return []
        self.occupants[presence.nick] = None
        return [Joined(presence.nick)]

    def _enter(self, presence: Presence) -> list[Event]:
        self.nick, self.place = presence.nick, Place.CATCHING_UP  # the room may have assigned another nick (210)
        self.locked = chat_stanzas.CREATED in presence.codes
        new: list[Event] = [RoomSaid(f"{self.jid} is new")] if self.locked else []
        known, self._known = self._known, None
        if known is None:
            others = tuple(nick for nick in self.occupants if nick != self.nick)
            return [*new, *([Present(others)] if others else []), Joined(self.nick)]
        gone = [Left(nick) for nick in known if nick not in self.occupants]
        return [*new, *gone, *(Joined(nick) for nick in self.occupants if nick not in known)]

    def _receive_unavailable(self, presence: Presence, ours: bool) -> list[Event]:
        codes = presence.codes
        if chat_stanzas.RENAMED in codes and presence.new_nick:
            if presence.nick not in self.occupants:
                return []
            del self.occupants[presence.nick]
            self.occupants[presence.new_nick] = None
            if ours:
                self.nick = presence.new_nick
            return [Renamed(presence.nick, presence.new_nick)]
        why = _why_gone(presence)
        if ours and self.place is not Place.OUTSIDE:
            back = bool(codes & {chat_stanzas.SHUTDOWN, chat_stanzas.TECHNICAL})
            if back:
                self._known = self.occupants
            self.place, self.removal = Place.OUTSIDE, Removal(why, back)
            return [] if back else [Left(presence.nick, why)]
        if presence.nick not in self.occupants:
            return []
        del self.occupants[presence.nick]
        return [Left(presence.nick, why)]

    # Messages -------------------------------------------------------------------------------------------------------

    def receive_message(self, message: Message) -> list[Event]:
        """What this message means: something said, a subject, an answer to a line of ours, or nothing new."""
        if message.error is not None:
            return self._receive_error(message.identifier or "", message.error)
        if message.body is None:
            return self._receive_subject(message) if message.subject is not None else []
        if message.private:
            return [Said(message.nick, message.body, private=True)] if message.nick else []
        if not message.nick:
            return [RoomSaid(message.body)]
        new = not self._was_seen(message)
        mine = message.nick == self.nick or (message.identifier in self.pending)
        if mine:
            self.pending.pop(message.identifier or "", None)
        return [Said(message.nick, message.body, mine, message.stamp)] if new else []

    def _receive_subject(self, message: Message) -> list[Event]:
        if self.place is Place.CATCHING_UP:
            self.place = Place.INSIDE  # the subject is the last thing of a join (section 7.2.15)
        subject = message.subject or ""
        if subject == self.subject:
            return []
        self.subject = subject
        return [SubjectChanged(message.nick if message.stamp is None else "", subject)]

    def _receive_error(self, identifier: str, error: StanzaError) -> list[Event]:
        if identifier not in self.pending:
            return []
        if error.condition == "not-acceptable" and self.place is Place.INSIDE:
            self.vanish()  # that is said to those who are no occupants (section 7.4)
            return []
        return [NotSent(self.pending.pop(identifier).text, _words(error))]

    def vanish(self) -> None:
        """The room does not know us any more, and nobody has told us so (XEP-0410)."""
        if self.place is Place.OUTSIDE:
            return
        self._known, self.place = self.occupants, Place.OUTSIDE
        self.removal = Removal("the room does not know us any more", again=True)

    def _was_seen(self, message: Message) -> bool:
        body = message.body or ""
        seen = _Seen(
            None if message.stanza_id is None else hash(message.stanza_id),
            hash((message.nick, message.identifier, body)),
            None if message.origin_id is None else hash((message.nick, message.origin_id, body)),
        )
        if message.stamp is not None and self._is_known(seen):
            return True
        # Live, the same may come twice: its author lost the connection before the reflection and said it again.
        if message.stamp is None and seen.origin is not None and seen.origin in self._origins:
            return True
        if len(self._seen) == SEEN_LIMIT:
            self._stanza_ids.discard(self._seen[0].stanza_id)
            self._origins.discard(self._seen[0].origin)
        self._seen.append(seen)
        self._stanza_ids.add(seen.stanza_id)
        self._origins.add(seen.origin)
        return False

    def _is_known(self, seen: _Seen) -> bool:
        if seen.stanza_id is not None and seen.stanza_id in self._stanza_ids:
            return True
        # Some rooms give ids only live or only in the history; then content counts, each seen message for one.
        for with_id in (False,) if seen.stanza_id is not None else (False, True):
            if self._unmatched[seen.content, with_id] > 0:
                self._unmatched[seen.content, with_id] -= 1
                return True
        return False

    # What we say ----------------------------------------------------------------------------------------------------

    def say(self, text: str, identifier: str) -> None:
        """A line of ours; it is pending until the room reflects it."""
        self.pending[identifier] = Pending(text)

    def end_catching_up(self) -> None:
        """The history has come; for rooms that do not end it with a subject."""
        if self.place is Place.CATCHING_UP:
            self.place = Place.INSIDE

    def take_unsent(self) -> tuple[list[tuple[str, str]], list[Event]]:
        """The lines to send now, as (text, id) in order, and what is given up; nothing before we are heard.

        Lines that were sent before the connection broke and are not in the history are sent again, with the same id.
        """
        lines: list[tuple[str, str]] = []
        given_up: list[Event] = []
        heard = self.place is Place.INSIDE and not self.locked
        for identifier, entry in list(self.pending.items()) if heard else ():
            if entry.sent:
                continue
            if entry.times == SAY_LIMIT:
                del self.pending[identifier]
                given_up.append(NotSent(entry.text, "the connection was lost each time it was sent"))
                continue
            entry.sent, entry.times = True, entry.times + 1
            lines.append((entry.text, identifier))
        return lines, given_up


_GONE: Final = {
    chat_stanzas.BANNED: "banned",
    chat_stanzas.AFFILIATION_LOST: "the affiliation that let it in was taken away",
    chat_stanzas.MEMBERS_ONLY: "the room is for members only now",
    chat_stanzas.SHUTDOWN: "the service shuts down",
    chat_stanzas.TECHNICAL: "a technical problem",
    chat_stanzas.KICKED: "kicked",
}


def _why_gone(presence: Presence) -> str:
    if presence.destroyed:
        text = "the room was destroyed"
    else:
        text = next((text for code, text in _GONE.items() if code in presence.codes), "")
    return f"{text}: {presence.reason}" if text and presence.reason else text


def _words(error: StanzaError) -> str:
    return f"{error.condition} ({error.text})" if error.text else error.condition

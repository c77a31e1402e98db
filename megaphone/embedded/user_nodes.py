"""Joins the homes of a user on several nodes: what `service.ports.Elsewhere` says, over NATS (embedded.nodes).

    Service ── tell, ask ──► Said on the user's subject ──► this, at the user's homes on other nodes ──► their sessions
            ◄── then ─────── Answer ◄──────────────────────────────────────────┘ when it is safe there
            ── changed ────► subscriptions, Here ──────────────────────────────► who else has sessions of the user

Who subscribes is the directory: u.<user> where the user has sessions, u.<user>.<resource> where that session is,
u.<user>.m where some session takes messages. "No responders" means nobody there. Beyond that each home that has
sessions of a user knows who else has, by `Here`: for carbons, for conflicts, and to speak for those of a dead node.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.bus.ports import NoAnswer, NobodyThere
from megaphone.bus.tokens import session_subject, user_subject
from megaphone.embedded.user_rounds import Rounds
from megaphone.embedded.user_words import (
    TAKES_LIMIT,
    Answer,
    Here,
    HereSession,
    Said,
    Takes,
    decode_answer,
    decode_word,
    encode,
)
from megaphone.errors import StorageError, SubjectError
from megaphone.service import elsewhere, offline
from megaphone.service.contact import decode_contact
from megaphone.service.ports import Fate, Reply, What
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.bus import ports
    from megaphone.bus.members import Member
    from megaphone.bus.ports import Message, Subscription
    from megaphone.embedded.nodes import Nodes
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.router import Router
    from megaphone.service.service import Service
    from megaphone.service.session import Session, User

TAKES_SUBJECT: Final = "u"
ANSWER_SECONDS: Final = 5.0
DOUBT_SECONDS: Final = 2.0  # until others must have said what sessions of a user they have
EARLY_LIMIT: Final = 65_536
LEFT_LIMIT: Final = 64  # nodes of which we remember that they have left

_NO_STANZA: Final = b"<presence/>"


class _Interest:
    """What one user with sessions here subscribes, and what was said of them."""

    __slots__ = ("everybody", "known", "said", "sessions", "takers")

    def __init__(self, everybody: Subscription) -> None:
        self.everybody = everybody
        self.takers: Subscription | None = None
        self.sessions: dict[str, tuple[Subscription, int]] = {}  # and when each was bound, in ms
        self.said: tuple[HereSession, ...] = ()
        self.known = False  # who else has sessions: the others have been asked, and had time to answer


class UserNodes:
    """The users at home in one worker, as far as they have sessions on other nodes.

    `waiting` is `storage.users.SQLiteUsers.waiting_users`. `is_lent` tells whether a session is about to go to another
    node; until somebody sets it, none is.
    """

    is_lent: Callable[[Session], bool] = staticmethod(lambda _: False)

    def __init__(
        self,
        nodes: Nodes,
        service: Service,
        router: Router,
        promises: Promises,
        waiting: Callable[[int], Sequence[tuple[int, str]]],
    ) -> None:
        self._nodes = nodes
        self._service = service
        self._home = service.home
        self._router = router
        self._promises = promises
        self._interests: dict[str, _Interest] = {}
        self._abroad: dict[str, dict[bytes, Here]] = {}  # of users with sessions here, by node
        self._began: dict[str, None] = {}  # who takes messages since the last sweep
        self._asked: dict[Callable[[ports.Answer], None], None] = {}  # what waits for answers
        self._early: deque[tuple[float, Callable[[], object]]] = deque()  # what waits for NATS, and since when
        self._asking: deque[tuple[float, str]] = deque()  # until when others may say what they have of a user
        self._left: dict[bytes, None] = {}  # incarnations of nodes that have left
        self._hear = self._take
        self.malformed = 0  # words that were none
        self.rounds = Rounds(
            announce=self.announce_again,
            ask_anew=partial(elsewhere.ask_anew, self._home),
            forward=self._forward,
            waiting=waiting,
        )
        nodes.subscribe(TAKES_SUBJECT, self._hear)
        nodes.on_joined.append(self._node_joined)
        nodes.on_left.append(self._node_left)
        nodes.on_worker.append(self._worker_began)
        nodes.on_up.append(self._up)
        self._home.elsewhere = self

    # --- service.ports.Elsewhere ------------------------------------------------------------

    def changed(self, user: User) -> None:
        """Take note that sessions of a user have come, gone, or changed what they take."""
        local, interest = user.local, self._interests.get(user.local)
        sessions = user.sessions
        if not sessions:
            if interest is not None:
                self._lose(local, interest)
            return
        bare = str(user.jid)
        try:
            first = interest is None
            if interest is None:
                everybody = self._nodes.subscribe(user_subject(bare), self._hear)
                interest = self._interests[local] = _Interest(everybody)
            self._subscribe(interest, bare, [session.resource for session in sessions])
            takes = any(session.takes_messages for session in sessions)
            if takes and interest.takers is None:
                interest.takers = self._nodes.subscribe(_takers_subject(bare), self._hear)
                self._began[local] = None
            elif not takes and interest.takers is not None:
                interest.takers.end()
                interest.takers = None
        except SubjectError as error:  # too many: this user is not reached from other nodes
            self._router.fault(error)
            return
        said = tuple(
            HereSession(
                session.resource, interest.sessions[session.resource][1], session.available, session.takes_messages
            )
            for session in sessions
        )
        if said != interest.said:
            self._announce(local, interest, said, asks=first)

    def _subscribe(self, interest: _Interest, bare: str, resources: list[str]) -> None:
        for resource in interest.sessions.keys() - set(resources):
            interest.sessions.pop(resource)[0].end()
        for resource in resources:
            if resource not in interest.sessions:
                subscription = self._nodes.subscribe(session_subject(bare, resource), self._hear)
                interest.sessions[resource] = subscription, int(self._router.now() * 1000)

    def _lose(self, local: str, interest: _Interest) -> None:
        """The last session of a user here is gone."""
        del self._interests[local]
        self._began.pop(local, None)
        self._abroad.pop(local, None)
        interest.everybody.end()
        if interest.takers is not None:
            interest.takers.end()
        for subscription, _ in interest.sessions.values():
            subscription.end()
        self._announce(local, interest, (), asks=False)

    def _announce(self, local: str, interest: _Interest, said: tuple[HereSession, ...], *, asks: bool) -> None:
        subject = user_subject(str(JID(local, self._home.domain)))
        interest.said = said
        if self._nodes.publish(subject, encode(Here(*self._nodes.sender, local, said, asks))) and asks:
            self._asking.append((self._router.now() + DOUBT_SECONDS, local))

    def others(self, user: User) -> bool:
        """Whether a user with a session here has sessions on other nodes, as far as is known; True in doubt."""
        interest = self._interests.get(user.local)
        return user.local in self._abroad or interest is None or not interest.known

    def available(self, user: User) -> bool:
        """Whether one of those is available."""
        interest = self._interests.get(user.local)
        abroad = self._abroad.get(user.local, {})
        if any(session.available for here in abroad.values() for session in here.sessions):
            return True
        return self._nodes.up and (interest is None or not interest.known)

    def is_first(self, user: User) -> bool:
        """Whether of all nodes that have sessions of a user, as far as is known, this is the one that acts for them."""
        return all(self._nodes.sender[0] < node for node in self._abroad.get(user.local, ()))

    def tell(self, what: What, to: JID, stanza: bytes, *, got: bytes = b"") -> None:
        """Tell all nodes that have sessions of `to`, or the one with that session."""
        said = Said(*self._nodes.sender, what, str(to), stanza, self._router.keeping, got)
        payload = encode(said)
        self._when_there(lambda: self._nodes.publish(_subject(what, to), payload))

    def ask(
        self, what: What, to: JID, stanza: bytes, then: Callable[[Reply, float], None], *, keep: bool = False
    ) -> None:
        """Tell them likewise, and call `then` with the first answer and the time; see service.ports."""
        keeping = self._router.keeping
        number = self._promises.ask() if keeping else 0

        def answered(answer: ports.Answer) -> None:
            if self._asked.pop(answered, False) is False:
                return  # we have given up
            self._router.keeping = keeping
            try:
                then(_reply(answer), self._router.now())
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for an answer gets one
                if what in (What.KEPT, What.CLAIM, What.LATE):
                    self._router.fault(error)
                else:
                    self._router.failed(Stanza.read(stanza), error)
            finally:
                self._router.keeping = False
                if number:
                    self._promises.when_stored(lambda: self._promises.answered(number))

        self._asked[answered] = None
        said = Said(*self._nodes.sender, what, str(to), stanza, keep or keeping)
        payload = encode(said)
        self._when_there(lambda: self._request(_subject(what, to), payload, answered))

    def _request(self, subject: str, payload: bytes, answered: Callable[[ports.Answer], None]) -> None:
        if not self._nodes.request(subject, payload, ANSWER_SECONDS, answered):
            unasked = NoAnswer() if self._nodes.up else NobodyThere(asked=False)
            self._router.later(lambda: answered(unasked))

    def _when_there(self, say: Callable[[], object]) -> None:
        """Say something; in an upgrade, in the moment in which the successor has no NATS yet, as soon as it has."""
        if (self._early or self._nodes.arriving) and len(self._early) < EARLY_LIMIT:
            self._early.append((self._router.now(), say))
        else:
            say()

    def _say_early(self) -> None:
        early, self._early = self._early, deque()
        for _, say in early:
            say()

    def give_up(self) -> None:
        """Wait for no answer any more: this process is about to end."""
        for answered in list(self._asked):
            answered(NoAnswer())
        self._router.drain()

    # --- binding ------------------------------------------------------------

    def claim(self, to: JID, then: Callable[[bool], None]) -> None:
        """Ask for the resource of a full JID that a client wants to bind; `then` learns whether it must not have it."""
        user = self._home.users.get(to.local)
        if user is not None and user.session(to.resource) is not None:
            self._router.later(lambda: then(False))  # it is bound here, hence nowhere else
        else:
            self.ask(What.CLAIM, to, _NO_STANZA, lambda reply, _: then(reply.fate is Fate.TAKEN))

    # --- what is heard ------------------------------------------------------------

    def _take(self, message: Message) -> bytes | None:
        try:
            word = decode_word(message.payload)
        except msgspec.MsgspecError:
            self.malformed += 1
            return None
        if self._nodes.is_own(word.node, word.worker):
            return None
        if isinstance(word, Here):
            self._take_here(word)
        elif isinstance(word, Takes):
            for local in word.users:
                self._forward(local)
        elif word.got != self._nodes.sender[0]:
            self._take_said(word, message)
        return None

    def _take_said(self, word: Said, message: Message) -> None:
        self._router.keeping = word.keep
        taken: bool | None = False
        try:
            to = JID.parse(word.to)
            if word.what is What.CLAIM:
                taken = self._service.claimed(to, self._router.now())
            elif word.what is What.CONTACT:
                self._service.contact_changed(to.local, decode_contact(word.stanza))
            else:
                stanza = Stanza.read(word.stanza)
                stanza.to = to
                taken = self._service.receive_elsewhere(word.what, to, stanza, self._router.now())
        except (ValueError, msgspec.MsgspecError):
            self.malformed += 1
        except Exception as error:  # noqa: BLE001 - one word's trouble must not cost the others
            self._router.fault(error)
        finally:
            self._router.keeping = False
        reply = message.reply
        if reply is None or taken is None:
            return
        own = self._nodes.sender[0]
        others = any(node not in (own, word.node) for node in self._abroad.get(_local(word.to), ()))
        answer = encode(Answer(taken, own, others))
        if taken and word.keep:
            self._promises.when_stored(lambda: reply(answer))
        else:
            reply(answer)

    def _take_here(self, here: Here) -> None:
        """Another node says which sessions of a user it has."""
        local = here.user
        interest, user = self._interests.get(local), self._home.users.get(local)
        if interest is None or user is None:
            return
        abroad = self._abroad.setdefault(local, {})
        abroad.pop(here.node, None)
        if here.sessions:
            abroad[here.node] = here
        if not abroad:
            del self._abroad[local]
        won = self._settle_conflicts(user, interest, here)
        if self._interests.get(local) is interest:
            self._home.refresh(user)
            if here.asks or won:
                self._announce(local, interest, interest.said, asks=False)

    def _settle_conflicts(self, user: User, interest: _Interest, here: Here) -> bool:
        """Of two sessions with one resource, bound while their nodes could not ask each other, the newer goes on.

        Returns whether one of ours does: its rival has to hear of it.
        """
        won = False
        for theirs in here.sessions:
            ours = interest.sessions.get(theirs.resource)
            session = user.session(theirs.resource)
            if ours is None or session is None or self.is_lent(session):
                continue
            if (theirs.bound_ms, here.node) > (ours[1], self._nodes.sender[0]):
                self._service.overtaken(session, self._router.now(), quietly=theirs.available)
            else:
                won = True
        return won

    # --- nodes come and go ------------------------------------------------------------

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        if self._began and self._nodes.up:
            began, self._began = list(self._began), {}
            for start in range(0, len(began), TAKES_LIMIT):
                takes = Takes(*self._nodes.sender, tuple(began[start : start + TAKES_LIMIT]))
                self._nodes.publish(TAKES_SUBJECT, encode(takes))
        now = self._router.now()
        if self._early and (not self._nodes.arriving or self._early[0][0] <= now - ANSWER_SECONDS):
            self._say_early()
            self._router.drain()
        while self._asking and self._asking[0][0] <= now:
            _, local = self._asking.popleft()
            interest, user = self._interests.get(local), self._home.users.get(local)
            if interest is not None and user is not None and not interest.known:
                interest.known = True
                self._home.refresh(user)
        if self.rounds.sweep(alone=len(self._nodes.members) < 2):
            self._router.drain()

    def _up(self, up: bool) -> None:
        if up:
            self._say_early()
            for interest in self._interests.values():
                interest.known = False
            self._go_round()

    def _node_joined(self, member: Member) -> None:
        if member.incarnation in self._left:
            del self._left[member.incarnation]
            self._go_round()  # it has been there all the time, without us
        else:
            self.rounds.forward_all()

    def _go_round(self) -> None:
        """What was said meanwhile was not heard: say and ask everything anew, at a pace."""
        self.rounds.go(list(self._interests))

    def _node_left(self, member: Member) -> None:
        self._left[member.incarnation] = None
        if len(self._left) > LEFT_LIMIT:
            del self._left[next(iter(self._left))]
        node = member.node_key[:8]
        self._forget(node, lambda _: True)
        self.rounds.ask_all(list(self._interests))

    def _worker_began(self, node: str, worker: int, epoch: bytes) -> None:
        """A worker of another node lives anew: the sessions of its life before are gone."""
        gone = self._forget(bytes.fromhex(node)[:8], lambda here: here.worker == worker and here.epoch != epoch)
        if gone:
            self.rounds.ask_all(list(self._interests))

    def _forget(self, node: bytes, is_gone: Callable[[Here], bool]) -> bool:
        """Sessions on another node are gone; the lowest key that is left speaks for them. Whether there were any."""
        found = False
        for local, abroad in list(self._abroad.items()):
            here = abroad.get(node)
            if here is None or not is_gone(here):
                continue
            found = True
            del abroad[node]
            if not abroad:
                del self._abroad[local]
            if all(self._nodes.sender[0] < other for other in abroad):
                for session in here.sessions:
                    if session.available:
                        elsewhere.vanished(self._home, JID(local, self._home.domain, session.resource))
            self._home.refresh(self._home.users[local])
        return found

    def announce_again(self, local: str) -> None:
        """Say again which sessions a user has here; whoever has others says so."""
        interest = self._interests.get(local)
        if interest is not None:
            self._announce(local, interest, interest.said, asks=True)
            if interest.takers is not None:
                self._began[local] = None

    def _forward(self, local: str) -> None:
        if self._router.home(JID(local, self._home.domain)) != self._router.index:
            return  # another worker's
        try:
            offline.forward(self._home, local)
        except StorageError as error:  # it waits on, until the next round
            self._router.fault(error)


def _takers_subject(bare: str) -> str:
    return f"{user_subject(bare)}.m"


def _subject(what: What, to: JID) -> str:
    bare = str(to.bare)
    if what in (What.SESSION, What.CLAIM, What.LATE):
        return session_subject(bare, to.resource)
    return _takers_subject(bare) if what in (What.TAKERS, What.KEPT) else user_subject(bare)


def _reply(answer: ports.Answer) -> Reply:
    if isinstance(answer, bytes):
        try:
            said = decode_answer(answer)
        except msgspec.MsgspecError:
            return Reply(Fate.UNKNOWN)
        return Reply(Fate.TAKEN if said.taken else Fate.NOBODY, said.node, said.others)
    if isinstance(answer, NobodyThere) and not answer.asked:
        return Reply(Fate.NOBODY)
    return Reply(Fate.UNKNOWN)


def _local(jid: str) -> str:
    try:
        return JID.parse(jid).local
    except ValueError:
        return ""

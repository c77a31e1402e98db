"""A session that is resumed on another node (XEP-0198): where it waits it is lent, and forgotten when it is safe.

    client ─ <resume/> ─► its user's home here ── Resume ──► the worker that the id names: what it has handled is safe,
                                               ◄── Lent ───  the connection, if there still is one, is ended
                          all that is not acknowledged is written here
                          it waits here, and is resumed ─ Done ─► it is forgotten there, without a word to anybody

A session that is lent is nobody's for LENT_SECONDS: if nothing is heard of it until then it waits on where it was.
What comes for it there meanwhile is passed on. A dead node answers nothing: the client hears <failed/>,
item-not-found, and binds anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.bus.tokens import worker_subject
from megaphone.embedded.user_words import Done, Lent, Resume, decode_done, decode_lent, decode_resume, encode
from megaphone.errors import StorageError
from megaphone.service import moving
from megaphone.service.ports import Fate, What
from megaphone.stream import moving as moving_management
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Answer, Message
    from megaphone.embedded.nodes import Nodes
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.router import Router
    from megaphone.embedded.sessions import Sessions
    from megaphone.embedded.stream import EmbeddedStream
    from megaphone.service.ports import Reply
    from megaphone.service.session import Session

LENT_SECONDS: Final = 10.0
ASK_SECONDS: Final = 5.0
HOPS: Final = 4  # times that a session is asked for where it has gone
GONE_LIMIT: Final = 16_384
_WORKER: Final = re.compile("[0-9a-f]{3}")
_NODE_DIGITS: Final = 8
_WORKER_DIGITS: Final = 3


def place(node: str, worker: int) -> str:
    """Return what the ids of a worker's sessions begin with: 8 digits of the node's key, 3 of the worker's number."""
    return f"{node[:_NODE_DIGITS]}{worker:0{_WORKER_DIGITS}x}"


@dataclass(slots=True)
class _Loan:
    stream: EmbeddedStream
    stanzas: int  # that the other node has got
    until: float


class Resuming:
    """The sessions of one worker that come from, and go to, other nodes.

    `new_stream()` makes a stream without a connection. `moved(jid)` and `came(session)` tell the rooms: of a
    full JID that goes on elsewhere, and of a session that goes on here. `taken_back(local)` is called when a user's
    session was lent, and nobody has said that it arrived.
    """

    def __init__(
        self,
        nodes: Nodes,
        router: Router,
        sessions: Sessions,
        promises: Promises,
        *,
        new_stream: Callable[[], EmbeddedStream],
        moved: Callable[[JID], None],
        came: Callable[[Session], None],
        taken_back: Callable[[str], None],
    ) -> None:
        self._nodes = nodes
        self._router = router
        self._sessions = sessions
        self._promises = promises
        self._new_stream = new_stream
        self._moved = moved
        self._came = came
        self._taken_back = taken_back
        self._loans: dict[str, _Loan] = {}
        self._gone: dict[str, str] = {}  # sessions that have gone to another node: to which
        sessions.place = place(nodes.own.key, nodes.worker)
        for what, take in (("resume", self._take_resume), ("resumed", self._take_done)):
            nodes.subscribe(worker_subject(nodes.own.key, nodes.worker, what), take)

    # --- here ------------------------------------------------------------

    def fetch(self, account: JID, previd: str, then: Callable[[int | None], None]) -> bool:
        """Bring a session here; False if it is of no other node that lives.

        `then` is called in any case else: when the session waits here, if it does, and may be resumed; with how many
        stanzas were handled of one that is over.
        """
        at = self._gone.get(previd)
        return self._ask(account, previd, then, self._made_by(previd) if at is None else self._home(account, at), HOPS)

    def _made_by(self, previd: str) -> tuple[str, int] | None:
        """The node and worker that have made an id; None if that is ours, or none is known that may have."""
        node, worker = previd[:_NODE_DIGITS], previd[_NODE_DIGITS : _NODE_DIGITS + _WORKER_DIGITS]
        known = next((key for key in self._nodes.members if key.startswith(node)), None)
        if known is None or known == self._nodes.own.key or not _WORKER.fullmatch(worker):
            return None
        return known, int(worker, 16)

    def _home(self, account: JID, node: str) -> tuple[str, int] | None:
        return (node, self._nodes.home(account, node)) if node in self._nodes.members else None

    def _ask(
        self,
        account: JID,
        previd: str,
        then: Callable[[int | None], None],
        where: tuple[str, int] | None,
        hops: int,
    ) -> bool:
        if where is None or where[0] == self._nodes.own.key:
            return False

        def answered(answer: Answer) -> None:
            lent = _lent(answer)
            if lent.at and hops and self._ask(account, previd, then, self._home(account, lent.at), hops - 1):
                return
            if lent.session is not None and lent.management is not None and self._adopt(account, lent):
                self._promises.when_stored(lambda: self._adopted(previd, where, then))
            else:
                then(lent.handled)

        word = encode(Resume(*self._nodes.sender, account.local, previd))
        return self._nodes.request(worker_subject(*where, "resume"), word, ASK_SECONDS, answered)

    def _adopt(self, account: JID, lent: Lent) -> bool:
        """Let the session wait here for its client; False if that cannot be."""
        assert lent.session is not None  # noqa: S101 - it was lent
        assert lent.management is not None  # noqa: S101 - only with it
        home = self._router.service.home
        try:
            user = home.user(account.local)
            if user is None or user.session(lent.session.resource) is not None:
                return False
            stream = self._new_stream()
            management = moving_management.restore(lent.management, self._sessions.limits)
            keys = self._sessions.keep_all(account, lent.management.queue)
        except StorageError as error:
            self._router.fault(error)
            return False
        session = moving.adopt(home, user, lent.session, stream)
        stream.bound(session, str(session.jid))
        self._sessions.adopt(stream, management, keys, lent.deadline)
        return True

    def _adopted(self, previd: str, where: tuple[str, int], then: Callable[[int | None], None]) -> None:
        """All of it is safe here: say so there, then to the rooms, which must not claim it earlier, then go on."""
        self._gone.pop(previd, None)

        def answered(_: Answer) -> None:
            stream = self._sessions.by_id(previd)
            if stream is not None and stream.session is not None:
                self._came(stream.session)
            then(None)

        done = encode(Done(*self._nodes.sender, previd))
        if not self._nodes.request(worker_subject(*where, "resumed"), done, ASK_SECONDS, answered):
            then(None)

    # --- where it was ------------------------------------------------------------

    def _take_resume(self, message: Message) -> bytes | None:
        reply = message.reply
        try:
            asked = decode_resume(message.payload)
        except msgspec.MsgspecError:
            return encode(Lent())
        if reply is None:
            return None
        account = JID(asked.user, self._router.domain)
        stream = None if asked.previd in self._loans else self._sessions.resumable(asked.previd, account)
        if stream is None:
            at = self._gone.get(asked.previd, "")
            return encode(Lent(handled=self._sessions.handled(asked.previd, account), at=at))
        self._sessions.await_client(stream)
        self._promises.when_safe(lambda: self._lend(asked.previd, stream, reply))
        return None

    def _lend(self, previd: str, stream: EmbeddedStream, reply: Callable[[bytes], bool]) -> None:
        stream.streams.settle()
        management, session = stream.resumption, stream.session
        if session is None or management is None or not stream.detached or session.user.anonymous:
            reply(encode(Lent()))  # it has ended meanwhile, or its client is back
            return
        moved = moving_management.snapshot(management)
        lent = Lent(moving.snapshot_session(session), moved, self._sessions.deadline_of(stream))
        if not reply(encode(lent)):
            reply(encode(Lent()))  # more than can be said
        else:
            self._sessions.lend(stream, lent=True)
            self._loans[previd] = _Loan(stream, len(moved.queue), self._router.now() + LENT_SECONDS)

    def _take_done(self, message: Message) -> bytes:
        try:
            done = decode_done(message.payload)
        except msgspec.MsgspecError:
            return b""
        loan = self._loans.pop(done.previd, None)
        if loan is not None and loan.stream.session is not None:
            node = next((key for key in self._nodes.members if key.startswith(done.node.hex())), "")
            session = loan.stream.session
            self._moved(session.jid)
            for stanza, key in self._sessions.give_away(loan.stream, loan.stanzas):
                self._pass_on(session, stanza, key)
            self._gone[done.previd] = node
            if len(self._gone) > GONE_LIMIT:
                del self._gone[next(iter(self._gone))]
        return b""

    def _pass_on(self, session: Session, stanza: bytes, key: int) -> None:
        """Bring what came for a session since it was lent to where it is now."""
        elsewhere = self._router.service.home.elsewhere
        assert elsewhere is not None  # noqa: S101 - there are other nodes

        def answered(reply: Reply, _: float) -> None:
            self._sessions.came_late(session, stanza, key, taken=reply.fate is Fate.TAKEN)

        elsewhere.ask(What.LATE, session.jid, stanza, answered, keep=key > 0)

    def sweep(self) -> None:
        """Take back what was lent and is not heard of; called 8 times a second."""
        if self._loans:
            now = self._router.now()
            for previd in [previd for previd, loan in self._loans.items() if loan.until <= now]:
                stream = self._loans.pop(previd).stream
                self._sessions.lend(stream, lent=False)
                if stream.session is not None:
                    self._taken_back(stream.session.user.local)


def _lent(answer: Answer) -> Lent:
    if isinstance(answer, bytes):
        try:
            return decode_lent(answer)
        except msgspec.MsgspecError:
            pass
    return Lent()

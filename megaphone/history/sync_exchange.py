"""The exchange about one room: what is answered to each message, in each state.

What a peer says is an answer only to what we have asked: in which states a message is heeded, `HEEDED` says; else it
is late, or a lie, and is passed over. Questions are answered in every state. Of what the peer could draw out for ever,
everything has an end: questions without an answer that helps (`MAX_STRIKES`), tables of symbols (`MAX_TABLES`),
reading a whole set (`Budget.spend`), entries that are not what they should be (`Budget.fault`).
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from megaphone.errors import HistoryError
from megaphone.history import batch as batches
from megaphone.history import digest as digests
from megaphone.history import sync_repair as repair
from megaphone.history.answers import Refusal
from megaphone.history.clock import day
from megaphone.history.messages import (
    MAX_HEADS,
    MAX_WANTED,
    PAGE_BYTES,
    Batches,
    Days,
    Get,
    Head,
    Heads,
    Info,
    Interested,
    ManifestOf,
    Message,
    More,
    Proofs,
    Same,
    Symbols,
    Unknown,
    Want,
    WantProofs,
)
from megaphone.history.octets import malformed
from megaphone.history.sync_answers import pages
from megaphone.history.sync_lacks import known_by
from megaphone.history.sync_topic import WAITING, State, Topic, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from megaphone.history.batch import Batch
    from megaphone.history.digest import Digest
    from megaphone.history.entry import Origin
    from megaphone.history.messages import Exclusion
    from megaphone.history.sync_budget import Budget

NEWEST: Final = 64
"""Entries of the page with which a cold join begins."""
ANSWER_MS: Final = 10_000
"""How long an answer may take; every message about the room starts it again."""
AGAIN_MS: Final = 2_000
"""How long after an exchange the digests may be compared again."""
LATER_MS: Final = 30_000
"""The same after an exchange that has not helped; doubled each time, up to an hour."""
LATEST_MS: Final = 3_600_000
MAX_STRIKES: Final = 4
MAX_TABLES: Final = 32
MAX_TAIL: Final = 8192
"""Entries whose ids are added up, to see whether the heads explain all that digests differ in."""
MAX_PROOFS: Final = 16
"""Told in one go."""
FAULTS: Final = frozenset({Refusal.MALFORMED, Refusal.FORGED_AUTHOR, Refusal.TOO_LARGE})
"""Refusals that no honest peer ever gets."""

Answer: TypeAlias = "list[Message]"

_ANY: Final = frozenset(State)
_ASKED: Final = WAITING | {State.SETTLED}


class Exchange:
    """What happens about one room in a conversation."""

    def __init__(self, topic: Topic, peer: Origin, budget: Budget) -> None:
        self.topic = topic
        self._peer = peer
        self._budget = budget
        self._told_version = -1

    def hear(self, message: Message, now_ms: int) -> Answer:
        """Return what is said to a message about this room. HistoryError: the peer lies, and nobody need hear more."""
        answer = HEEDED.get(type(message))
        if answer is None or self.topic.state not in answer[0]:
            return []
        self.topic.is_interested = not isinstance(message, Unknown)
        said = answer[1](self, message, now_ms)
        if self.topic.state in WAITING:
            self.topic.due_ms = now_ms + ANSWER_MS
        return [*self.proofs(), *said]

    # --- asking ------------------------------------------------------------------------

    def offer(self, now_ms: int, *, is_end: bool = False, is_answer: bool = False) -> Answer:
        """Say what we have, so that the peer says what we lack, and asks for what it lacks."""
        topic = self.topic
        if not topic.digest().entries and not topic.log.exclusions and not is_end and not is_answer:
            return self._ask(State.OFFERED, Interested(topic.room, topic.window), now_ms)
        heads = topic.heads(is_end=is_end, is_answer=is_answer)
        topic.offered = heads.digest
        topic.is_live = False
        return self._ask(State.OFFERED, heads, now_ms)

    def pull(self, now_ms: int, *, only_contents: bool = False) -> Answer:
        """Ask for what is lacking, if the peer may have it; with equal digests that can only be contents."""
        question = self.topic.lacks.ask(self.topic.ref, only_contents=only_contents)
        return [] if question is None else self._ask(State.PULLING, question, now_ms)

    def proofs(self) -> Answer:
        """Tell the proofs that the peer does not know, or of which it has a worse one."""
        topic = self.topic
        version = topic.replica.version(topic.room)
        if not topic.is_interested or version == self._told_version:
            return []
        said: Answer = []
        for origin, (seq, proof) in topic.log.exclusions.items():
            told = topic.told.get(origin)
            if told is None or (told[0] >= seq and told != (seq, mark(proof))):
                if len(said) == MAX_PROOFS:
                    return said
                topic.told[origin] = seq, mark(proof)
                said.append(Proofs(topic.ref, proof))
        self._told_version = version
        return said

    def give_up(self, now_ms: int) -> Answer:
        """End an exchange that does not help, and try again much later."""
        topic = self.topic
        topic.settle(None)
        topic.failures += 1
        topic.due_ms = now_ms + min(LATEST_MS, LATER_MS << min(topic.failures, 10))
        return []

    def _ask(self, state: State, question: Message, now_ms: int) -> Answer:
        """Say something to which an answer is waited for."""
        topic = self.topic
        topic.strikes = 0 if topic.has_progressed else topic.strikes + 1
        if topic.strikes > MAX_STRIKES:
            return self.give_up(now_ms)
        topic.has_progressed = False
        topic.state = state
        topic.due_ms = now_ms + ANSWER_MS
        return [question]

    def _wait_for_peer(self, now_ms: int) -> None:
        """It is the peer's turn; if it says nothing, we compare again."""
        self.topic.settle(None)
        self.topic.due_ms = now_ms + ANSWER_MS

    # --- comparing ---------------------------------------------------------------------

    def on_heads(self, message: Heads, now_ms: int) -> Answer:
        """Compare what the peer has with what we have."""
        topic = self.topic
        if topic.state is State.OFFERED and not message.is_answer and topic.replica.origin < self._peer:
            return []  # both have spoken at once: the peer answers ours
        topic.peer_from_day = message.from_day
        topic.peer_has_gaps = message.has_gaps
        if message.from_day < topic.window:
            return self.offer(now_ms, is_answer=True)  # the later day counts: the peer compares
        ours = topic.digest()
        topic.lacks.hear(message.heads, message.digest)
        accusing = self._compare_exclusions(message.exclusions)
        if ours == message.digest:
            topic.confirm(ours)
            return [Same(topic.ref), *accusing, *self.pull(now_ms, only_contents=True)]
        if not ours.entries and not topic.log.exclusions:
            return [*accusing, *self.offer(now_ms)]
        surplus, tail = self._surplus(message)
        found, is_all = pages(chain.from_iterable(surplus))
        question = topic.lacks.ask(topic.ref)
        if question is not None:
            said = [*accusing, *self._pages(found, None), *self._ask(State.PULLING, question, now_ms)]
            topic.owes_word = True
            return said
        if is_all and tail is not None and ours.minus(tail) == message.digest:
            said = [*accusing, *self._pages(found, ours)]
            topic.settle(ours)
            topic.due_ms = now_ms + AGAIN_MS
            return said
        self._wait_for_peer(now_ms)
        if found[0] or accusing or message.has_gaps or self._differ_in_exclusions(message.exclusions):
            return [*accusing, *self._pages(found, ours)]
        return self._begin_repair(ours, message.digest, now_ms)

    def on_interested(self, message: Interested, now_ms: int) -> Answer:
        """Show the newest page to a peer that has nothing, and say what the rest is."""
        topic = self.topic
        topic.peer_from_day = message.from_day
        topic.told = {}
        self._told_version = -1
        ours = topic.offered = topic.digest()
        page = [placed for placed in topic.log.page(NEWEST) if day(placed.entry.clock) >= topic.window]
        found, _ = pages(topic.vault().page(page), 1, PAGE_BYTES // 2)
        heads = tuple(Head(origin, seq) for origin, seq in list(topic.log.heads().items())[: MAX_HEADS // 2])
        topic.settle(ours)
        topic.due_ms = now_ms + ANSWER_MS
        manifest: Answer = [ManifestOf(topic.log.manifest)] if message.wants_manifest else []
        return [*manifest, *self.proofs(), Info(topic.room, topic.window, ours, heads, tuple(found[0]))]

    def on_info(self, message: Info, now_ms: int) -> Answer:
        """Take the newest page, and ask for the rest."""
        topic = self.topic
        topic.peer_from_day = message.from_day
        topic.lacks.hear(message.heads, message.digest)
        self._take(message.batches, now_ms)
        topic.owes_word = True
        return self._go_on(message.digest, now_ms)

    def on_same(self, _message: Same, now_ms: int) -> Answer:
        """Note that both have the same; what has no content here, the peer may have."""
        topic = self.topic
        if topic.offered is None:
            return []
        topic.confirm(topic.offered)
        topic.due_ms = now_ms + AGAIN_MS
        return self.pull(now_ms, only_contents=True)

    def on_unknown(self, _message: Unknown, _now_ms: int) -> Answer:
        """Say no more of this room, until the peer does."""
        self.topic.settle(None)
        self.topic.state = State.ABSENT
        return []

    def _go_on(self, theirs: Digest, now_ms: int) -> Answer:
        """Compare after an answer: it is over, or there is more to ask for, or to find out."""
        topic = self.topic
        ours = topic.digest()
        if ours != theirs:
            said = self.pull(now_ms)
            topic.owes_word = topic.owes_word or bool(said)
            if said or topic.state is State.SETTLED:
                return said
            if topic.peer_has_gaps:
                topic.peer_has_gaps = False
                self._wait_for_peer(now_ms)
                return []
            if topic.is_live:  # what is new has crossed with this answer: look again when it has arrived
                topic.settle(None)
                topic.due_ms = now_ms + AGAIN_MS
                return []
            return self.offer(now_ms)
        word: Answer = [Same(topic.ref)] if topic.owes_word else []
        topic.confirm(ours)
        topic.due_ms = now_ms + AGAIN_MS
        return word + self.pull(now_ms, only_contents=True)

    # --- entries -----------------------------------------------------------------------

    def on_get(self, message: Get, now_ms: int) -> Answer:
        """Send what is here of what the peer asks for."""
        topic = self.topic
        known, vault = known_by(topic.log), topic.vault()
        heads = topic.log.heads()
        found, is_all = pages(
            batch
            for name, first, last, is_pinned in message.ranges
            if (origin := known.get(name)) is not None
            for batch in vault.backwards(
                origin, first, last or heads.get(origin, 0), is_pinned=is_pinned, from_day=message.from_day
            )
        )
        said = self._pages(found, topic.digest(), is_all=is_all)
        if topic.state is State.OFFERED:
            self._wait_for_peer(now_ms)
            question = self.pull(now_ms)
            topic.owes_word = bool(question)
            return said + question
        if topic.state is State.SETTLED and topic.agreed is None:
            topic.due_ms = now_ms + ANSWER_MS
        return said

    def on_batches(self, message: Batches, now_ms: int) -> Answer:
        """Take entries."""
        topic = self.topic
        self._take(message.batches, now_ms)
        if message.digest is None:
            return []
        if topic.state is State.SETTLED:
            if topic.agreed is not None or topic.digest() != message.digest:
                return []
            topic.confirm(message.digest)
            topic.due_ms = now_ms + AGAIN_MS
            return [Same(topic.ref)]
        if message.is_complete and topic.state is State.PULLING:
            topic.lacks.conclude(message.digest)
        return self._go_on(message.digest, now_ms)

    def accept(self, batch: Batch, now_ms: int) -> bool:
        """Take one batch; returns whether there is something new in it."""
        topic = self.topic
        accepted = topic.replica.accept(batch, now_ms)
        is_lie = batch.seal and accepted.refusal is Refusal.BAD_SEAL
        if accepted.refusal in FAULTS or is_lie:
            self._budget.fault(str(accepted.refusal))
        if accepted.missing and topic.gap_since_ms is None:
            topic.gap_since_ms = now_ms
        topic.share(accepted.new)
        helped = bool(accepted.new or accepted.restored or accepted.fork)
        topic.has_progressed = topic.has_progressed or helped
        if accepted.restored:
            topic.replica.on_batch(batch, self._peer)  # others may lack it too, and no digest tells
        return bool(accepted.new)

    def _take(self, found: Iterable[bytes], now_ms: int) -> None:
        for data in found:
            batch = batches.decode(data)
            if batch.room != self.topic.room:
                raise malformed("a batch of another room")
            self.accept(batch, now_ms)

    def _surplus(self, message: Heads) -> tuple[list[Iterator[Batch]], Digest | None]:
        """Return what the heads of the peer show it to lack, and the digest of that unless it is much."""
        topic, window = self.topic, self.topic.window
        known, vault = known_by(topic.log), topic.vault()
        theirs = {known.get(name): seq for name, seq in message.heads}
        cuts = {known.get(each.origin): each.seq for each in message.exclusions}
        count, ids, found = 0, [], []
        for origin, seq in topic.log.heads().items():
            first, last = theirs.get(origin, 0) + 1, min(seq, cuts.get(origin, seq + 1) - 1)
            if first > last:
                continue
            found.append(vault.backwards(origin, first, last, from_day=window))
            count += last - first + 1
            if count <= MAX_TAIL:
                ids += topic.counting(vault.entries(origin, first, last))
        return found, digests.of(ids) if count <= MAX_TAIL else None

    def _pages(self, found: list[list[bytes]], digest: Digest | None, *, is_all: bool = False) -> Answer:
        """Return an answer's messages; with the digest, if nothing else is still to be said after it."""
        topic = self.topic
        if digest is None:
            return [Batches(topic.ref, 0, None, False, tuple(page)) for page in found if page]
        topic.offered = digest
        *firsts, last = found
        return [
            *(Batches(topic.ref, 0, None, False, tuple(page)) for page in firsts),
            Batches(topic.ref, topic.window, digest, is_all, tuple(last)),
        ]

    # --- proofs of forks ---------------------------------------------------------------

    def on_proofs(self, message: Proofs, now_ms: int) -> Answer:
        """Exclude an origin, if it is proven that it forked its feed."""
        topic = self.topic
        before = topic.digest()
        try:
            proof, is_new = topic.replica.convict(topic.room, message.proof)
        except HistoryError as error:
            if error.reason != Refusal.UNKNOWN_ORIGIN:
                raise
            return []
        topic.told[proof.origin] = proof.seq, mark(message.proof)
        self._told_version = -1
        if not is_new:
            return []
        topic.has_progressed = True
        is_changed = topic.digest() != before
        return self.offer(now_ms) if is_changed and topic.state is State.SETTLED else []

    def on_want_proofs(self, message: WantProofs, _now_ms: int) -> Answer:
        """Tell the proofs that the peer asks for."""
        topic = self.topic
        known = known_by(topic.log)
        said: Answer = []
        for name in message.origins[:MAX_PROOFS]:
            origin = known.get(name)
            if origin is not None and origin in topic.log.exclusions:
                seq, proof = topic.log.exclusions[origin]
                topic.told[origin] = seq, mark(proof)
                said.append(Proofs(topic.ref, proof))
        return said

    def _compare_exclusions(self, exclusions: Iterable[Exclusion]) -> Answer:
        """Note what the peer knows, and ask for proofs that say more than ours. Ours are told anyway."""
        topic = self.topic
        known = known_by(topic.log)
        topic.told = {}
        self._told_version = -1
        wanted = []
        for name, seq, mark_ in exclusions:
            origin = known.get(name)
            if origin is not None:
                topic.told[origin] = seq, mark_
            if origin is None or origin not in topic.log.exclusions or topic.log.exclusions[origin][0] > seq:
                wanted.append(name)
        return [WantProofs(topic.ref, tuple(wanted[:MAX_PROOFS]))] if wanted else []

    def _differ_in_exclusions(self, exclusions: Iterable[Exclusion]) -> bool:
        """Tell whether the peer has others than we have."""
        known = known_by(self.topic.log)
        theirs = {known.get(name): seq for name, seq, _ in exclusions}
        return theirs != {origin: seq for origin, (seq, _) in self.topic.log.exclusions.items()}

    # --- what heads do not tell --------------------------------------------------------

    def _begin_repair(self, ours: Digest, theirs: Digest, now_ms: int) -> Answer:
        """Say symbols of our set, or the digests of the days first."""
        topic = self.topic
        if max(ours.entries, theirs.entries) > repair.MAX_SET:
            return [repair.days_of(topic)]
        if not self._budget.spend(now_ms):
            return self._pages([[]], ours, is_all=True)
        topic.giver = repair.Giver(topic, repair.scope_of(topic.window, ours, theirs))
        symbols = topic.giver.symbols(topic, repair.first_count(ours, theirs))
        return [symbols] if symbols is not None else []

    def on_days(self, message: Days, now_ms: int) -> Answer:
        """Ask for the symbols of days that differ."""
        question = repair.differing(self.topic, message)
        return [] if question is None else self._ask(State.REPAIRING, question, now_ms)

    def on_more(self, message: More, now_ms: int) -> Answer:
        """Say more symbols, or those of something else."""
        topic = self.topic
        giver = topic.giver
        if message.first == 0 and message.count and self._budget.spend(now_ms):
            giver = topic.giver = repair.Giver(topic, message.scope)
        symbols = None
        if giver is not None and (giver.scope, giver.made) == (message.scope, message.first):
            symbols = giver.symbols(topic, message.count)
        if topic.state is State.SETTLED:
            topic.due_ms = now_ms + ANSWER_MS
        return [symbols] if symbols is not None else self._pages([[]], topic.digest(), is_all=True)

    def on_symbols(self, message: Symbols, now_ms: int) -> Answer:
        """Find out what differs; ask for what we lack, and send what the peer lacks."""
        topic = self.topic
        topic.tables += 1
        if topic.tables > MAX_TABLES:
            return self.give_up(now_ms)
        if message.first == 0:
            if not self._budget.spend(now_ms):
                return self.give_up(now_ms)
            topic.finder = repair.Finder(topic, message)
        finder = topic.finder
        if finder is None or not finder.expects(message):
            return []
        finder.hear(message)
        topic.state = State.REPAIRING
        if not finder.is_complete:
            question = finder.next(topic)
            return [question] if question is not None else self.give_up(now_ms)
        theirs, ours = finder.differences()
        topic.finder = None
        found, _ = pages(repair.batches_of(topic, ours, finder.scope) if ours else ())
        if theirs:
            topic.owes_word = True
            want = Want(topic.ref, tuple(theirs[:MAX_WANTED]))
            return [*self._pages(found, None), *self._ask(State.REPAIRING, want, now_ms)]
        if ours:
            said = self._pages(found, topic.digest())
            self._wait_for_peer(now_ms)
            return said
        return self.offer(now_ms)

    def on_want(self, message: Want, now_ms: int) -> Answer:
        """Send entries that a table has shown the peer to lack."""
        topic = self.topic
        if not self._budget.spend(now_ms):
            return self._pages([[]], topic.digest())
        scope = topic.giver.scope if topic.giver is not None else None
        found, is_all = pages(repair.batches_of(topic, message.prefixes, scope))
        if topic.state is State.SETTLED:
            topic.due_ms = now_ms + ANSWER_MS
        return self._pages(found, topic.digest(), is_all=is_all)


_Answering: TypeAlias = "Callable[[Exchange, Message, int], Answer]"

HEEDED: Final = cast(
    "dict[type, tuple[frozenset[State], _Answering]]",
    {
        # questions
        Heads: (_ANY, Exchange.on_heads),
        Interested: (_ANY, Exchange.on_interested),
        Get: (_ANY, Exchange.on_get),
        More: (_ASKED, Exchange.on_more),
        Want: (_ASKED, Exchange.on_want),
        WantProofs: (_ANY, Exchange.on_want_proofs),
        # answers
        Same: (_ASKED, Exchange.on_same),
        Unknown: (frozenset({State.OFFERED}), Exchange.on_unknown),
        Info: (frozenset({State.OFFERED}), Exchange.on_info),
        Days: (frozenset({State.OFFERED, State.REPAIRING}), Exchange.on_days),
        Symbols: (frozenset({State.OFFERED, State.REPAIRING}), Exchange.on_symbols),
        # either
        Batches: (_ASKED, Exchange.on_batches),
        Proofs: (_ANY, Exchange.on_proofs),
    },
)

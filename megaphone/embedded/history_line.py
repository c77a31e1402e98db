"""A line to one worker of another node: the conversation about histories, and what of it is under way.

Frames go one after the other; only so many are not taken yet. When one is lost, or too much waits, the conversation is
given up, and begun again later: what was on its way is found out anew.

    node with the lower key     start ─► Talk(number) … ◄─ Talk(number) … ─► given up ─► start, another number
    node with the higher key    Again ─► until a Talk comes; a Talk with another number begins anew
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from megaphone.bus.tokens import worker_subject
from megaphone.embedded import history_frames as frames
from megaphone.history.sync import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Answer
    from megaphone.embedded.nodes import Nodes
    from megaphone.history.entry import Origin
    from megaphone.history.log import Log
    from megaphone.history.replica import Replica

UNDER_WAY: Final = 16  # frames that are not taken yet
UNDER_WAY_BYTES: Final = 2_097_152
WAITING_LIMIT_BYTES: Final = 33_554_432
ANSWER_SECONDS: Final = 15.0
AGAIN_SECONDS: Final = 5.0  # from giving up to beginning anew
FIRST_SECONDS: Final = 1.0  # that the node with the higher key waits for the other one to begin
TICK_SECONDS: Final = 1.0
HISTORY: Final = "history"
_FRAME_COST_BYTES: Final = 128


class Line:
    """To worker `worker` of the node with the key `node`. `now` gives a steady clock's seconds, `now_ms` Unix time."""

    def __init__(
        self,
        nodes: Nodes,
        replica: Replica,
        node: Origin,
        worker: int,
        *,
        now: Callable[[], float],
        now_ms: Callable[[], int],
        offers: Callable[[Log], bool],
        begun: Callable[[Line], None],
        lost: Callable[[], None],
    ) -> None:
        self.node = node
        self.worker = worker
        self.conversation: Conversation | None = None
        self._nodes = nodes
        self._replica = replica
        self._now = now
        self._now_ms = now_ms
        self._offers = offers
        self._begun = begun
        self._lost = lost
        self._subject = worker_subject(node.hex(), worker, HISTORY)
        self._leads = replica.origin < node
        self._number = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._under_way = 0
        self._under_way_bytes = 0
        self._life = 0  # answers to what was said before the line was lost do not count
        self._due = self._now() + (0.0 if self._leads else FIRST_SECONDS)
        self._tick_due = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def sweep(self) -> None:
        """Do what is due."""
        now = self._now()
        if self.conversation is None:
            if now >= self._due:
                self._begin(now)
        elif self.conversation.closed:
            self.lose()
        elif now >= self._tick_due and self.is_quiet:
            self._tick_due = now + TICK_SECONDS
            self._talk(self.conversation, self.conversation.tick(self._now_ms()))
        self._pump()

    def say(self, frame: frames.Frame) -> None:
        """Send a frame, behind those that wait."""
        data = frames.encode(frame)
        self._waiting.append(data)
        self._waiting_bytes += len(data) + _FRAME_COST_BYTES
        if self._waiting_bytes > WAITING_LIMIT_BYTES:
            self.lose()
        else:
            self._pump()

    def lose(self) -> None:
        """Give the conversation up, with all that waits; it begins anew later."""
        if self.conversation is not None:
            self._lost()
        self.conversation = None
        self._waiting.clear()
        self._waiting_bytes = self._under_way = self._under_way_bytes = 0
        self._life += 1
        self._due = self._now() + AGAIN_SECONDS

    # --- the conversation ------------------------------------------------------------

    def push(self, pushed: Callable[[Conversation], list[bytes]]) -> bool:
        """Say what a conversation makes of something; False if that is nothing."""
        conversation = self.conversation
        if conversation is None:
            return False
        said = pushed(conversation)
        self._talk(conversation, said)
        return bool(said)

    def take(self, frame: frames.Talk) -> None:
        """Take a message of the conversation."""
        if frame.number != self._number or self.conversation is None:
            if self._leads:
                return  # of a conversation that was given up
            self._number = frame.number
            self._make()
        self.push(lambda conversation: conversation.receive(frame.message, self._now_ms()))

    def take_again(self) -> None:
        """The other side has none: begin."""
        if self._leads:
            self._begin(self._now())

    def _begin(self, now: float) -> None:
        self._due = now + AGAIN_SECONDS
        sender, worker, _ = self._nodes.sender
        if not self._leads:
            self.say(frames.Again(sender, worker))
            return
        self._number = int.from_bytes(os.urandom(7))
        self._make()

    def _make(self) -> None:
        conversation = self.conversation = Conversation(self._replica, self.node, self._offers)
        self._tick_due = self._now() + TICK_SECONDS
        self._begun(self)
        self._talk(conversation, conversation.start(self._now_ms()))

    def _talk(self, conversation: Conversation, messages: list[bytes]) -> None:
        sender, worker, _ = self._nodes.sender
        for message in messages:
            if self.conversation is conversation:
                self.say(frames.Talk(sender, worker, self._number, message))

    # --- frames ------------------------------------------------------------

    def _pump(self) -> None:
        while self._waiting and self._under_way < UNDER_WAY and self._under_way_bytes < UNDER_WAY_BYTES:
            data = self._waiting[0]
            life, size = self._life, len(data)

            def answered(answer: Answer, life: int = life, size: int = size) -> None:
                if life == self._life:
                    self._taken(answer, size)

            if not self._nodes.request(self._subject, data, ANSWER_SECONDS, answered):
                return  # NATS is away, or takes no more: the next sweep tries again
            self._waiting.popleft()
            self._waiting_bytes -= size + _FRAME_COST_BYTES
            self._under_way += 1
            self._under_way_bytes += size

    def _taken(self, answer: Answer, size: int) -> None:
        self._under_way -= 1
        self._under_way_bytes -= size
        if isinstance(answer, bytes):
            self._pump()
        else:
            self.lose()

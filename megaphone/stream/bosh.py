"""One BOSH session as a state machine (XEP-0124, XEP-0206): requests in any order, one XMPP stream each way.

    client ── rid 8 ──► early ─┐ rid 7 has come                      ┌─► stream  the client's elements, once, in order
    client ── rid 7 ───────────┴► in order ──► held (`hold` of them) ┤
    client ── rid 7 again ──► its answer, if there was one           │
    client ◄── answer to the oldest held ◄── outbox ◄────────────────┴── stream  the server's elements, each once

A request is a number that the caller gives. What is to be done comes out of `take_answers` and `take_stream`; times are
seconds of any clock that does not go backwards, and `deadline` says when `take_time` has something to do.

    opening ─ features, or OPENING_SECONDS ─► open ─ terminate, error, inactivity, stream's end ─► ended ─► forgotten
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone.stream.bosh_body import terminal_body, write_body
from megaphone.stream.bosh_keys import KeySequence, is_same
from megaphone.stream.bosh_server import ServerStream, condition_of
from megaphone.stream.bosh_terms import Terms, stream_header
from megaphone.wire.writer import STREAM_END, escape

if TYPE_CHECKING:
    from megaphone.stream.bosh_body import Body
    from megaphone.stream.bosh_terms import BoshLimits

OPENING_SECONDS: Final = 5.0  # that the first answer waits for the server's features
TOLD_SECONDS: Final = 10.0  # that an ended session can be asked for its last answers once more
# for a connection that nobody should listen to any more, as its request came again on another (section 17.3)
_ASKED_AGAIN = write_body([("type", "error")])
_ANSWER_BYTES = 262_144  # of elements in one answer, unless the first alone is larger


@dataclass(slots=True)
class _Held:
    """A request in its turn, not answered. `request` is None once its connection is gone: it will come again."""

    request: int | None
    since: float
    key: str | None


class Session:
    """One session, from its first request on. After every method that takes `now` the outputs want a look."""

    def __init__(self, sid: str, creation: Body, request: int, limits: BoshLimits, now: float) -> None:
        self.sid = sid
        self._creation = creation
        self._limits = limits
        self._terms = Terms(creation, limits)
        self._wait, self._hold, self._requests = self._terms.wait, self._terms.hold, self._terms.requests
        self._keys = KeySequence(creation.new_key)
        self._opening, self._restarted = True, False
        self._next_rid = creation.rid + 1
        self._held: dict[int, _Held] = {creation.rid: _Held(request, now, creation.key)}  # in the order of rids
        self._early: dict[int, tuple[Body, int, float]] = {}
        self._answers: OrderedDict[int, tuple[str | None, bytes]] = OrderedDict()
        self._last_new: tuple[float, bool] = (-math.inf, False)  # of the last new request: when, whether it was empty
        self._last_carried = True  # whether the last answer had a payload
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._server = ServerStream()
        self._to_stream = [stream_header(creation), creation.elements]
        self._to_answer: list[tuple[int, bytes]] = []
        self._idle_since = now
        self._pause = 0.0
        self._final: bytes | None = None  # the body of whoever is told first that the session has ended
        self._forget_at = math.inf
        self.stalled = False  # the stream takes nothing more for now: do not ask for more
        self.condition: str | None = None  # how it has ended; None: in order
        self.expired = False

    # --- outputs ------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the session is over: its stream is to be closed when what `take_stream` gives has been written."""
        return self._final is not None

    def forgotten(self, now: float) -> bool:
        """Whether nobody needs to know this session any more."""
        return self.ended and now >= self._forget_at

    @property
    def has_room(self) -> bool:
        """Whether the server's stream is to be read on."""
        return self._outbox_bytes < self._limits.outbox_bytes

    def take_stream(self) -> bytes:
        """Return what is to be written to the XMPP stream, once."""
        said, self._to_stream = b"".join(self._to_stream), []
        return said

    def take_answers(self) -> list[tuple[int, bytes]]:
        """Return the requests to answer now, each with its body, once."""
        answers, self._to_answer = self._to_answer, []
        return answers

    @property
    def deadline(self) -> float:
        """When `take_time` is to be called."""
        if self.ended:
            return self._forget_at
        if self._opening:
            return self._idle_since + OPENING_SECONDS
        times = [held.since + self._wait for held in self._held.values() if held.request is not None]
        times += [since + self._limits.inactivity for _, _, since in self._early.values()]
        return min(times, default=self._idle_since + (self._pause or self._limits.inactivity))

    # --- from the client ------------------------------------------------------------

    def take_request(self, body: Body, request: int, now: float) -> None:
        """Take one request of this session, in whatever order they come, new or repeated."""
        rid = body.rid
        if rid in self._answers and is_same(self._answers[rid][0], body.key):
            self._to_answer.append((request, self._answers[rid][1]))  # section 14.3: the same once more
            self._note_idle(now)
        elif self.ended:
            self._tell_end(request, now)
        elif rid in self._held and is_same(self._held[rid].key, body.key):
            self._replace(rid, request, now)
        elif rid in self._early and is_same(self._early[rid][0].key, body.key):
            early, former, since = self._early[rid]
            self._early[rid] = early, request, since
            self._to_answer.append((former, _ASKED_AGAIN))
        elif not self._next_rid <= rid < self._next_rid + self._window(body) or rid in self._early:
            self._break("item-not-found", request, now)
        elif self._open_requests() >= self._window(body) or len(self._held) > self._requests:
            self._break("policy-violation", request, now)
        else:
            self._early[rid] = body, request, now
            while self._next_rid in self._early and not self.ended:
                self._take_next(now)
        self._settle(now)

    def take_gone(self, request: int, now: float) -> None:
        """Nobody is there any more to hear the answer to a request; who sent it will send it again."""
        for held in self._held.values():
            if held.request == request:
                held.request = None
                self._note_idle(now)

    def _window(self, body: Body) -> int:
        """Whoever pauses or terminates may have one request more (section 12)."""
        return self._requests + (body.terminates or body.pause is not None)

    def _open_requests(self) -> int:
        return len(self._early) + sum(held.request is not None for held in self._held.values())

    def _replace(self, rid: int, request: int, now: float) -> None:
        held = self._held[rid]
        if held.request is not None:
            self._to_answer.append((held.request, _ASKED_AGAIN))
        held.request, held.since = request, now

    def _take_next(self, now: float) -> None:
        """Take the request whose turn it is."""
        rid = self._next_rid
        body, request, _ = self._early.pop(rid)
        self._next_rid += 1
        self._held[rid] = _Held(request, now, body.key)
        if not self._keys.take(body):
            self._end("item-not-found", now)
            return
        if self._is_too_fast(body, now):
            self._end("policy-violation", now)
            return
        if body.ack is not None:
            for answered in [each for each in self._answers if each <= body.ack]:
                del self._answers[answered]
        self._pause = 0.0
        if body.restarts:
            self._restarted = True
            self._to_stream.append(stream_header(self._creation))
        # whoever asks is alive, as whoever sends white space is (RFC 6120 section 4.6.1); not before SASL has ended
        self._to_stream.append(b" " if self._restarted and body.is_empty else body.elements)
        if body.terminates:
            self._to_stream.append(STREAM_END)
            self._end(None, now)
        elif body.pause is not None:
            self._take_pause(body.pause, now)

    def _is_too_fast(self, body: Body, now: float) -> bool:
        """Whether an empty request comes sooner after the last one than `polling` allows (section 12)."""
        (when, was_empty), self._last_new = self._last_new, (now, body.is_empty)
        if not body.is_empty or now - when >= self._limits.polling:
            return False
        if self._hold == 0:
            return was_empty and not self._last_carried
        # without those that have come before their turn: if there are any, this one is not the last that was sent
        return sum(held.request is not None for held in self._held.values()) >= self._requests

    def _take_pause(self, seconds: int, now: float) -> None:
        """Answer all that is open, with nothing, and be patient (section 10)."""
        if seconds > self._limits.pause:
            self._end("policy-violation", now)
            return
        self._pause = float(seconds)
        for rid in list(self._held):
            self._answer(rid, b"", now)

    # --- from the server ------------------------------------------------------------

    def take_data(self, data: bytes, now: float) -> None:
        """Take bytes of the server's stream, cut anywhere."""
        if self.ended:
            return
        try:
            elements = self._server.take(data)
        except ValueError:
            self._end("undefined-condition", now)
            return
        for element in elements:
            self._outbox.append(element)
            self._outbox_bytes += len(element)
        if self._server.ended:
            self._end(self._condition(), now, self._server.error)
        self._settle(now)

    def take_end(self, now: float) -> None:
        """The server's stream has ended, with or without a goodbye."""
        if not self.ended:
            condition = self._condition() if self._server.error else "remote-connection-failed"
            self._end(condition, now, self._server.error)

    def _condition(self) -> str | None:
        """The condition (section 17.2) of the stream error that the server has ended the stream with, if any."""
        condition = condition_of(self._server.error)
        if condition == "host-unknown" and not self._creation.to:
            return "improper-addressing"
        if condition == "system-shutdown" and self._limits.see_other_uri:
            return "see-other-uri"
        return condition

    # --- time ------------------------------------------------------------

    def take_time(self, now: float) -> None:
        """Do what is due: answer who has waited long enough, give up on who has not asked."""
        if self.ended or now < self.deadline:
            return
        if self._opening:
            self._answer(next(iter(self._held)), self._next_payload(), now)
        elif not self._open_requests():
            self.expired = True
            self._end(None, now)
            self._forget_at = now
        elif any(now >= since + self._limits.inactivity for _, _, since in self._early.values()):
            self._end("item-not-found", now)  # what comes before them never came
        else:
            due = [
                rid for rid, each in self._held.items() if each.request is not None and now >= each.since + self._wait
            ]
            for rid in [each for each in self._held if each <= max(due)]:
                self._answer(rid, self._next_payload(), now)

    # --- answers ------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Answer what can be answered, the oldest first."""
        while self._held and not self.ended:
            rid, held = next(iter(self._held.items()))
            if self._opening:
                if not self._outbox:
                    return
            elif self._outbox:
                if held.request is None and len(self._held) <= self._hold:
                    return
            elif self.stalled or len(self._held) <= self._hold:
                return
            self._answer(rid, self._next_payload(), now)

    def settle(self, now: float) -> None:
        """Go on after `stalled` has changed."""
        self._settle(now)

    def _next_payload(self) -> bytes:
        taken: list[bytes] = []
        length = 0
        while self._outbox and (not taken or length + len(self._outbox[0]) <= _ANSWER_BYTES):
            taken.append(self._outbox.popleft())
            length += len(taken[-1])
        self._outbox_bytes -= length
        return b"".join(taken)

    def _answer(self, rid: int, payload: bytes, now: float) -> None:
        attributes: list[tuple[str, str]] = []
        if self._opening:
            attributes = self._terms.attributes(self.sid, rid, self._server)
            self._opening = False
        elif self._creation.ack is not None and self._next_rid - 1 > rid:
            attributes = [("ack", str(self._next_rid - 1))]
        self._last_carried = bool(payload)
        self._send(rid, write_body(attributes, payload))
        self._note_idle(now)

    def _send(self, rid: int, body: bytes) -> None:
        """Answer with `body`, and keep it for who did not get it: as many as one may have open, and a pause."""
        held = self._held.pop(rid)
        self._answers[rid] = held.key, body
        while len(self._answers) > self._requests + 1:
            self._answers.popitem(last=False)
        if held.request is not None:
            self._to_answer.append((held.request, body))

    def _note_idle(self, now: float) -> None:
        if not self._open_requests():
            self._idle_since = now

    # --- the end ------------------------------------------------------------

    def _break(self, condition: str, request: int, now: float) -> None:
        """End the session for a request that has no place in it."""
        self._end(condition, now)
        self._tell_end(request, now)

    def _end(self, condition: str | None, now: float, error: bytes = b"") -> None:
        """End the session: the oldest request that is open gets what is left to say, all others the end."""
        self.condition = condition
        payload = b"".join(self._outbox) + error
        if condition == "see-other-uri":
            payload += b"<uri>%b</uri>" % escape(self._limits.see_other_uri)
        self._outbox.clear()
        self._outbox_bytes = 0
        self._final = terminal_body(condition, payload)
        self._forget_at = now + self._limits.inactivity
        for rid in list(self._held):
            self._send(rid, self._say_final(now))
        for _, request, _ in self._early.values():
            self._tell_end(request, now)
        self._early.clear()

    def _say_final(self, now: float) -> bytes:
        said = self._final or b""
        self._final = terminal_body(self.condition)
        self._forget_at = now + TOLD_SECONDS
        return said

    def _tell_end(self, request: int, now: float) -> None:
        self._to_answer.append((request, self._say_final(now)))

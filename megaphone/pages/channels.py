"""What visitors say on their topics, and what is answered: a Phoenix server for three kinds of topic.

    phoenix         heartbeat
    all             every window is in it, and is told how large a page may be
    have:<page>     content · content_part     from who holds the page;    content_request, visitors_count to it
    want:<page>     content_request            from who wants it;          content · content_part to it

Each phx_join, phx_leave and heartbeat is answered with phx_reply; other events are answered only if they are refused.
Who says that a page is what it is not is put out of that topic (phx_error with the reason bad_hash) for good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import msgspec

from megaphone.pages import phoenix
from megaphone.pages.assemblies import Assemblies
from megaphone.pages.content import is_page
from megaphone.pages.limits import Addresses, Bucket
from megaphone.pages.page import Channel

if TYPE_CHECKING:
    from megaphone.pages.directory import Directory
    from megaphone.pages.fetching import Fetching
    from megaphone.pages.limits import PageLimits
    from megaphone.pages.phoenix import Message
    from megaphone.pages.visitor import Counts, Visitor

ALL = "all"
HAVE = "have:"
WANT = "want:"
LIES_LIMIT = 3  # of one visitor
LIE_COSTS_SECONDS = 2.0  # of what its address may join and request
POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1, as the next
NO_MESSAGE = 1007


class _Join(msgspec.Struct, frozen=True):
    parts: bool = False


class _Content(msgspec.Struct, frozen=True):
    content: str
    hash: str = ""


class _Part(msgspec.Struct, frozen=True):
    index: int
    count: int
    part: str
    hash: str = ""


_read_join = msgspec.json.Decoder(_Join).decode
_read_content = msgspec.json.Decoder(_Content).decode
_read_part = msgspec.json.Decoder(_Part).decode


class RefusedError(Exception):
    """What a visitor asks for is not done; `args[0]` is the reason it gets."""


class Channels:
    """The visitors of one worker and their topics."""

    def __init__(self, limits: PageLimits, directory: Directory, fetching: Fetching, counts: Counts) -> None:
        self.limits = limits
        self._directory = directory
        self._fetching = fetching
        self._counts = counts
        self._assemblies = Assemblies()
        self._joins = Addresses()
        self._requests = Addresses()

    def take(self, visitor: Visitor, text: bytes, now: float) -> None:
        """Take one message of a visitor."""
        if visitor.gone:
            return
        if not visitor.messages.take(self.limits.messages_per_second, now):
            self._counts.refused += 1
            visitor.connection.close(POLICY_VIOLATION, "too many messages")
            return
        try:
            message = phoenix.decode(visitor.version, text)
        except (ValueError, msgspec.DecodeError):
            visitor.connection.close(NO_MESSAGE, "no message of a Phoenix channel")
            return
        try:
            self._take(visitor, message, now)
        except RefusedError as error:
            visitor.send(phoenix.reply(visitor.version, message, "error", {"reason": error.args[0]}))

    def _take(self, visitor: Visitor, message: Message, now: float) -> None:
        event = message.event
        if event == phoenix.HEARTBEAT and message.topic == phoenix.PHOENIX:
            visitor.send(phoenix.reply(visitor.version, message, "ok"))
            return
        if event == phoenix.JOIN:
            self._join(visitor, message, now)
            return
        channel = visitor.channels.get(message.topic)
        if channel is None or (message.join_ref is not None and message.join_ref != channel.join_ref):
            raise RefusedError("unmatched topic")
        if event == phoenix.LEAVE:
            self._leave(channel, now)
            visitor.send(phoenix.reply(visitor.version, message, "ok"))
            visitor.push(channel, phoenix.CLOSE, {}, channel.join_ref)
        elif event == "content_request" and message.topic.startswith(WANT):
            self._request(visitor, channel, now)
        elif event in ("content", "content_part") and message.topic.startswith(HAVE):
            self._content(visitor, channel, message, now)
        else:
            raise RefusedError("unknown event")

    def gone(self, visitor: Visitor, now: float) -> None:
        """A visitor's connection has ended."""
        visitor.gone = True
        for channel in list(visitor.channels.values()):
            self._leave(channel, now)

    # --- joining and leaving ------------------------------------------------------------

    def _join(self, visitor: Visitor, message: Message, now: float) -> None:
        try:
            parts = _read_join(message.payload).parts
        except msgspec.DecodeError:
            parts = False  # an application's own parameters
        kind, _, name = message.topic.partition(":")
        if message.topic != ALL and not (kind in ("have", "want") and is_page(name)):
            raise RefusedError("unmatched topic")
        self._check_rate(visitor, visitor.joins, self.limits.joins_per_second, self._joins, now, joins=True)
        before = visitor.channels.get(message.topic)
        if before is not None:  # Phoenix does the same: the later join counts
            self._leave(before, now)
            visitor.push(before, phoenix.CLOSE, {}, before.join_ref)
        if len(visitor.channels) >= self.limits.topics_per_connection:
            self._refuse("too_many_topics")
        if kind == "have" and name in visitor.lied:
            self._refuse("bad_hash")
        page = self._directory.pages.get(name)
        if page is not None and kind == "have" and len(page.holders) >= self.limits.viewers_per_page:
            self._refuse("too_many_viewers")
        if page is not None and kind == "want" and len(page.wants) >= self.limits.wants_per_page:
            self._refuse("too_many_wants")
        if name and page is None:
            page = self._directory.page(name, now)
            if page is None:
                self._refuse("too_many_pages")
        channel = visitor.channels[message.topic] = Channel(visitor, message.topic, message.ref, page, parts)
        told = {"page_bytes": self.limits.page_bytes} if page is None else None
        visitor.send(phoenix.reply(visitor.version, message, "ok", told))
        if page is None:
            return
        if kind == "have":
            self._directory.add_holder(page, channel, now)
            self._fetching.more(page, now)
        else:
            self._directory.add_want(page, channel)

    def _leave(self, channel: Channel, now: float) -> None:
        channel.visitor.channels.pop(channel.topic, None)
        if channel.page is None:
            return
        self._assemblies.drop(channel)
        self._directory.remove_want(channel.page, channel)
        if channel.place >= 0:
            self._directory.remove_holder(channel.page, channel, now)
            self._fetching.holder_gone(channel.page, channel, now)

    def _check_rate(
        self, visitor: Visitor, own: Bucket, rate: float, addresses: Addresses, now: float, *, joins: bool
    ) -> None:
        limits = self.limits
        of_address = limits.joins_per_second_per_address if joins else limits.requests_per_second_per_address
        if not own.take(rate, now) or not addresses.of(visitor.network, of_address, now).take(of_address, now):
            self._refuse("rate")

    def _refuse(self, reason: str) -> NoReturn:
        self._counts.refused += 1
        raise RefusedError(reason)

    # --- contents ------------------------------------------------------------

    def _request(self, visitor: Visitor, channel: Channel, now: float) -> None:
        self._check_rate(visitor, visitor.requests, self.limits.requests_per_second, self._requests, now, joins=False)
        assert channel.page is not None  # noqa: S101 - a topic "want:" has one
        self._fetching.request(channel.page, channel, now)

    def _content(self, visitor: Visitor, channel: Channel, message: Message, now: float) -> None:
        page = channel.page
        assert page is not None  # noqa: S101 - a topic "have:" has one
        content: str | None
        try:
            if message.event == "content":
                read = _read_content(message.payload)
                named, content = read.hash, read.content
            else:
                part = _read_part(message.payload)
                named, content = part.hash, None
                if channel.asked_at is None:
                    raise RefusedError("not_asked")
                content = self._assemblies.add(channel, part.index, part.count, part.part, self.limits.page_bytes, now)
        except msgspec.DecodeError:
            raise RefusedError("bad_payload") from None
        except ValueError as error:
            raise RefusedError(str(error)) from None
        if named not in ("", page.name) or (
            content is not None and not self._fetching.take_content(page, channel, content, now)
        ):
            self._put_out(visitor, channel, message, now)

    def _put_out(self, visitor: Visitor, channel: Channel, message: Message, now: float) -> None:
        """It lies: it does not hold the page, and never will."""
        page = channel.page
        assert page is not None  # noqa: S101 - the caller's
        self._counts.bad_hashes += 1
        visitor.lied.add(page.name)
        for addresses, rate in (
            (self._joins, self.limits.joins_per_second_per_address),
            (self._requests, self.limits.requests_per_second_per_address),
        ):
            addresses.of(visitor.network, rate, now).fine(rate, LIE_COSTS_SECONDS)
        if message.ref is not None:
            visitor.send(phoenix.reply(visitor.version, message, "error", {"reason": "bad_hash"}))
        visitor.push(channel, phoenix.ERROR, {"reason": "bad_hash"}, channel.join_ref)
        self._leave(channel, now)
        if len(visitor.lied) >= LIES_LIMIT:
            visitor.connection.close(POLICY_VIOLATION, "bad_hash")

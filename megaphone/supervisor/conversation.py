"""The conversation with one worker: requests that wait for their answers, each wait bounded, whatever it does."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from msgspec import Struct

from megaphone.supervisor import channel

_QUEUE_LIMIT: Final = 256  # messages waiting for a worker that does not read
_PENDING_LIMIT: Final = 256  # requests waiting for their replies
_READ_BYTES: Final = 65_536

Answer = channel.Reply | channel.LinkList | channel.NodeList


class WorkerUnavailableError(Exception):
    """The worker cannot be asked now: it is gone, does not read, or did not answer in time."""


class ConversationState(Struct, frozen=True):
    """What another program needs to go on with a conversation; requests that wait for a reply end with the old one."""

    config_text: str | None  # None: the node's
    last_id: int
    reloads_sent: int
    reloads_answered: int
    unread: bytes  # the beginning of a line
    unsent: list[bytes]  # lines, of the first one perhaps only the rest


class Conversation:
    """The supervisor's side of one channel; messages may be queued before there is a socket to send them on."""

    def __init__(self) -> None:
        self.config_text = ""  # what the worker runs on: the start's, then that of the last reload it accepted
        self._ended = False
        self._last_id = 0
        self._replies: dict[int, trio.MemorySendChannel[Answer]] = {}
        self._reload_answers: trio.MemorySendChannel[str | None] | None = None
        self._reloads_sent = 0
        self._reloads_answered = 0
        self._decoder = channel.Decoder()
        self._unsent: deque[bytes] = deque()
        self._queued = trio.Event()

    @classmethod
    def of_state(cls, state: ConversationState, node_text: str) -> "Conversation":
        """The conversation that another program has begun, in a node that runs on this configuration."""
        conversation = cls()
        conversation.config_text = node_text if state.config_text is None else state.config_text
        conversation._last_id = state.last_id
        conversation._reloads_sent, conversation._reloads_answered = state.reloads_sent, state.reloads_answered
        conversation._decoder.receive_data(state.unread)
        conversation._unsent.extend(state.unsent)
        return conversation

    def state(self, node_text: str) -> ConversationState:
        """What another program goes on with, once nobody reads and writes here."""
        return ConversationState(
            config_text=None if self.config_text == node_text else self.config_text,
            last_id=self._last_id,
            reloads_sent=self._reloads_sent,
            reloads_answered=self._reloads_answered,
            unread=self._decoder.pending,
            unsent=list(self._unsent),
        )

    def send_nowait(self, message: channel.ToWorker) -> None:
        """Queues one message; WorkerUnavailableError when the worker is gone or reads too slowly."""
        if self._ended:
            raise WorkerUnavailableError("the worker is gone")
        if len(self._unsent) >= _QUEUE_LIMIT:
            raise WorkerUnavailableError("the worker does not read its channel")
        self._unsent.append(channel.encode(message))
        self._queued.set()

    async def connections(
        self, *, address: str | None, jid: str | None, state: str | None, limit: int, timeout_seconds: float
    ) -> list[channel.ConnectionRow]:
        """The worker's open connections that match, at most `limit`; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(
            lambda number: channel.ListConnections(number, address, jid, state, limit), timeout_seconds
        )
        return _rows(answer, limit)

    async def page(
        self, *, search: str, state: str | None, from_slot: int, limit: int, timeout_seconds: float
    ) -> tuple[list[channel.ConnectionRow], int | None]:
        """Open connections from a slot on, and where to go on; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(
            lambda number: channel.ListPage(number, search, state, from_slot, limit), timeout_seconds
        )
        return _rows(answer, limit), answer.next_slot if isinstance(answer, channel.Reply) else None

    async def talkers(self, *, limit: int, timeout_seconds: float) -> list[channel.ConnectionRow]:
        """The connections that carried the most, most first; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(lambda number: channel.ListTalkers(number, limit), timeout_seconds)
        return _rows(answer, limit)

    async def links(self, *, timeout_seconds: float) -> list[channel.LinkRow]:
        """The worker's links; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(channel.ListLinks, timeout_seconds)
        return answer.links if isinstance(answer, channel.LinkList) else []

    async def nodes(self, *, timeout_seconds: float) -> channel.NodeList:
        """The nodes that the worker sees; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(channel.ListNodes, timeout_seconds)
        if not isinstance(answer, channel.NodeList):
            raise WorkerUnavailableError("the worker answers something else")
        return answer

    async def kick(
        self, *, connection: str | None, address: str | None, jid: str | None, timeout_seconds: float
    ) -> int:
        """How many connections it ended; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(lambda number: channel.Kick(number, connection, address, jid), timeout_seconds)
        kicked = answer.result if isinstance(answer, channel.Reply) else 0
        return kicked if isinstance(kicked, int) else 0

    async def _ask(self, message: Callable[[int], channel.ToWorker], timeout_seconds: float) -> Answer:
        if len(self._replies) >= _PENDING_LIMIT:
            raise WorkerUnavailableError("too many requests are waiting for the worker")
        self._last_id += 1
        number = self._last_id
        send, receive = trio.open_memory_channel[Answer](1)
        self.send_nowait(message(number))
        self._replies[number] = send
        try:
            with trio.fail_after(timeout_seconds):
                return await receive.receive()
        except trio.TooSlowError:
            raise WorkerUnavailableError(f"no answer within {timeout_seconds:g} s") from None
        except trio.EndOfChannel:
            raise WorkerUnavailableError("the worker is gone") from None
        finally:
            self._replies.pop(number, None)

    async def reload(self, config_text: str, *, timeout_seconds: float) -> str | None:
        """Hands over a configuration: None when the worker uses it now, else why it does not."""
        if self._reload_answers is not None:
            return "it is still busy with an earlier reload"
        send, receive = trio.open_memory_channel[str | None](1)
        self._reload_answers = send
        try:
            self.send_nowait(channel.Reload(config_text))
            self._reloads_sent += 1
            with trio.fail_after(timeout_seconds):
                reason = await receive.receive()
        except WorkerUnavailableError as error:
            return str(error)
        except trio.TooSlowError:
            return f"no answer within {timeout_seconds:g} s"
        except trio.EndOfChannel:
            return "the worker is gone"
        finally:
            self._reload_answers = None
        if reason is None:
            self.config_text = config_text
        return reason

    def answered(self, message: channel.FromWorker) -> None:
        """Hands an answer to whoever waits for it; one that comes too late is dropped."""
        match message:
            case channel.Reply() | channel.LinkList() | channel.NodeList():
                if (waiting := self._replies.pop(message.id, None)) is not None:
                    waiting.send_nowait(message)
            case channel.Reloaded():
                self._reload_answered(None)
            case channel.ReloadFailed(reason):
                self._reload_answered(reason)

    def _reload_answered(self, reason: str | None) -> None:
        # Answers come in order but carry no number: one that comes too late must not pass for the next one's.
        self._reloads_answered += 1
        if self._reload_answers is not None and self._reloads_answered == self._reloads_sent:
            self._reload_answers.send_nowait(reason)
            self._reload_answers = None

    def end(self) -> None:
        """The worker is gone: nobody waits for it any longer."""
        self._ended = True
        for waiting in self._replies.values():
            waiting.close()
        self._replies.clear()
        if self._reload_answers is not None:
            self._reload_answers.close()
            self._reload_answers = None

    async def write(self, ours: trio.socket.SocketType) -> None:
        """Sends what is queued, as it comes."""
        try:
            while True:
                while self._unsent:
                    sent = await ours.send(self._unsent[0])
                    if rest := self._unsent[0][sent:]:
                        self._unsent[0] = rest
                    else:
                        self._unsent.popleft()
                self._queued = trio.Event()
                await self._queued.wait()
        except (OSError, trio.ClosedResourceError):
            return  # the process is ending; its exit says the rest

    async def read(self, ours: trio.socket.SocketType, received: Callable[[channel.FromWorker], None]) -> None:
        """Calls `received` with each message until the worker closes its end; ChannelError for nonsense."""
        try:
            while data := await ours.recv(_READ_BYTES):
                for message in self._decoder.receive_data(data):
                    received(message)
        except (OSError, trio.ClosedResourceError):
            return


def _rows(answer: Answer, limit: int) -> list[channel.ConnectionRow]:
    """The connections of a reply, at most `limit`, whatever a worker has sent."""
    rows = answer.result if isinstance(answer, channel.Reply) else []
    return rows[:limit] if isinstance(rows, list) else []

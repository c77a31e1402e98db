"""The conversation with one worker: requests that wait for their answers, each wait bounded, whatever it does."""

from collections.abc import Callable
from typing import Final

import trio

from megaphone.supervisor import channel

_QUEUE_LIMIT: Final = 256  # messages waiting for a worker that does not read
_PENDING_LIMIT: Final = 256  # requests waiting for their replies
_READ_BYTES: Final = 65_536

Answer = channel.Reply | channel.LinkList


class WorkerUnavailableError(Exception):
    """The worker cannot be asked now: it is gone, does not read, or did not answer in time."""


class Conversation:
    """The supervisor's side of one channel; messages may be queued before there is a stream to send them on."""

    def __init__(self) -> None:
        self.config_text = ""  # what the worker runs on: the start's, then that of the last reload it accepted
        self._ended = False
        self._last_id = 0
        self._replies: dict[int, trio.MemorySendChannel[Answer]] = {}
        self._reload_answers: trio.MemorySendChannel[str | None] | None = None
        self._reloads_sent = 0
        self._reloads_answered = 0
        self._outbox_in, self._outbox_out = trio.open_memory_channel[bytes](_QUEUE_LIMIT)

    def send_nowait(self, message: channel.ToWorker) -> None:
        """Queues one message; WorkerUnavailableError when the worker is gone or reads too slowly."""
        if self._ended:
            raise WorkerUnavailableError("the worker is gone")
        try:
            self._outbox_in.send_nowait(channel.encode(message))
        except trio.WouldBlock:
            raise WorkerUnavailableError("the worker does not read its channel") from None

    async def connections(
        self, *, address: str | None, jid: str | None, state: str | None, limit: int, timeout_seconds: float
    ) -> list[channel.ConnectionRow]:
        """The worker's open connections that match, at most `limit`; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(
            lambda number: channel.ListConnections(number, address, jid, state, limit), timeout_seconds
        )
        rows = answer.result if isinstance(answer, channel.Reply) else []
        return rows[:limit] if isinstance(rows, list) else []

    async def links(self, *, timeout_seconds: float) -> list[channel.LinkRow]:
        """The worker's links; WorkerUnavailableError when it cannot say."""
        answer = await self._ask(channel.ListLinks, timeout_seconds)
        return answer.links if isinstance(answer, channel.LinkList) else []

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
            case channel.Reply() | channel.LinkList():
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

    async def write(self, stream: trio.SocketStream) -> None:
        """Sends what is queued, as it comes."""
        try:
            async for line in self._outbox_out:
                await stream.send_all(line)
        except trio.BrokenResourceError:
            return  # the process is ending; its exit says the rest

    async def read(self, stream: trio.SocketStream, received: Callable[[channel.FromWorker], None]) -> None:
        """Calls `received` with each message until the worker closes its end; ChannelError for nonsense."""
        decoder = channel.Decoder()
        try:
            while data := await stream.receive_some(_READ_BYTES):
                for message in decoder.receive_data(data):
                    received(message)
        except trio.BrokenResourceError:
            return

"""A conversation with a worker that one program begins and another goes on with, at any byte."""

import socket

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.supervisor import channel
from megaphone.supervisor.conversation import Conversation

TEXT = "[node]\n"


async def talk(conversation: Conversation, ours: socket.socket, received: list[object]) -> None:
    """Until there is nothing more to read or write for now."""
    async with trio.open_nursery() as nursery:
        wrapped = trio.socket.from_stdlib_socket(ours.dup())
        nursery.start_soon(conversation.read, wrapped, received.append)
        nursery.start_soon(conversation.write, wrapped)
        await trio.testing.wait_all_tasks_blocked(0.001)
        nursery.cancel_scope.cancel()
    wrapped.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=6), st.integers(0, 3))
def test_nothing_is_lost_or_repeated_wherever_the_program_changes(cuts: list[int], queued: int) -> None:
    messages = [channel.Reply(number, number) for number in range(4)]
    stream = b"".join(b'{"type":"reply","id":%d,"result":%d}\n' % (number, number) for number in range(4))

    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            conversation, received, rest = Conversation(), [], stream
            conversation.config_text = TEXT
            for cut in cuts:
                theirs.sendall(rest[:cut])
                rest = rest[cut:]
                conversation.send_nowait(channel.TicketKeys([str(cut)]))
                await talk(conversation, ours, received)
                for number in range(queued):  # what the old program had no time to send
                    conversation.send_nowait(channel.TicketKeys([f"{cut} {number}"]))
                conversation = Conversation.of_state(conversation.state(TEXT), TEXT)
            theirs.sendall(rest)
            await talk(conversation, ours, received)
            assert received == messages
            ours.shutdown(socket.SHUT_WR)
            said = b""
            while data := theirs.recv(65_536):
                said += data
        expected = [
            channel.TicketKeys([text])
            for cut in cuts
            for text in (str(cut), *(f"{cut} {number}" for number in range(queued)))
        ]
        assert said == b"".join(channel.encode(message) for message in expected)

    trio.run(run)


def test_a_line_that_was_sent_in_part_is_sent_to_its_end() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            conversation = Conversation()
            long = channel.Reload("x" * 4_000_000)  # more than the socket takes
            conversation.send_nowait(long)
            conversation.send_nowait(channel.TicketKeys([]))
            await talk(conversation, ours, [])
            state = conversation.state(TEXT)
            assert 0 < len(state.unsent[0]) < len(channel.encode(long))
            after = Conversation.of_state(state, TEXT)
            said = bytearray()

            def read() -> None:
                while not said.endswith(channel.encode(channel.TicketKeys([]))):
                    said.extend(theirs.recv(1 << 20))

            async with trio.open_nursery() as nursery:
                wrapped = trio.socket.from_stdlib_socket(ours.dup())
                nursery.start_soon(after.write, wrapped)
                with trio.fail_after(60):
                    await trio.to_thread.run_sync(read)
                nursery.cancel_scope.cancel()
            assert said == channel.encode(long) + channel.encode(channel.TicketKeys([]))

    trio.run(run)


def test_ids_go_on_and_the_text_is_kept_only_if_it_is_another() -> None:
    before = Conversation()
    before.config_text = TEXT
    with pytest.raises(trio.TooSlowError):
        trio.run(_ask_in_vain, before)
    state = before.state(TEXT)
    assert (state.last_id, state.config_text) == (1, None)
    assert Conversation.of_state(state, TEXT).config_text == TEXT
    assert before.state("other").config_text == TEXT


async def _ask_in_vain(conversation: Conversation) -> None:
    with trio.fail_after(0.01):
        await conversation.links(timeout_seconds=10)

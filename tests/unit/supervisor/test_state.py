"""What one program tells the next: sealed, versioned, forgiving where it may be, and clear where it may not."""

import os

import msgspec
import pytest

from megaphone.dispatch.counters import BOARD_BYTES
from megaphone.edge.sketch import sketch_bytes
from megaphone.errors import UpgradeError
from megaphone.supervisor import state
from megaphone.supervisor.conversation import ConversationState
from megaphone.supervisor.program import Program
from megaphone.supervisor.state import (
    BusState,
    ChildState,
    ListeningState,
    NodeState,
    SeatState,
    UpgradeState,
)

PROGRAM = Program(["/opt/megaphone/bin/python", "-m", "megaphone.supervisor"], version="1.2.3", fingerprint="abc")
CHILD = ChildState(
    pid=100,
    channel_fd=20,
    state="ready",
    conversation=ConversationState(None, 7, 2, 1, b'{"type":', [b'{"type":"links","id":7}\n']),
    program=PROGRAM,
    started_at_seconds=1e9,
    started_seconds=5.0,
    ready_at_ns=6_000_000_000,
    drain_deadline_seconds=float("inf"),
    drained=None,
    killed_for=None,
    fatal_reason=None,
)
NODE = NodeState(
    version=state.VERSION,
    role="edge",
    program=PROGRAM,
    config_path="/etc/megaphone/megaphone.toml",
    config_text="[node]\n",
    started_at_seconds=1e9,
    seats=[
        SeatState(board_fd=10, child=CHILD, ended=None, restarts={"signal": 1}, last_exit=("signal", "killed")),
        SeatState(board_fd=11, child=None, ended=("exit", "exited with status 1"), restarts={}, last_exit=None),
    ],
    listeners=[ListeningState(listen_index=0, address="127.0.0.1:5222", fds=[12, 13])],
    admin=[ListeningState(listen_index=0, address="127.0.0.1:9280", fds=[14])],
    control=ListeningState(listen_index=0, address="unix:/run/s", fds=[15], path="/run/s"),
    board_bytes=BOARD_BYTES,
    sketch_fd=16,
    sketch_bytes=sketch_bytes(2),
    bus=BusState(directory="/tmp/bus", lock_fd=17, fds=[(18, 19), (21, 22)]),
    ticket_keys=[bytes(80)],
    ticket_keys_made_seconds=3.0,
    history=[(4.0, 1)],
    reloads={"accepted": 2, "refused": 0},
    last_reload=(1e9, "", {0: "reloaded"}),
    requests=[("/metrics", "200", 9)],
    upgrade=UpgradeState(number=1, of=PROGRAM, to=PROGRAM, stage="supervisor", replace=[(0, 100)]),
)


def read_bytes(data: bytes) -> NodeState:
    descriptor = os.memfd_create("test")
    try:
        os.write(descriptor, data)
        return state.read(descriptor)
    finally:
        os.close(descriptor)


def test_it_is_read_as_it_was_written_as_often_as_one_likes() -> None:
    descriptor = state.write(NODE)
    try:
        assert [state.read(descriptor), state.read(descriptor)] == [NODE, NODE]
    finally:
        os.close(descriptor)


def test_nobody_can_change_it() -> None:
    descriptor = state.write(NODE)
    try:
        for change in (
            lambda: os.pwrite(descriptor, b"x", 0),
            lambda: os.ftruncate(descriptor, 0),
            lambda: os.ftruncate(descriptor, 1 << 20),
        ):
            with pytest.raises(PermissionError):
                change()
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_every_descriptor_is_named() -> None:
    """None of them may be forgotten: it would be closed by the exec."""
    assert sorted(state.descriptors(NODE)) == list(range(10, 23))
    assert sorted(_numbers(msgspec.to_builtins(NODE))) == list(range(10, 23))


def _numbers(value: object, of_descriptors: bool = False) -> list[int]:
    """Everything below a key that is called `..._fd` or `fds`."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _numbers(inner, str(key).endswith(("_fd", "fds")))]
    if isinstance(value, list | tuple):
        return [found for inner in value for found in _numbers(inner, of_descriptors)]
    return [value] if of_descriptors and isinstance(value, int) else []


def test_fields_of_a_later_version_are_ignored_and_those_of_an_earlier_one_have_defaults() -> None:
    built = msgspec.to_builtins(NODE, builtin_types=(bytes,))
    built["colour"] = "green"
    built["seats"][0]["child"]["mood"] = [1, 2, 3]
    built["upgrade"] = {"number": 4}
    read = read_bytes(msgspec.msgpack.encode(built))
    assert read.upgrade == UpgradeState(number=4)
    assert msgspec.structs.replace(read, upgrade=NODE.upgrade) == NODE


def test_a_later_version_of_the_state_is_not_read() -> None:
    built = msgspec.to_builtins(NODE, builtin_types=(bytes,)) | {
        "version": state.VERSION + 1,
        "seats": "something else",
    }
    with pytest.raises(UpgradeError, match=r"Megaphone 1\.2\.3 has a state of version 2; this .* up to 1"):
        read_bytes(msgspec.msgpack.encode(built))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"hello", msgspec.msgpack.encode({"version": 1})])
def test_what_is_no_state_is_not_understood(data: bytes) -> None:
    with pytest.raises(UpgradeError, match="cannot be understood"):
        read_bytes(data)


def test_another_layout_of_the_shared_memory_is_refused() -> None:
    state.check_memory(NODE)
    for changed in (
        msgspec.structs.replace(NODE, board_bytes=BOARD_BYTES + 8),
        msgspec.structs.replace(NODE, sketch_bytes=sketch_bytes(3)),
    ):
        with pytest.raises(UpgradeError, match=r"have .* bytes|has .* bytes"):
            state.check_memory(changed)

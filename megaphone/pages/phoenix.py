"""Phoenix channel messages, as the npm library `phoenix` sends and takes them: JSON in two shapes.

    vsn=1.0.0   {"topic": "want:...", "event": "phx_join", "payload": {}, "ref": "1", "join_ref": "1"}
    vsn=2.0.0   [join_ref, ref, topic, event, payload]

A client numbers what it sends (`ref`); `join_ref` is the ref of the `phx_join` that a topic was joined with, which
tells words to an earlier membership apart. What a server says on its own has no ref.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Version = Literal[1, 2]

REF_LIMIT = 64
TOPIC_LIMIT = 128
EVENT_LIMIT = 64

JOIN = "phx_join"
LEAVE = "phx_leave"
REPLY = "phx_reply"
CLOSE = "phx_close"
ERROR = "phx_error"
HEARTBEAT = "heartbeat"
PHOENIX = "phoenix"

_VERSIONS: dict[str, Version] = {"": 1, "1.0.0": 1, "2.0.0": 2}


class Message(msgspec.Struct, frozen=True):
    """What one side says."""

    topic: str
    event: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    ref: str | None = None
    join_ref: str | None = None


class _Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: msgspec.Raw


_read_row = msgspec.json.Decoder(_Row).decode
_read_object = msgspec.json.Decoder(Message).decode


def version_of(vsn: str) -> Version | None:
    """Return which shape a socket speaks by its `vsn`; "" is the first. None for one that nobody knows."""
    return _VERSIONS.get(vsn)


def decode(version: Version, text: bytes) -> Message:
    """Read one message. ValueError if it is none, or its topic, event or refs are beyond all reason."""
    if version == 2:
        row = _read_row(text)
        message = Message(row.topic, row.event, row.payload, row.ref, row.join_ref)
    else:
        message = _read_object(text)
    if len(message.topic) > TOPIC_LIMIT or len(message.event) > EVENT_LIMIT:
        raise ValueError("topic or event is too long")
    if len(message.ref or "") > REF_LIMIT or len(message.join_ref or "") > REF_LIMIT:
        raise ValueError("a ref is too long")
    return message


def encode(
    version: Version, topic: str, event: str, payload: Any, ref: str | None = None, join_ref: str | None = None
) -> bytes:
    """Write one message; a payload that is to be written often may be msgspec.Raw."""
    if version == 2:
        return msgspec.json.encode([join_ref, ref, topic, event, payload])
    return msgspec.json.encode({"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref})


def reply(
    version: Version, message: Message, status: Literal["ok", "error"], response: dict[str, Any] | None = None
) -> bytes:
    """Write the answer to a message that has a ref."""
    payload = {"status": status, "response": response or {}}
    join_ref = message.ref if message.event == JOIN else message.join_ref
    return encode(version, message.topic, REPLY, payload, message.ref, join_ref)

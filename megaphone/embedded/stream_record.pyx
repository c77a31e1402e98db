"""One stream of the embedded service as a record, so that another process can go on with it.

Who the stream's session is, and what waits for its acknowledgement, is told with the user (moving_users.py); a stream
without a session takes its login along. A stream that waits for something that cannot move (a password being checked,
a move to another worker) stays.
"""

import msgspec

from megaphone.embedded.stream cimport EmbeddedStream, Streams
from megaphone.sockets.moving cimport milliseconds_of, ticks_from
from megaphone.wire.stanza_reader cimport stanza_reader_export, stanza_reader_import, stanza_reader_start

from megaphone.errors import MoveError
from megaphone.service import moving_login
from megaphone.service.login_states import State
from megaphone.service.moving_login import LoginSnapshot


class StreamRecord(msgspec.Struct, array_like=True, frozen=True):
    """One stream between two turns. Without `login` it has a session. Times: CLOCK_MONOTONIC in milliseconds."""

    login: LoginSnapshot | None
    reader: bytes                           # wire.stanza_reader: what of the client's stream is not taken yet
    expects_header: bool
    declarations: list[tuple[bytes, bytes]] | None  # prefixes that the client's header declares beside the usual ones
    held: bytes                             # what came while the stream waited
    over_bytes: int                         # said since the mailbox was full
    heard_ms: int                           # when the client last said anything
    asked: bool                             # it was asked for a sign of life since


cdef object encode = msgspec.msgpack.Encoder().encode
cdef object decode = msgspec.msgpack.Decoder(StreamRecord).decode


def export_stream(EmbeddedStream stream not None):
    """The record of a stream as bytes; None if it stays."""
    cdef object login = None
    if stream.session is None:
        if stream.login is None:
            return None
        login = moving_login.snapshot(stream.login)
        if login is None or stream.waiting and stream.login.state is not State.WAIT_RESUMED:
            return None
    return encode(StreamRecord(
        login,
        stanza_reader_export(&stream.reader),
        stream.expects_header,
        None if stream.declarations is None else list(stream.declarations),
        stream.held or b"",
        stream.over_bytes,
        milliseconds_of(stream.heard_ticks),
        stream.asked,
    ))


def new_stream(Streams streams not None, connection_id):
    """A stream of which nothing is known but its connection; 0 for one whose session waits for its client."""
    cdef EmbeddedStream stream = EmbeddedStream.__new__(EmbeddedStream)
    stanza_reader_start(&stream.reader)
    stream.streams = streams
    stream.connection_id = connection_id
    stream.heard_ticks = streams.poller.now_ticks
    return stream


def restore_stream(EmbeddedStream stream not None, bytes data not None, authenticators):
    """Makes the stream what the record says; MoveError if that cannot be."""
    try:
        record = decode(data)
        login = None if record.login is None else moving_login.restore(record.login, authenticators)
    except (ValueError, msgspec.MsgspecError) as error:
        raise MoveError(f"not the record of a stream: {error}") from None
    if not stanza_reader_import(&stream.reader, record.reader):
        raise MoveError("a stream in a state that is not known here")
    stream.login = login
    if login is not None:
        stream.session = None
    stream.waiting = login is not None and login.state is State.WAIT_RESUMED
    stream.expects_header = record.expects_header
    stream.declarations = None if record.declarations is None else tuple(record.declarations)
    stream.held = record.held or None
    stream.over_bytes = record.over_bytes
    stream.heard_ticks = ticks_from(record.heard_ms)
    stream.asked = record.asked

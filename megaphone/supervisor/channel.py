"""What the supervisor and a worker say to each other: one JSON object a line over a socket pair, typed on this side.

    supervisor -> worker:  start  reload  ticket_keys  connections  page  talkers  links  nodes  kick  drain
                           hand_over
    worker -> supervisor:  ready  fatal  reloaded  reload_failed  reply  link_list  node_list  drained  took_over
                           handed_over  hand_over_failed

The end of the stream tells the worker that its supervisor died; the supervisor watches the process itself.

During an upgrade the two sides are of different versions. So both ignore fields they do not know and messages of a type
they do not know, and fields that were added have a default.
"""

from typing import Final, get_args

import msgspec
from msgspec import Struct

LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024


class ChannelError(Exception):
    """The worker said something that is not in this protocol."""


class Start(Struct, tag="start", frozen=True):
    """Everything a new worker needs; descriptors are those it inherited."""

    index: int
    workers: int
    config_path: str
    config_text: str
    board_fd: int
    sketch_fd: int
    listeners: list[tuple[int, int]]  # (index in [[listen]], descriptor)
    ticket_keys: list[str]
    bus_directory: str = ""  # where the other workers' sockets are; "" with one worker, and in a hub
    bus_fds: tuple[int, ...] = ()  # our own listening sockets there: for frames, for connections
    # Of a successor: a listening SEQPACKET socket that its predecessor will connect to. Until it has taken over, the
    # board, the sketch, the bus sockets and the listening sockets are the predecessor's; `ready` then means that it can
    # take over. -1: there is no predecessor.
    take_over_fd: int = -1


class Reload(Struct, tag="reload", frozen=True):
    """Use this configuration from now on; answered with `reloaded` or `reload_failed`."""

    config_text: str


class TicketKeys(Struct, tag="ticket_keys", frozen=True):
    """The session ticket keys, 80 bytes each in hexadecimal, newest first."""

    keys: list[str]


class ListConnections(Struct, tag="connections", frozen=True):
    """Which connections are open; answered with `reply`."""

    id: int
    address: str | None
    jid: str | None
    state: str | None
    limit: int


class ListPage(Struct, tag="page", frozen=True):
    """Some of the open connections, from a slot on; answered with `reply`, by a worker of a version that knows it."""

    id: int
    search: str  # part of the JID, or beginning of the address
    state: str | None
    from_slot: int
    limit: int


class ListTalkers(Struct, tag="talkers", frozen=True):
    """Which connections have carried the most; answered with `reply`, by a worker of a version that knows it."""

    id: int
    limit: int


class ListLinks(Struct, tag="links", frozen=True):
    """Which links there are; answered with `link_list`."""

    id: int


class ListNodes(Struct, tag="nodes", frozen=True):
    """Which nodes the worker sees; answered with `node_list`, by a worker of a version that knows it."""

    id: int


class Kick(Struct, tag="kick", frozen=True):
    """End the connections that match with this stream error; answered with `reply` (how many)."""

    id: int
    connection: str | None
    address: str | None
    jid: str | None
    condition: str = "policy-violation"


class Drain(Struct, tag="drain", frozen=True):
    """Stop accepting, send the clients away at this pace, then exit; `replaced`: another worker comes in its place."""

    connections_per_second: float
    deadline_seconds: float
    replaced: bool = False


class HandOver(Struct, tag="hand_over", frozen=True):
    """Hand everything over to the successor that listens on `path`, while serving; answered with one of two messages.

    `handed_over`, and an exit with status 0, when the successor has taken over and what could not move was ended, which
    `[drain]` limits. `hand_over_failed`, and everything goes on, when the successor has not taken over within
    `deadline_seconds`, or for any other reason.
    """

    path: str
    connections_per_second: float
    deadline_seconds: float


ToWorker = (
    Start
    | Reload
    | TicketKeys
    | ListConnections
    | ListPage
    | ListTalkers
    | ListLinks
    | ListNodes
    | Kick
    | Drain
    | HandOver
)


class ConnectionRow(Struct, frozen=True):
    """One open connection as its worker describes it."""

    id: str
    worker: int
    state: str
    address: str
    port: int
    jid: str | None = None
    domain: str | None = None
    tls: str | None = None
    upstream: str | None = None
    age_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    transport: str | None = None  # tcp, websocket, http, bosh; of a hub's streams None
    round_trip_seconds: float | None = None  # None: not measured yet, or no socket of its own


class LinkRow(Struct, frozen=True):
    """One link as its worker describes it: an edge's has an upstream, a hub's a peer while it is attached."""

    worker: int
    upstream: str | None
    peer: str | None
    name: str
    state: str
    since_seconds: float
    streams: int
    waiting: int | None
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    round_trip_seconds: float | None
    kept_bytes: int
    unsent_bytes: int
    reattached: int
    trouble: str | None


class NodeRow(Struct, frozen=True):
    """One node of the cluster, alive as far as the worker sees."""

    name: str
    key: str  # in hex
    since_ms: int
    workers: int
    own: bool = False
    addresses: list[str] = []


class Ready(Struct, tag="ready", frozen=True):
    """The worker accepts connections."""


class Fatal(Struct, tag="fatal", frozen=True):
    """The worker cannot apply the configuration and exits; restarting it would not help."""

    reason: str


class Reloaded(Struct, tag="reloaded", frozen=True):
    """The worker uses the new configuration."""


class ReloadFailed(Struct, tag="reload_failed", frozen=True):
    """The worker keeps the old configuration."""

    reason: str


class Reply(Struct, tag="reply", frozen=True):
    """The answer to the `connections`, `page`, `talkers` or `kick` with this id."""

    id: int
    result: list[ConnectionRow] | int
    next_slot: int | None = None  # of a page: where to go on, None at the end


class LinkList(Struct, tag="link_list", frozen=True):
    """The answer to the `links` with this id; the configuration bounds how many there are."""

    id: int
    links: list[LinkRow]


class NodeList(Struct, tag="node_list", frozen=True):
    """The answer to the `nodes` with this id: whether NATS is there and why not, and who is alive; none: no cluster."""

    id: int
    up: bool
    trouble: str
    nodes: list[NodeRow]


class Drained(Struct, tag="drained", frozen=True):
    """All clients are gone: `closed` were told and left, `cut` did not leave in time."""

    closed: int
    cut: int


class TookOver(Struct, tag="took_over", frozen=True):
    """From a successor: `moved` connections are its own now, and so is all else; the predecessor is not needed."""

    moved: int


class HandedOver(Struct, tag="handed_over", frozen=True):
    """From a predecessor, the last that it says: `moved` connections are the successor's, `ended` could not move."""

    moved: int
    ended: int


class HandOverFailed(Struct, tag="hand_over_failed", frozen=True):
    """From a predecessor: the successor has not taken over, nothing was lost, the predecessor goes on."""

    reason: str


FromWorker = (
    Ready
    | Fatal
    | Reloaded
    | ReloadFailed
    | Reply
    | LinkList
    | NodeList
    | Drained
    | TookOver
    | HandedOver
    | HandOverFailed
)

_decoder: Final = msgspec.json.Decoder(FromWorker)


class _Typed(Struct):
    type: str


_typed: Final = msgspec.json.Decoder(_Typed)
_TYPES: Final = frozenset(str(each.__struct_config__.tag) for each in get_args(FromWorker))


def encode(message: ToWorker) -> bytes:
    """The line for one message; ValueError when it would be longer than `LINE_LIMIT_BYTES`."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > LINE_LIMIT_BYTES:
        raise ValueError(f"a message of {len(line)} bytes does not fit the channel ({LINE_LIMIT_BYTES})")
    return line


def _is_of_another_version(line: bytes | bytearray) -> bool:
    """Whether it is a message, but of a type that this version does not know."""
    try:
        return _typed.decode(line).type not in _TYPES
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


class Decoder:
    """Bytes from a worker to messages; holds at most one unfinished line."""

    def __init__(self) -> None:
        self._pending = bytearray()

    @property
    def pending(self) -> bytes:
        """The unfinished line."""
        return bytes(self._pending)

    def receive_data(self, data: bytes) -> list[FromWorker]:
        """The messages that `data` completes; ChannelError for a line that is no message or does not end."""
        self._pending += data
        if b"\n" not in data:
            self._check_length(len(self._pending))
            return []
        *lines, rest = self._pending.split(b"\n")
        self._pending = rest
        messages: list[FromWorker] = []
        for line in (*lines, rest):
            self._check_length(len(line))
        for line in lines:
            try:
                messages.append(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if not _is_of_another_version(line):
                    raise ChannelError(f"not a message: {error}") from None
        return messages

    @staticmethod
    def _check_length(length: int) -> None:
        if length > LINE_LIMIT_BYTES:
            raise ChannelError(f"a line longer than {LINE_LIMIT_BYTES} bytes")

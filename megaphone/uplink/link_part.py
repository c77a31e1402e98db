"""The links of a worker as a part that moves to its successor: records of carriers and links, in chunks.

What they hold, and why no socket is among it, is said in link_moving.pyx and wire/link_state.pyx; when each method is
called, in dispatch/moving.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from megaphone.dispatch.moving import CHUNK_LIMIT_BYTES, SharedPart
from megaphone.errors import MoveError
from megaphone.uplink import link_moving
from megaphone.uplink.link_carrier import LinkCarrier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.dispatch.dispatcher import Connection, Owner
    from megaphone.dispatch.moving import Chunk
    from megaphone.uplink.uplink import Uplink

_LAST, _MORE = b"\0", b"\1"  # the first byte of a chunk: whether its record goes on in the next one
_RECORD_LIMIT_BYTES = 256 * 1024 * 1024  # 16 links with full rings, and a read of each of ten thousands of clients
_LINKS_LIMIT = 16  # that a configuration can ask for


class LinkRecord(Struct, array_like=True, frozen=True):
    """One link. `due_ns` is when it is to be attached, 0 for at once; `delay_ms` how long it waits after a failure."""

    session: bytes | None
    abandoned: int
    delay_ms: int
    due_ns: int
    trouble: str | None


class CarrierRecord(Struct, array_like=True, frozen=True):
    """The links to one upstream, known by its name, and the streams on them or on their way to one."""

    upstream: str
    attached: bool
    unattached_ns: int
    said: bool | None
    links: list[LinkRecord]
    streams: bytes
    upstreams: list[str]  # all there are: streams say by their places which have failed them


_decoder = msgspec.msgpack.Decoder(CarrierRecord)


class LinkPart(SharedPart):
    """All links of a worker. In a successor, `sleep` comes first of all: no link is opened before `go_on`."""

    name = "links"

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._carriers = {
            carrier.upstream.name: carrier for carrier in uplink.carriers if isinstance(carrier, LinkCarrier)
        }
        self._asleep: dict[int, Owner] = {}  # restored with their connections, and still without a stream
        self._begun = bytearray()  # of a record whose last chunk has not come

    # --- the predecessor ---

    def export(self) -> Iterator[Chunk]:
        """Yield a record for each upstream."""
        for name, carrier in self._carriers.items():
            record = CarrierRecord(
                name,
                carrier.attached,
                carrier.unattached_ns,
                carrier.said,
                [LinkRecord(*link_moving.export_link(link)) for link in carrier.links],
                link_moving.export_streams(carrier),
                [upstream.name for upstream in self._uplink.pool.upstreams],
            )
            data = memoryview(msgspec.msgpack.encode(record))
            while len(data) >= CHUNK_LIMIT_BYTES:
                yield _MORE + data[: CHUNK_LIMIT_BYTES - 1], ()
                data = data[CHUNK_LIMIT_BYTES - 1 :]
            yield _LAST + data, ()

    def leave(self) -> None:
        """Let go of all links; the clients that stay here have no upstream any more."""
        for carrier in self._carriers.values():
            link_moving.leave(carrier)

    # --- the successor ---

    def sleep(self) -> None:
        """Open no link before `go_on`."""
        for carrier in self._carriers.values():
            carrier.asleep = True

    def restore_owner(self, connection: Connection, data: bytes, descriptors: list[int]) -> Owner:
        """Return the owner of a connection, which gets its stream when the links come."""
        carrier = self._carriers.get(data.decode())
        if carrier is None or descriptors:
            raise MoveError(f"there is no upstream {data.decode()} with links")
        self._asleep[connection.id] = owner = link_moving.new_owner(self._uplink, carrier, connection.id)
        return owner

    def restore(self, data: bytes, descriptors: list[int]) -> None:
        """Take one chunk. An upstream that is not ours any more is left out: its clients have stayed behind."""
        self._begun += data[1:]
        if descriptors or data[:1] not in (_LAST, _MORE) or len(self._begun) > _RECORD_LIMIT_BYTES:
            raise MoveError("not a chunk of links")
        if data[:1] == _MORE:
            return
        try:
            record = _decoder.decode(self._begun)
            self._begun = bytearray()
            if len(record.links) > _LINKS_LIMIT:
                raise MoveError(f"{len(record.links)} links to one upstream")
            carrier = self._carriers.get(record.upstream)
            if carrier is not None:
                self._restore(carrier, record)
        except (msgspec.MsgspecError, ValueError) as error:
            raise MoveError(str(error)) from None

    def _restore(self, carrier: LinkCarrier, record: CarrierRecord) -> None:
        link_moving.restore_carrier(
            carrier, attached=record.attached, unattached_ns=record.unattached_ns, said=record.said
        )
        for index, link in enumerate(record.links):
            link_moving.restore_link(carrier, index, *msgspec.structs.astuple(link))
        link_moving.restore_streams(self._uplink, carrier, record.streams, record.upstreams, self._asleep)

    def go_on(self) -> None:
        """Attach all links; end the streams of clients that are not here."""
        for name, carrier in self._carriers.items():
            link_moving.go_on(carrier, [owner for owner in self._asleep.values() if owner.upstream_name() == name])
        self._asleep.clear()

"""One item of a roster on its way to another process or node."""

from __future__ import annotations

import msgspec

from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID


class ContactSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One item of a roster: `service.ports.RosterItem`."""

    jid: JID
    name: str
    groups: tuple[str, ...]
    subscription: str
    ask: bool
    request: bytes | None
    listed: bool

    @classmethod
    def of(cls, item: RosterItem) -> ContactSnapshot:
        """Return the snapshot of an item."""
        return cls(item.jid, item.name, item.groups, item.subscription, item.ask, item.request, item.listed)

    def item(self) -> RosterItem:
        """Return the item."""
        return RosterItem(
            JID(*self.jid), self.name, self.groups, self.subscription, self.ask, self.request, self.listed
        )


_decoder = msgspec.msgpack.Decoder(ContactSnapshot)


def encode_contact(item: RosterItem) -> bytes:
    """Return an item as MessagePack."""
    return msgspec.msgpack.encode(ContactSnapshot.of(item))


def decode_contact(data: bytes) -> RosterItem:
    """Read an item. MsgspecError for what is none."""
    return _decoder.decode(data).item()

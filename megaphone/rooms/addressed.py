"""The type of a stanza that has both addresses, as every stanza for a room has."""

from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza


class Addressed(Stanza):
    """A stanza whose `to` and `from_` are known to be there; `Rooms.receive` lets no other in."""

    to: JID
    from_: JID

"""Takes out of a stanza what only the room may say: ids, delays and muc#user of others are believed by clients."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from megaphone.rooms.names import DELAY, LEGACY_DELAY, MUC, MUC_USER, OCCUPANT_ID, STANZA_ID
from megaphone.stream.jid import JID
from megaphone.stream.stanza import without_children

if TYPE_CHECKING:
    from megaphone.stream.stanza import Child, Stanza

# An element's name cannot be written otherwise, unlike its namespace: a stanza without these has nothing forged in it.
_SUSPECT = re.compile(rb"stanza-id|occupant-id|delay|[<:]x[\s/>]")
_ALWAYS = frozenset({MUC, MUC_USER, OCCUPANT_ID, LEGACY_DELAY})


def without_forged(stanza: Stanza, room: JID) -> bytes:
    """Return the stanza's bytes without what claims to come from the room, or from who knows whom.

    Stanza-ids of others (XEP-0359 section 5), and delays that others vouch for (XEP-0203), stay.
    """
    if not _SUSPECT.search(stanza.data):
        return stanza.data
    found = iter(stanza.tree)

    def forged(child: Child) -> bool:
        element = next(found)
        if child.namespace == STANZA_ID and child.name == "stanza-id":
            return _domain_of(element.get("by"), room.domain)
        if child.namespace == DELAY:
            return _domain_of(element.get("from"), room.domain)
        return child.namespace in _ALWAYS

    return without_children(stanza.data, forged)


def _domain_of(address: str | None, domain: str) -> bool:
    """Whether an address is of this domain, or none that anybody could check."""
    try:
        return address is None or JID.parse(address).domain == domain
    except ValueError:
        return True

"""The open connections of a worker, a page at a time, each with a bound on how many one request looks into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from megaphone.edge.busiest import busiest
from megaphone.edge.round_trips import round_trip_seconds

if TYPE_CHECKING:
    from megaphone.dispatch.dispatcher import Dispatcher

LOOK_LIMIT: Final = 4_000  # about 20 ms, in which no client is served
SLOT_BITS: Final = 22  # of a connection's id (dispatch/dispatcher.pyx)
BUSIEST_LIMIT: Final = 100

Row = dict[str, Any]


def page(
    dispatcher: Dispatcher, *, search: str, state: str | None, from_slot: int, limit: int
) -> tuple[list[Row], int | None]:
    """Return up to `limit` connections from this slot on that match, and the slot to go on with, None at the end.

    `search` is a part of the JID, in any case, or the beginning of the address. Fewer than `limit` need not be the
    end: after `LOOK_LIMIT` connections the page ends with what was found.
    """
    wanted = search.casefold()
    rows: list[Row] = []
    looked = 0
    for connection in dispatcher.connections():
        slot = connection.id & ((1 << SLOT_BITS) - 1)
        if slot < from_slot:
            continue
        if len(rows) >= limit or looked >= LOOK_LIMIT:
            return rows, slot
        looked += 1
        row = connection.describe()
        if (
            row is not None  # else its socket is in another worker, which describes it
            and (state is None or row["state"] == state)
            and (wanted in (row.get("jid") or "").casefold() or row["address"].startswith(wanted))
        ):
            rows.append(with_round_trip(connection, row))
    return rows, None


def talkers(dispatcher: Dispatcher, limit: int) -> list[Row]:
    """Return the connections that have carried the most bytes, most first; a hub's streams are not among them."""
    found = busiest(dispatcher, min(limit, BUSIEST_LIMIT))
    return [with_round_trip(connection, connection.describe()) for connection in found]


def with_round_trip(connection: object, row: Row) -> Row:
    """Return the row with `round_trip_seconds`, which takes a system call: so only what is shown has it."""
    row["round_trip_seconds"] = round_trip_seconds(connection)
    return row

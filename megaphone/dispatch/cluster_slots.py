"""The slots of a board that only Python counts in: of a node in a cluster. They are free in `counters.Slot`."""

from enum import IntEnum


class ClusterSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 106 to 191."""

    NODES = 106  # gauge: nodes of the cluster that are alive, our own included; 0 without a cluster
    NATS_UP = 107  # gauge: 1 while the worker has a connection to NATS
    NATS_MESSAGES_IN = 108
    NATS_MESSAGES_OUT = 109
    NATS_BYTES_IN = 110  # of payloads
    NATS_BYTES_OUT = 111
    NATS_REFUSED = 112  # messages not sent: no connection, no room, or too large
    NATS_LOSSES = 113  # connections that ended
    ROWS_SHARED = 114  # gauge: 1 while the worker that carries rows has read all of the store
    ROWS_TOLD = 115
    ROWS_HEARD = 116
    ROWS_APPLIED = 117
    ROWS_REFUSED = 118
    HISTORY_TOLD = 140  # batches told to another node
    HISTORY_HEARD = 141  # entries of others that were new here
    HISTORY_LOST = 142  # conversations that were given up
    HISTORY_UNKNOWN_ROOM = 143  # refused: see history.answers.Refusal
    HISTORY_UNKNOWN_ORIGIN = 144
    HISTORY_EXCLUDED = 145
    HISTORY_TOO_LARGE = 146
    HISTORY_MALFORMED = 147
    HISTORY_CLOCK_ORDER = 148
    HISTORY_CLOCK_AHEAD = 149
    HISTORY_BAD_CHAIN = 150
    HISTORY_BAD_SEAL = 151
    HISTORY_FORGED_AUTHOR = 152
    HISTORY_FORK = 153
    HISTORY_TOO_MANY_GAPS = 154
    HISTORY_DUPLICATE = 155

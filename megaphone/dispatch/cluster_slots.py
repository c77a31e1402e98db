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

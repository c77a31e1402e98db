"""How the link's reasons for an end, stream-error conditions and the counters' reasons translate into each other."""

from megaphone.dispatch.counters import Reason
from megaphone.wire.link import LinkReason

# What the edge is told when the hub ends a stream with this condition (RFC 6120 section 4.9.3).
LINK_REASON_OF_CONDITION = {
    "": LinkReason.CLOSED,
    "connection-timeout": LinkReason.CONNECTION_TIMEOUT,
    "policy-violation": LinkReason.POLICY_VIOLATION,
    "remote-connection-failed": LinkReason.REMOTE_CONNECTION_FAILED,
    "resource-constraint": LinkReason.RESOURCE_CONSTRAINT,
    "system-shutdown": LinkReason.SYSTEM_SHUTDOWN,
    "internal-server-error": LinkReason.INTERNAL_ERROR,
}

# What an end that the edge has said is counted as.
REASON_OF_LINK_REASON = {
    LinkReason.CLOSED: Reason.CLIENT_CLOSED,
    LinkReason.CONNECTION_LOST: Reason.CLIENT_RESET,
    LinkReason.CONNECTION_TIMEOUT: Reason.IDLE_TIMEOUT,
    LinkReason.POLICY_VIOLATION: Reason.POLICY_VIOLATION,
    LinkReason.SLOW_CONSUMER: Reason.SLOW_CONSUMER,
    LinkReason.RESOURCE_CONSTRAINT: Reason.RESOURCE_CONSTRAINT,
    LinkReason.SYSTEM_SHUTDOWN: Reason.SYSTEM_SHUTDOWN,
    LinkReason.INTERNAL_ERROR: Reason.INTERNAL,
    LinkReason.REMOTE_CONNECTION_FAILED: Reason.REMOTE_CONNECTION_FAILED,
}

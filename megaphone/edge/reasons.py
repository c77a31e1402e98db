"""The closing reason that each stream-error condition (RFC 6120 section 4.9.3) is counted under."""

from megaphone.dispatch.counters import Reason

_REASON_OF_CONDITION = {
    "host-unknown": Reason.HOST_UNKNOWN,
    "policy-violation": Reason.POLICY_VIOLATION,
    "not-well-formed": Reason.NOT_WELL_FORMED,
    "restricted-xml": Reason.RESTRICTED_XML,
    "remote-connection-failed": Reason.REMOTE_CONNECTION_FAILED,
    "resource-constraint": Reason.RESOURCE_CONSTRAINT,
}


def reason_of(condition: str) -> Reason:
    """Return the reason; every condition without one of its own is INVALID_XML."""
    return _REASON_OF_CONDITION.get(condition, Reason.INVALID_XML)

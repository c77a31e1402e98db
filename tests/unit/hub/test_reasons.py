"""Every end has a word in the link protocol, in the counters and for clients."""

from megaphone.dispatch.counters import Reason
from megaphone.hub.reasons import LINK_REASON_OF_CONDITION, REASON_OF_LINK_REASON
from megaphone.wire.link import LinkReason
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS


def test_every_reason_an_edge_may_give_is_counted() -> None:
    assert set(REASON_OF_LINK_REASON) == {reason for reason in LinkReason if reason < LinkReason.PROTOCOL_ERROR}
    assert all(reason < Reason.REASONS for reason in REASON_OF_LINK_REASON.values())


def test_conditions_are_stream_errors_with_a_reason_for_streams() -> None:
    assert set(LINK_REASON_OF_CONDITION) - {""} <= STREAM_ERROR_CONDITIONS
    assert all(reason < LinkReason.PROTOCOL_ERROR for reason in LINK_REASON_OF_CONDITION.values())
    # what an uplink, an operator and the drain say
    assert {"remote-connection-failed", "resource-constraint", "internal-server-error"} <= set(LINK_REASON_OF_CONDITION)
    assert {"policy-violation", "system-shutdown"} <= set(LINK_REASON_OF_CONDITION)

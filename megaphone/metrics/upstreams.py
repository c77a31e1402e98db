"""Metrics of the servers behind: upstreams, the links to them, who waits for a place, and links of a hub."""

from typing import Final

from megaphone.dispatch.counters import AdmissionSlot, Board, LinkSlot, Slot, UpstreamSlot
from megaphone.metrics.facts import NodeFacts
from megaphone.metrics.sources import NS, Metric, OfAdmission, OfLink, OfNode, OfUpstream, Samples, Slots

LINK_STATES: Final = ("broken", "connecting", "handshaking", "attached", "draining", "closed")  # uplink.link.LinkState
CONNECT_BUCKETS_SECONDS: Final = ("0.001", "0.005", "0.025", "0.1", "0.5", "2.5", "+Inf")  # of UP_CONNECT_BUCKETS
_CONNECTS: Final[Slots] = {("ok",): UpstreamSlot.UP_CONNECTS, ("failed",): UpstreamSlot.UP_CONNECT_FAILURES}
_CHECKS: Final[Slots] = {("ok",): UpstreamSlot.UP_CHECKS_OK, ("failed",): UpstreamSlot.UP_CHECKS_FAILED}
_CONNECT_PARTS: Final[Slots] = {
    ("sum",): UpstreamSlot.UP_CONNECT_NS,
    **{(bound,): UpstreamSlot.UP_CONNECT_BUCKETS + place for place, bound in enumerate(CONNECT_BUCKETS_SECONDS)},
}
_CHECK_TIME: Final[Slots] = {(): UpstreamSlot.UP_CHECK_NS}
_FULL: Final[Slots] = {(): UpstreamSlot.UP_REFUSED_FULL}
_ANSWER_PARTS: Final[Slots] = {
    ("sum",): AdmissionSlot.AD_ANSWER_NS,
    **{(bound,): AdmissionSlot.AD_ANSWER_BUCKETS + place for place, bound in enumerate(CONNECT_BUCKETS_SECONDS)},
}
_LINK_FRAMES: Final[Slots] = {("in",): LinkSlot.LI_FRAMES_IN, ("out",): LinkSlot.LI_FRAMES_OUT}
_LINK_BYTES: Final[Slots] = {("in",): LinkSlot.LI_BYTES_IN, ("out",): LinkSlot.LI_BYTES_OUT}
_LINK_ATTACHES: Final[Slots] = {("new",): LinkSlot.LI_ATTACHES, ("resumed",): LinkSlot.LI_REATTACHES}
_PER_LINK: Final = ("upstream", "worker", "link")
_HUB_LINKS: Final[Slots] = {("attached",): Slot.HUB_LINKS_ATTACHED, ("waiting",): Slot.HUB_LINKS_WAITING}
_HUB_ATTACHES: Final[Slots] = {("new",): Slot.HUB_ATTACHES, ("resumed",): Slot.HUB_REATTACHES}
_HUB_FRAMES: Final[Slots] = {("in",): Slot.HUB_FRAMES_IN, ("out",): Slot.HUB_FRAMES_OUT}
_HUB_BYTES: Final[Slots] = {("in",): Slot.HUB_LINK_BYTES_IN, ("out",): Slot.HUB_LINK_BYTES_OUT}


def links_by_state(node: NodeFacts, index: int) -> dict[str, int]:
    """How many of the links to the upstream at this place are in each state."""
    states = [
        worker.board.get(Board.link_slot(index, link, LinkSlot.LI_STATE))
        for worker in node.workers
        for link in range(node.links[index])
    ]
    return {name: states.count(number) for number, name in enumerate(LINK_STATES)}


def _links(node: NodeFacts) -> Samples:
    for index, name in enumerate(node.upstreams):
        if node.links[index]:
            for state, count in links_by_state(node, index).items():
                yield (name, state), count


def _upstream_healthy(node: NodeFacts) -> Samples:
    for index, name in enumerate(node.upstreams):
        for worker in node.workers:
            yield (name, str(worker.index)), worker.board.get(Board.upstream_slot(index, UpstreamSlot.UP_HEALTHY))


# fmt: off
UPSTREAMS: Final = (
    # upstreams
    Metric("megaphone_upstream_healthy", "gauge", ("upstream", "worker"),
           "1 when the worker's last checks of the upstream succeeded, else 0.", _upstream_healthy),
    Metric("megaphone_upstream_connections", "gauge", ("upstream",),
           "Connections to the upstream open now.", OfUpstream({(): UpstreamSlot.UP_OPEN})),
    Metric("megaphone_upstream_connects_total", "counter", ("upstream", "result"),
           "Attempts to connect to the upstream: ok, failed.", OfUpstream(_CONNECTS)),
    Metric("megaphone_upstream_connect_duration_seconds", "histogram", ("upstream",),
           "Time until a connection to the upstream was open.", OfUpstream(_CONNECT_PARTS)),
    Metric("megaphone_upstream_checks_total", "counter", ("upstream", "result"),
           "Health checks of the upstream by all workers: ok, failed.", OfUpstream(_CHECKS)),
    Metric("megaphone_upstream_check_duration_seconds", "gauge", ("upstream",),
           "Connect to features in the last good check, slowest worker.", OfUpstream(_CHECK_TIME, max, NS)),
    Metric("megaphone_upstream_full_total", "counter", ("upstream",),
           "Times the upstream was passed over because of its max_connections.", OfUpstream(_FULL)),
    # links
    Metric("megaphone_links", "gauge", ("upstream", "state"),
           "Links of all workers by state: broken, connecting, handshaking, attached, draining, closed.", _links),
    Metric("megaphone_link_streams", "gauge", _PER_LINK,
           "Streams on the link, also those whose end is not complete.", OfLink({(): LinkSlot.LI_STREAMS})),
    Metric("megaphone_link_frames_total", "counter", (*_PER_LINK, "direction"),
           "Frames on the link: in = from the server, out = to the server.", OfLink(_LINK_FRAMES)),
    Metric("megaphone_link_bytes_total", "counter", (*_PER_LINK, "direction"),
           "Bytes on the link, without TLS: in = from the server, out = to the server.", OfLink(_LINK_BYTES)),
    Metric("megaphone_link_round_trip_seconds", "gauge", _PER_LINK,
           "Time from the last PING to its PONG; 0 before the first.", OfLink({(): LinkSlot.LI_ROUND_TRIP_NS}, NS)),
    Metric("megaphone_link_kept_bytes", "gauge", _PER_LINK,
           "Bytes sent that the server has not acknowledged; at most 4 MiB.", OfLink({(): LinkSlot.LI_KEPT_BYTES})),
    Metric("megaphone_link_unsent_bytes", "gauge", _PER_LINK,
           "Of the kept bytes, those the socket has not taken.", OfLink({(): LinkSlot.LI_UNSENT_BYTES})),
    Metric("megaphone_link_attaches_total", "counter", (*_PER_LINK, "session"),
           "Sockets that became the link's: with a new session, or with one that was resumed.", OfLink(_LINK_ATTACHES)),
    Metric("megaphone_link_breaks_total", "counter", _PER_LINK,
           "Sockets lost, and attempts to connect that failed.", OfLink({(): LinkSlot.LI_BREAKS})),
    Metric("megaphone_link_refused_total", "counter", _PER_LINK,
           "Greetings that either side refused: secret, version, too many links.", OfLink({(): LinkSlot.LI_REFUSED})),
    Metric("megaphone_link_credit_waits_total", "counter", _PER_LINK,
           "Times a client had to wait for the server's credit.", OfLink({(): LinkSlot.LI_CREDIT_WAITS})),
    Metric("megaphone_link_credit_wait_seconds_total", "counter", _PER_LINK,
           "Time that clients have waited for credit.", OfLink({(): LinkSlot.LI_CREDIT_WAIT_NS}, NS)),
    Metric("megaphone_link_turn_waits_total", "counter", _PER_LINK,
           "Times a client had to wait for its turn on a busy or broken link.", OfLink({(): LinkSlot.LI_TURN_WAITS})),
    # admission of new streams to links
    Metric("megaphone_admission_waiting", "gauge", ("upstream",),
           "New streams that wait for a link or for their turn.", OfAdmission({(): AdmissionSlot.AD_WAITING})),
    Metric("megaphone_admission_opening", "gauge", ("upstream",),
           "Streams opened that the server has not answered yet.", OfAdmission({(): AdmissionSlot.AD_OPENING})),
    Metric("megaphone_admission_waited_total", "counter", ("upstream",),
           "New streams that had to wait.", OfAdmission({(): AdmissionSlot.AD_WAITED})),
    Metric("megaphone_admission_returning_total", "counter", ("upstream",),
           "Of the streams that had to wait, those that went first.", OfAdmission({(): AdmissionSlot.AD_RETURNING})),
    Metric("megaphone_admission_wait_seconds_total", "counter", ("upstream",),
           "Time that streams have waited to be opened.", OfAdmission({(): AdmissionSlot.AD_WAITED_NS}, NS)),
    Metric("megaphone_admission_refused_total", "counter", ("upstream",),
           "New streams for which there was no place to wait.", OfAdmission({(): AdmissionSlot.AD_REFUSED})),
    Metric("megaphone_admission_answer_duration_seconds", "histogram", ("upstream",),
           "Time from a stream's OPEN to the server's first bytes.", OfAdmission(_ANSWER_PARTS)),
    # links of a hub
    Metric("megaphone_hub_links", "gauge", ("state",),
           "Links that edges have to this hub: attached, or waiting for a new socket.", OfNode(_HUB_LINKS)),
    Metric("megaphone_hub_attaches_total", "counter", ("session",),
           "Sockets that became a link's: with a new session, or with one that was resumed.", OfNode(_HUB_ATTACHES)),
    Metric("megaphone_hub_breaks_total", "counter", (),
           "Sockets that broke while they carried a session.", OfNode({(): Slot.HUB_BROKEN})),
    Metric("megaphone_hub_refused_total", "counter", (),
           "Sockets that got no WELCOME: secret, version, too many links, no HELLO in time.",
           OfNode({(): Slot.HUB_REFUSED})),
    Metric("megaphone_hub_frames_total", "counter", ("direction",),
           "Frames on links: in = from edges, out = to edges.", OfNode(_HUB_FRAMES)),
    Metric("megaphone_hub_link_bytes_total", "counter", ("direction",),
           "Bytes on links, frame headers included: in = from edges, out = to edges.", OfNode(_HUB_BYTES)),
    Metric("megaphone_hub_kept_bytes", "gauge", (),
           "Bytes said to edges and not acknowledged; at most 4 MiB for each link.", OfNode({(): Slot.HUB_KEPT_BYTES})),
    Metric("megaphone_hub_unsent_bytes", "gauge", (),
           "Of these, bytes that no socket has taken yet.", OfNode({(): Slot.HUB_UNSENT_BYTES})),
)
# fmt: on

"""The metrics page: what each slot becomes, that it parses, and that the reference documents every metric."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import (
    BOARD_BYTES,
    AdmissionSlot,
    Board,
    Kind,
    LinkSlot,
    Reason,
    Slot,
    UpstreamSlot,
)
from megaphone.dispatch.pages_slots import PagesSlot
from megaphone.dispatch.round_trip_slots import BUCKETS_SECONDS, RoundTripSlot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.metrics.collector import BoardCollector
from megaphone.metrics.edge import REASONS
from megaphone.metrics.facts import NodeFacts, WorkerFacts
from megaphone.metrics.sources import OfAdmission, OfLink, OfNode, OfUpstream, OfWorker
from megaphone.metrics.table import INTERNAL_SLOTS, METRICS
from megaphone.metrics.upstreams import CONNECT_BUCKETS_SECONDS, LINK_STATES
from megaphone.supervisor.child import Cause
from megaphone.uplink.link import LinkState
from megaphone.uplink.uplink import TIME_BUCKETS_SECONDS

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def node_facts(boards: list[Board], **changes: object) -> NodeFacts:
    workers = [
        WorkerFacts(
            index=index,
            board=board,
            state="ready",
            version="1.2.3",
            restarts={"signal": index, "hang": 0},
            started_at_seconds=1000.5,
            resident_bytes=4096,
            cpu_seconds=1.25,
            open_descriptors=130,
            most_descriptors=20_000,
        )
        for index, board in enumerate(boards)
    ]
    facts = {
        "version": "1.2.3",
        "python": "3.11.0",
        "supervisor_resident_bytes": 8192,
        "workers": workers,
        "upstreams": ["first", 'sec"ond\n'],
        "certificates": {"/etc/chain.pem": 2e9},
        "admin_requests": {("/metrics", "200"): 3},
        "reloads": {"accepted": 1, "refused": 0},
        "upgrades": {"done": 1, "failed": 0, "refused": 2},
        "upgrade_connections": {"moved": 20_000, "ended": 4},
        "links": [2, 1],
    }
    return NodeFacts(**(facts | changes))


def page(facts: NodeFacts) -> str:
    registry = CollectorRegistry()
    registry.register(BoardCollector(lambda: facts))
    return generate_latest(registry).decode()


def samples(facts: NodeFacts) -> dict[str, float]:
    """`name{label="value",...}` with labels in alphabetical order, to value."""
    found = {}
    for family in text_string_to_metric_families(page(facts)):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def boards() -> list[Board]:
    return [Board(bytearray(BOARD_BYTES)) for _ in range(2)]


@pytest.mark.parametrize(
    ("slot", "sample", "value"),
    [
        (Slot.ACCEPTED, 'megaphone_connections_accepted_total{worker="1"}', 7),
        (Slot.CLOSED_BY_REASON, 'megaphone_connections_closed_total{reason="client-closed"}', 7),
        (
            Slot.CLOSED_BY_REASON + Reason.NOT_WELL_FORMED,
            'megaphone_connections_closed_total{reason="not-well-formed"}',
            7,
        ),
        (
            Slot.CLOSED_BY_REASON + Reason.ADDRESS_LIMIT,
            'megaphone_limit_refusals_total{limit="connections_per_address"}',
            7,
        ),
        (Slot.LIMIT_DEPTH, 'megaphone_limit_refusals_total{limit="element_depth"}', 7),
        (Slot.OPEN_RELAYING_PREAUTH, 'megaphone_connections{state="preauth",worker="1"}', 7),
        (Slot.STANZAS_IN + Kind.IQ, 'megaphone_stanzas_total{direction="in",kind="iq"}', 7),
        (Slot.STANZAS_OUT + Kind.OTHER, 'megaphone_stanzas_total{direction="out",kind="other"}', 7),
        (Slot.BYTES_OUT, 'megaphone_stream_bytes_total{direction="out"}', 7),
        (Slot.TLS_1_3_OK, 'megaphone_tls_handshakes_total{result="ok",version="TLSv1.3"}', 7),
        (Slot.TLS_FAILED, 'megaphone_tls_handshakes_total{result="failed",version="none"}', 7),
        (Slot.TLS_OWN_RECORDS, 'megaphone_tls_record_layer_total{layer="own"}', 7),
        (Slot.TLS_OPENSSL_RECORDS, 'megaphone_tls_record_layer_total{layer="openssl"}', 7),
        (Slot.LOOP_LAG_NS, 'megaphone_worker_loop_lag_seconds{worker="1"}', 7e-9),
        (Slot.CONNECTION_BYTES, "megaphone_connection_bytes", 7),
    ],
)
def test_a_slot_becomes_a_sample(boards: list[Board], slot: int, sample: str, value: float) -> None:
    assert samples(node_facts(boards))[sample] == 0
    boards[1].set(slot, 7)
    assert samples(node_facts(boards))[sample] == pytest.approx(value)


def test_connect_times_are_shown_in_the_buckets_they_are_counted_in() -> None:
    assert tuple(float(bound) for bound in CONNECT_BUCKETS_SECONDS) == (*TIME_BUCKETS_SECONDS, float("inf"))


def test_counters_of_the_node_are_added_up_and_gauges_of_workers_are_not(boards: list[Board]) -> None:
    for number, board in enumerate(boards, start=1):
        board.set(Slot.THROTTLED, number)
        board.set(Slot.MAILBOX_BYTES, number)
        board.set(Slot.CONNECTION_BYTES, number)
    found = samples(node_facts(boards))
    assert found["megaphone_throttled_total"] == 3
    assert found['megaphone_mailbox_bytes{worker="0"}'] == 1
    assert found['megaphone_mailbox_bytes{worker="1"}'] == 2
    assert found["megaphone_connection_bytes"] == 2


def test_upstreams_by_name(boards: list[Board]) -> None:
    for number, board in enumerate(boards, start=1):
        board.set(Board.upstream_slot(0, UpstreamSlot.UP_OPEN), number)
        board.set(Board.upstream_slot(0, UpstreamSlot.UP_CHECK_NS), number * 10**9)
        board.set(Board.upstream_slot(1, UpstreamSlot.UP_CONNECT_FAILURES), number)
    boards[1].set(Board.upstream_slot(0, UpstreamSlot.UP_HEALTHY), 1)
    found = samples(node_facts(boards))
    assert found['megaphone_upstream_connections{upstream="first"}'] == 3
    assert found['megaphone_upstream_check_duration_seconds{upstream="first"}'] == 2
    assert found['megaphone_upstream_connects_total{result="failed",upstream="sec"ond\n"}'] == 3
    assert found['megaphone_upstream_healthy{upstream="first",worker="0"}'] == 0
    assert found['megaphone_upstream_healthy{upstream="first",worker="1"}'] == 1


def test_links_by_upstream_worker_and_number(boards: list[Board]) -> None:
    boards[1].set(Board.link_slot(0, 1, LinkSlot.LI_FRAMES_OUT), 5)
    boards[0].set(Board.link_slot(1, 0, LinkSlot.LI_ROUND_TRIP_NS), 2_000_000)
    for board, link, state in ((0, 0, "attached"), (0, 1, "attached"), (1, 0, "broken"), (1, 1, "draining")):
        boards[board].set(Board.link_slot(0, link, LinkSlot.LI_STATE), LINK_STATES.index(state))
    for board in boards:
        board.set(Board.admission_slot(0, AdmissionSlot.AD_WAITING), 3)
    found = samples(node_facts(boards))
    assert found['megaphone_link_frames_total{direction="out",link="1",upstream="first",worker="1"}'] == 5
    assert found['megaphone_link_round_trip_seconds{link="0",upstream="sec"ond\n",worker="0"}'] == pytest.approx(0.002)
    by_state = [found[f'megaphone_links{{state="{state}",upstream="first"}}'] for state in LINK_STATES]
    assert by_state == [1, 0, 0, 2, 1, 0]
    assert found['megaphone_admission_waiting{upstream="first"}'] == 6


def test_an_upstream_without_links_has_no_samples_of_links(boards: list[Board]) -> None:
    found = samples(node_facts(boards, links=[0, 1]))
    assert not [name for name in found if "link" in name and 'upstream="first"' in name]
    assert 'megaphone_admission_waiting{upstream="first"}' not in found


def test_the_states_are_those_of_the_uplink() -> None:
    assert tuple(state.name.lower() for state in LinkState) == LINK_STATES


def test_the_histogram_is_cumulative_and_has_a_sum(boards: list[Board]) -> None:
    for place in range(7):
        boards[0].set(Board.upstream_slot(0, UpstreamSlot.UP_CONNECT_BUCKETS + place), place + 1)
    boards[1].set(Board.upstream_slot(0, UpstreamSlot.UP_CONNECT_BUCKETS), 10)
    boards[1].set(Board.upstream_slot(0, UpstreamSlot.UP_CONNECT_NS), 1_500_000_000)
    found = samples(node_facts(boards))
    name = "megaphone_upstream_connect_duration_seconds"
    buckets = [
        found[f'{name}_bucket{{le="{bound}",upstream="first"}}']
        for bound in ("0.001", "0.005", "0.025", "0.1", "0.5", "2.5", "+Inf")
    ]
    assert buckets == [11, 13, 16, 20, 25, 31, 38]
    assert found[f'{name}_count{{upstream="first"}}'] == 38
    assert found[f'{name}_sum{{upstream="first"}}'] == pytest.approx(1.5)


def test_round_trips_of_clients(boards: list[Board]) -> None:
    gauge, histogram = "megaphone_client_round_trip_now_seconds", "megaphone_client_round_trip_seconds"
    assert not [name for name in samples(node_facts(boards)) if name.startswith(gauge)]  # nobody is there
    for number, board in enumerate(boards, start=1):
        board.set(RoundTripSlot.SUM_NS, 1_500_000_000)
        for place in range(len(BUCKETS_SECONDS) + 1):
            board.set(RoundTripSlot.BUCKETS + place, number)
    for slot, value in ((RoundTripSlot.MEDIAN_NS, 30_000), (RoundTripSlot.WORST_NS, 2_000_000_000)):
        boards[1].set(slot, value)
    found = samples(node_facts(boards))
    assert {name: value for name, value in found.items() if name.startswith(gauge)} == {
        f'{gauge}{{percentile="50",worker="1"}}': pytest.approx(0.00003),
        f'{gauge}{{percentile="100",worker="1"}}': 2,
    }
    bounds = [*map(str, BUCKETS_SECONDS), "+Inf"]
    assert [found[f'{histogram}_bucket{{le="{bound}"}}'] for bound in bounds] == list(range(3, 36, 3))
    assert (found[f"{histogram}_count"], found[f"{histogram}_sum"]) == (33, pytest.approx(3))


def test_what_only_the_supervisor_knows(boards: list[Board]) -> None:
    found = samples(node_facts(boards))
    assert found['megaphone_build_info{python="3.11.0",version="1.2.3"}'] == 1
    assert found['megaphone_workers{state="ready"}'] == 2
    assert found['megaphone_workers{state="gone"}'] == 0
    assert found['megaphone_worker_restarts_total{cause="signal",worker="1"}'] == 1
    assert found['megaphone_worker_restarts_total{cause="hang",worker="1"}'] == 0
    assert found['megaphone_worker_cpu_seconds_total{worker="0"}'] == 1.25
    assert found['megaphone_worker_open_fds{worker="1"}'] == 130
    assert found['megaphone_worker_max_fds{worker="1"}'] == 20_000
    assert found["megaphone_supervisor_resident_memory_bytes"] == 8192
    assert found['megaphone_certificate_expiry_timestamp_seconds{chain="/etc/chain.pem"}'] == 2e9
    assert found['megaphone_admin_requests_total{endpoint="/metrics",status="200"}'] == 3
    assert found['megaphone_config_reloads_total{result="accepted"}'] == 1


def test_a_worker_without_a_process_has_counters_and_no_process_figures() -> None:
    worker = WorkerFacts(
        index=0,
        board=Board(bytearray(BOARD_BYTES)),
        state="gone",
        version=None,
        restarts={},
        started_at_seconds=None,
        resident_bytes=None,
        cpu_seconds=None,
        open_descriptors=None,
        most_descriptors=None,
    )
    found = samples(node_facts([], workers=[worker]))
    assert 'megaphone_connections_accepted_total{worker="0"}' in found
    for name in ("resident_memory_bytes", "open_fds", "max_fds"):
        assert f'megaphone_worker_{name}{{worker="0"}}' not in found
    assert not [name for name in found if name.startswith("megaphone_worker_info")]


def test_a_node_without_workers_has_a_page() -> None:
    assert samples(node_facts([]))["megaphone_throttled_total"] == 0


# Conventions


def test_names_and_types_follow_the_conventions(boards: list[Board]) -> None:
    families = {family.name: family for family in text_string_to_metric_families(page(node_facts(boards)))}
    assert len(families) == len(METRICS) == len({metric.name for metric in METRICS})
    for metric in METRICS:
        assert re.fullmatch(r"megaphone(_[a-z0-9]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert not re.search(r"_(ms|milliseconds|kb|count|sum|bucket|gauge|counter)\b", metric.name)
        assert metric.help.endswith(".")
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.type, metric.help)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_no_sample_is_there_twice(boards: list[Board]) -> None:
    lines = [line.rpartition(" ")[0] for line in page(node_facts(boards)).splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


def test_promtool_finds_nothing(boards: list[Board]) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=page(node_facts(boards)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


# Completeness


def exported_slots(kind: type[OfNode | OfWorker | OfUpstream | OfAdmission | OfLink]) -> Iterator[int]:
    for metric in METRICS:
        if isinstance(metric.samples, kind):
            yield from metric.samples.slots.values()


def test_slots_that_only_python_knows_are_free_in_the_compiled_board() -> None:
    taken = set(map(int, Slot)) | set(range(Slot.CLOSED_BY_REASON, Slot.CLOSED_BY_REASON + Reason.REASONS))
    assert not taken & set(map(int, ClusterSlot))
    assert all(105 < slot < Slot.HUB_LINKS_ATTACHED for slot in (*ClusterSlot, *WebSocketSlot, *PagesSlot))
    assert not (taken | set(map(int, ClusterSlot))) & set(map(int, WebSocketSlot))
    assert not (taken | set(map(int, (*ClusterSlot, *WebSocketSlot)))) & set(map(int, PagesSlot))
    assert not taken & set(map(int, BoshSlot))
    assert all(Slot.HUB_REFUSED < slot < Slot.UPSTREAM_BLOCKS for slot in BoshSlot)
    buckets = range(RoundTripSlot.BUCKETS, RoundTripSlot.BUCKETS + len(BUCKETS_SECONDS) + 1)
    assert all(max(BoshSlot) < slot < Slot.UPSTREAM_BLOCKS for slot in (*RoundTripSlot, *buckets))


def test_every_slot_of_a_board_is_exported_or_internal() -> None:
    exported = {*exported_slots(OfNode), *exported_slots(OfWorker)}
    internal = set(INTERNAL_SLOTS)
    assert not exported & internal
    blocks = {
        RoundTripSlot.BUCKETS: len(BUCKETS_SECONDS) + 1,
        Slot.CLOSED_BY_REASON: int(Reason.REASONS),
        Slot.STANZAS_IN: len(Kind),
        Slot.STANZAS_OUT: len(Kind),
    }
    wanted = {
        int(slot) + offset
        for slot in (*Slot, *ClusterSlot, *WebSocketSlot, *PagesSlot, *BoshSlot, *RoundTripSlot)
        if not slot.name.endswith("_BLOCKS")
        for offset in range(blocks.get(slot, 1))
    }
    assert wanted - exported - internal == set()
    assert exported | internal <= wanted


def test_every_slot_of_an_upstream_is_exported() -> None:
    exported = {*exported_slots(OfUpstream), int(UpstreamSlot.UP_HEALTHY)}
    wanted = {int(slot) for slot in UpstreamSlot} | {int(UpstreamSlot.UP_CONNECT_BUCKETS) + place for place in range(7)}
    assert exported == wanted


def test_every_slot_of_a_link_and_of_admission_is_exported() -> None:
    assert {*exported_slots(OfLink), int(LinkSlot.LI_STATE)} == set(map(int, LinkSlot))
    buckets = {int(AdmissionSlot.AD_ANSWER_BUCKETS) + place for place in range(7)}
    assert {*exported_slots(OfAdmission)} == set(map(int, AdmissionSlot)) | buckets


def test_every_reason_has_a_label() -> None:
    assert sorted(REASONS.values()) == list(range(int(Reason.REASONS)))
    assert "slow-consumer" in REASONS


# The reference


def documented() -> dict[str, tuple[str, set[str]]]:
    """Name to type and labels, from the tables of the reference."""
    rows = re.findall(r"^\| `(megaphone_\w+)` \| (\w+) \|([^|]*)\|", REFERENCE.read_text(), re.MULTILINE)
    found = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(found) == len(rows)
    return found


def test_the_reference_documents_each_metric_with_its_labels_and_no_other() -> None:
    assert documented() == {metric.name: (metric.type, set(metric.labels)) for metric in METRICS}


def test_the_reference_explains_each_reason_and_each_cause() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \|$", REFERENCE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted([*REASONS, *get_args(Cause)])

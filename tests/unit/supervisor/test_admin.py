"""The operators' pages over real sockets, and what happens to those who ask badly."""

import json
import os
import signal
import socket
import stat
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from megaphone.dispatch.counters import Board, UpstreamSlot
from megaphone.supervisor import process_facts
from megaphone.supervisor.child import State
from tests.unit.supervisor.node_under_test import PATIENCE_SECONDS, RunNode, make_config, until

pytestmark = pytest.mark.trio


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """A metrics page as (name, sorted labels) to value."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def test_live_and_ready(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        assert await node.get("/health/live") == (200, '{"live":true}\n')
        assert await node.get("/health/ready") == (200, '{"ready":true,"reasons":[]}\n')


async def test_not_ready_says_why(run_node: RunNode) -> None:
    async with run_node("silent", workers=2) as node:
        status, text = await node.get("/health/ready")
        assert status == 503
        assert json.loads(text)["reasons"] == ["worker 0 is starting", "worker 1 is starting"]
        assert (await node.get("/health/live"))[0] == 200


async def test_not_ready_without_a_healthy_upstream(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        healthy = Board.upstream_slot(0, UpstreamSlot.UP_HEALTHY)
        node.supervisor.seats[1].board.counters.set(healthy, 0)
        status, text = await node.get("/health/ready")
        assert (status, json.loads(text)["reasons"]) == (503, ["domain example.org: no healthy upstream for worker 1"])
        node.supervisor.seats[0].board.counters.set(healthy, 0)
        _, text = await node.get("/health/ready")
        assert json.loads(text)["reasons"] == ["domain example.org: no healthy upstream for any worker"]


async def test_not_ready_while_draining(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=1) as node:
        await node.wait_ready()
        assert (await node.control("/drain", method="POST"))[0] == 202
        assert await node.get("/health/ready") == (503, '{"ready":false,"reasons":["draining"]}\n')
        assert (await node.get("/health/live"))[0] == 200
        assert json.loads((await node.control("/status"))[1])["phase"] == "draining"


@pytest.mark.parametrize(("counted", "shown"), [(77, 77), (None, 5 + 3)])
async def test_descriptors_are_the_kernels_count_or_else_the_sockets(
    run_node: RunNode, monkeypatch: pytest.MonkeyPatch, counted: int | None, shown: int
) -> None:
    """Before Linux 6.2 there is no count; the stand-in worker has 5 clients."""
    monkeypatch.setattr(process_facts, "open_descriptors", lambda pid: counted)
    async with run_node(workers=1) as node:
        await node.wait_ready()
        node.supervisor.seats[0].board.counters.set(Board.upstream_slot(0, UpstreamSlot.UP_OPEN), 3)
        _, page = await node.get("/metrics")
        assert samples(page)["megaphone_worker_open_fds", (("worker", "0"),)] == shown


async def test_metrics_count_restarts_and_requests(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        victim = node.supervisor.seats[0].child
        os.kill(victim.pid, signal.SIGKILL)
        await until(
            lambda: node.supervisor.seats[0].child is not victim and node.supervisor.seats[0].state is State.READY,
            "worker 0 was replaced",
        )
        assert (await node.get("/nothing"))[0] == 404
        status, page = await node.get("/metrics")
        assert status == 200
        found = samples(page)
        assert found["megaphone_worker_restarts_total", (("cause", "signal"), ("worker", "0"))] == 1
        assert sum(value for (name, _), value in found.items() if name == "megaphone_worker_restarts_total") == 1
        assert found["megaphone_workers", (("state", "ready"),)] == 2
        assert found["megaphone_connections", (("state", "authenticated"), ("worker", "0"))] == 5
        assert found["megaphone_worker_resident_memory_bytes", (("worker", "1"),)] > 1e6
        assert found["megaphone_worker_cpu_seconds_total", (("worker", "1"),)] > 0
        assert found["megaphone_admin_requests_total", (("endpoint", "other"), ("status", "404"))] == 1


async def test_the_control_socket_is_for_its_owner_and_goes_with_the_node(run_node: RunNode, directory: Path) -> None:
    async with run_node(workers=1) as node:
        await node.wait_ready()
        assert stat.S_IMODE(os.stat(directory / "admin.sock").st_mode) == 0o600
        node.supervisor.drain()
        await node.wait_ended()
    assert not (directory / "admin.sock").exists()


async def test_status_describes_the_node(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        status = json.loads((await node.control("/status"))[1])
        assert (status["phase"], status["ready"], status["pid"]) == ("running", True, os.getpid())
        assert status["listen"] == [{"address": f"127.0.0.1:{node.port}", "tls": "none"}]
        assert status["admin_address"] == node.node.admin_address
        assert status["domains"] == [{"name": "example.org", "upstreams": ["first"]}]
        assert [upstream["healthy_workers"] for upstream in status["upstreams"]] == [2]
        assert [worker["pid"] for worker in status["workers"]] == [seat.child.pid for seat in node.supervisor.seats]
        assert status["connections"] == 10


async def test_connections_of_all_workers_are_merged_filtered_and_limited(run_node: RunNode) -> None:
    async with run_node(workers=3) as node:
        await node.wait_ready()

        async def ask(query: str) -> tuple[list[int], bool, list[int]]:
            status, text = await node.control(f"/connections{query}")
            assert status == 200
            answer = json.loads(text)
            workers = [connection["worker"] for connection in answer["connections"]]
            return workers, answer["truncated"], answer["missing_workers"]

        assert await ask("") == ([0, 1, 2], False, [])
        assert await ask("?jid=user1%40example.org%2Fphone") == ([1], False, [])
        assert await ask("?limit=2") == ([0, 1], True, [])


async def test_a_worker_that_hangs_is_reported_missing_and_delays_nobody_for_long(run_node: RunNode) -> None:
    async with run_node(workers=2, heartbeat_timeout_seconds=PATIENCE_SECONDS) as node:
        await node.wait_ready()
        os.kill(node.supervisor.seats[1].child.pid, signal.SIGSTOP)
        with trio.fail_after(PATIENCE_SECONDS / 2):  # 2 s, if the machine has time; it is not replaced before
            answer = json.loads((await node.control("/connections"))[1])
        assert [connection["worker"] for connection in answer["connections"]] == [0]
        assert answer["missing_workers"] == [1]


async def test_links_of_all_workers_are_one_list(run_node: RunNode) -> None:
    async with run_node(workers=3) as node:
        await node.wait_ready()
        status, text = await node.control("/links")
        answer = json.loads(text)
        assert (status, answer["missing_workers"]) == (200, [])
        assert [link["name"] for link in answer["links"]] == ["edge/0/first/0", "edge/1/first/0", "edge/2/first/0"]
        assert [link["trouble"] for link in answer["links"]] == ["Connection refused", None, None]


async def test_each_worker_says_which_nodes_it_sees(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        status, text = await node.control("/nodes")
        answer = json.loads(text)
        assert (status, answer["missing_workers"]) == (200, [])
        assert [(each["worker"], each["up"], each["trouble"]) for each in answer["workers"]] == [
            *((0, True, ""), (1, False, "refused"))
        ]
        assert answer["workers"][0]["nodes"] == [
            {"name": "north", "key": "ab" * 32, "since_ms": 1, "workers": 2, "own": True, "addresses": []}
        ]


async def test_kick_adds_up_what_the_workers_ended(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        status, text = await node.control("/kick", method="POST", body={"jid": "user1@example.org"})
        assert (status, json.loads(text)) == (200, {"kicked": 1, "missing_workers": []})
        (kick,) = node.told(0, "kick")
        assert (kick["jid"], kick["connection"], kick["condition"]) == ("user1@example.org", None, "policy-violation")


async def test_drain_of_one_worker(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        drained = node.supervisor.seats[1].child
        status, _ = await node.control("/drain", method="POST", body={"worker": 1})
        assert status == 202
        await until(lambda: node.supervisor.seats[1].child is not drained, "worker 1 was replaced")
        assert await node.control("/drain", method="POST", body={"worker": 7}) == (
            409,
            '{"error":"worker 7 is not running"}\n',
        )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "/nothing", None, 404, "there is no /nothing"),
        ("POST", "/metrics", None, 405, "/metrics takes GET or HEAD"),
        ("GET", "/kick", None, 405, "/kick takes POST"),
        ("GET", "/connections?colour=red", None, 400, "unknown parameter colour"),
        ("GET", "/connections?state=happy", None, 400, "state is one of negotiating"),
        ("GET", "/connections?limit=0", None, 400, "limit is a number from 1 to 10000"),
        ("GET", "/connections?limit=ten", None, 400, "limit is a number from 1 to 10000"),
        ("GET", "/page?limit=201", None, 400, "limit is a number from 1 to 200"),
        ("GET", "/page?from=1", None, 400, "a page begins with"),
        ("GET", "/page?from=0.-1", None, 400, "a page begins with"),
        ("GET", "/page?state=happy", None, 400, "state is one of negotiating"),
        ("GET", "/page?jid=a", None, 400, "unknown parameter jid"),
        ("GET", "/talkers?limit=0", None, 400, "limit is a number from 1 to 100"),
        ("POST", "/dashboard.json", None, 405, "/dashboard.json takes GET or HEAD"),
        ("POST", "/dashboard/dashboard.js", None, 405, "/dashboard/dashboard.js takes GET or HEAD"),
        ("GET", "/dashboard/../admin.py", None, 404, "there is no /dashboard/../admin.py"),
        ("GET", "/dashboard/%2e%2e/admin.py", None, 404, "there is no /dashboard/../admin.py"),
        ("GET", "/connections?jid=a&jid=b", None, 400, "a parameter is given twice"),
        ("GET", "/connections?jid=%ff", None, 400, "cannot be understood"),
        ("POST", "/kick", "", 400, "the body cannot be used"),
        ("POST", "/kick", "{", 400, "the body cannot be used"),
        ("POST", "/kick", "\xff", 400, "the body cannot be used"),
        ("POST", "/kick", {}, 400, "exactly one of"),
        ("POST", "/kick", {"jid": ""}, 400, "exactly one of"),
        ("POST", "/kick", {"jid": "a@b", "address": "192.0.2.1"}, 400, "exactly one of"),
        ("POST", "/kick", {"jit": "a@b"}, 400, "unknown field `jit`"),
        ("POST", "/drain", {"worker": "one"}, 400, "Expected `int | null`"),
        ("POST", "/kick", "x" * 70_000, 413, "at most 65536 bytes"),
    ],
)
async def test_bad_requests_get_a_reason(
    run_node: RunNode, method: str, path: str, body: object, status: int, reason: str
) -> None:
    async with run_node("silent", workers=1) as node:
        got, text = await node.control(path, method=method, body=body)
        assert got == status
        assert reason in json.loads(text)["error"]


FOR_THE_SOCKET = ["/status", "/connections", "/links", "/reload", "/upgrade"]
FOR_THE_TOKEN = ["/page", "/talkers", "/nodes", "/kick", "/drain"]


@pytest.mark.parametrize("path", [*FOR_THE_SOCKET, *FOR_THE_TOKEN])
async def test_the_admin_address_only_shows_numbers_and_health(run_node: RunNode, path: str) -> None:
    async with run_node("silent", workers=1) as node:
        for method in ("GET", "POST"):
            status, text = await node.get(path, method=method)
            assert status == 403
            assert json.loads(text)["error"].startswith(f"{path} is served on the control socket only")
        assert not node.supervisor.draining.is_set()


async def test_the_token_of_operators(run_node: RunNode, directory: Path) -> None:
    config = make_config(directory, workers=2)
    file = directory / "token"
    file.touch(0o600)
    file.write_text("the-token-of-operators\n")
    config = replace(config, admin=replace(config.admin, token_file=str(file)))
    async with run_node(config=config) as node:
        await node.wait_ready()
        given = {"Authorization": "bearer the-token-of-operators"}

        async def ask(path: str, headers: dict[str, str], method: str = "GET", body: object = None) -> tuple[int, dict]:
            status, text = await node.get(path, headers=headers, method=method, body=body)
            return status, json.loads(text)

        for path in FOR_THE_SOCKET:  # the token does not open all
            assert (await ask(path, given))[0] == 403
        for path in FOR_THE_TOKEN:
            assert await ask(path, {}) == (
                401,
                {"error": f"{path} needs the token of operators: Authorization: Bearer"},
            )
            wrong = {"Authorization": "Bearer the-token-of-nobody"}
            assert await ask(path, wrong) == (401, {"error": "this is not the token of operators"})
        assert (await ask("/kick", given))[0] == 405
        assert (await ask("/kick", {}, "POST", {"jid": "user1@example.org"}))[0] == 401
        assert not node.told(0, "kick")
        assert (await ask("/kick", given, "POST", {"jid": "user1@example.org"})) == (
            200,
            {"kicked": 1, "missing_workers": []},
        )
        file.write_text("another-token-of-operators")  # holds at once
        assert (await ask("/page", given))[0] == 401
        anew = {"Authorization": "Bearer another-token-of-operators"}
        status, found = await ask("/page?search=user12&limit=9", anew)
        assert status == 200
        assert [row["worker"] for row in found["connections"]] == [0, 1]
        file.chmod(0o644)
        assert await ask("/page", anew) == (403, {"error": "the token of operators cannot be used, see the log"})
        assert (await ask("/dashboard.json", {}))[1]["token"] is True
        assert not node.supervisor.draining.is_set()


async def test_pages_of_connections_go_through_all_workers(run_node: RunNode) -> None:
    """A stand-in worker has four connections in slots 10 to 13."""
    async with run_node(workers=2, heartbeat_timeout_seconds=PATIENCE_SECONDS) as node:
        await node.wait_ready()

        async def ask(query: str) -> tuple[list[str], str | None, list[int]]:
            status, text = await node.control(f"/page?{query}")
            assert status == 200, text
            answer = json.loads(text)
            return [row["jid"] for row in answer["connections"]], answer["next"], answer["missing_workers"]

        def jids(worker: int, *slots: int) -> list[str]:
            return [f"user{slot}@worker{worker}" for slot in slots]

        assert await ask("limit=3") == (jids(0, 10, 11, 12), "0.13", [])
        assert await ask("limit=3&from=0.13") == (jids(0, 13) + jids(1, 10, 11), "1.12", [])
        assert await ask("limit=3&from=1.12") == (jids(1, 12, 13), None, [])
        assert await ask("limit=4") == (jids(0, 10, 11, 12, 13), "1.0", [])
        assert await ask("search=user12&from=7.0") == ([], None, [])
        os.kill(node.supervisor.seats[0].child.pid, signal.SIGSTOP)
        assert await ask("search=user12") == (jids(1, 12), None, [0])


async def test_talkers_of_all_workers_are_in_one_order(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        answer = json.loads((await node.control("/talkers?limit=3"))[1])
        assert [row["jid"] for row in answer["connections"]] == ["user13@worker1", "user13@worker0", "user12@worker1"]
        assert answer["missing_workers"] == []


async def test_a_mistake_in_a_page_is_answered_with_500(run_node: RunNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_node("silent", workers=1) as node:
        monkeypatch.setattr("megaphone.supervisor.views.status", lambda *_, **__: 1 / 0)
        assert await node.control("/status") == (500, '{"error":"internal error, see the log"}\n')
        assert (await node.get("/health/live"))[0] == 200


async def test_pages_can_be_switched_off(run_node: RunNode, directory: Path) -> None:
    config = make_config(directory, workers=1)
    config = replace(config, admin=replace(config.admin, address=""))
    async with run_node(config=config) as node:
        await node.wait_ready()
        assert node.node.admin_address == ""
        assert json.loads((await node.control("/status"))[1])["admin_address"] == ""


async def test_a_second_node_does_not_take_the_control_socket_of_the_first(run_node: RunNode) -> None:
    from megaphone.errors import ConfigError

    async with run_node(workers=1) as node:
        with pytest.raises(ConfigError, match="another Megaphone is running and answers on"):
            async with run_node(workers=1):
                pass
        with socket.socket(socket.AF_UNIX) as still_there:
            still_there.connect(node.supervisor.config.admin.socket)

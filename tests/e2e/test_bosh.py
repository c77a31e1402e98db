"""Clients over BOSH through a running Megaphone: by itself, in front of Prosody, and over links to it."""

import asyncio

from tests.e2e.edges import edge_in, one_of, plain_listener
from tests.e2e.test_upgrade_direct import upgrade
from tests.link.server import run
from tests.scenarios.bosh_client import BoshClient
from tests.scenarios.light import TIMEOUT_SECONDS, LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB, CAROL

CLIENT = "{jabber:client}"
TRIES = 5
UPGRADE_SECONDS = 120.0  # a whole upgrade on a busy machine
UPGRADE_ENDS_SECONDS = 30.0  # far less than a request is held, so that nobody is answered by the end of that


def for_browsers(edge: Edge) -> None:
    """BOSH beside XMPP where there is direct TLS, and a plain listener for proxies."""
    edge.tables["listen"][1] |= {"web": ["bosh"], "tls": "both"}
    edge.plain = plain_listener(edge, web=["bosh"])  # type: ignore[attr-defined]
    edge.tables["websocket"] = {"forwarded_from": ["127.0.0.0/8"]}
    edge.tables["bosh"] = {"wrong_sids_per_address": 8}


by_itself = edge_in("by_itself", for_browsers)
in_front_of_prosody = edge_in("in_front_of_prosody", for_browsers)
linked_to_prosody = edge_in("linked_to_prosody", for_browsers)
edge = one_of("by_itself", "in_front_of_prosody", "linked_to_prosody")


def test_two_kinds_of_clients_talk(edge: Edge, authority: CertificateAuthority) -> None:
    """Over BOSH in TLS, over TCP on the same port, and over BOSH behind a proxy that does TLS; answers get lost."""

    async def main() -> None:
        alice = await BoshClient.logged_in(edge.direct, ALICE, authority.certificate)
        bob = await LightClient.login(edge.direct, BOB, authority.certificate)
        bob.send("<presence/>")
        forwarded = {"X-Forwarded-For": "192.0.2.77", "X-Forwarded-Proto": "https"}
        proxied = await BoshClient.logged_in(edge.plain, ALICE, None, forwarded=forwarded)  # type: ignore[attr-defined]
        roster = await alice.ask("<query xmlns='jabber:iq:roster'/>", "get")
        assert roster.find("{jabber:iq:roster}query") is not None
        for number in range(12):
            alice.lose_answers = number % 3 == 0
            await alice.message(bob.jid, f"to bob {number} \u00e9\U0001f600")
            bob.message(alice.jid, f"to alice {number}")
        for number in range(12):
            assert await alice.next_body() == f"to alice {number}"
            while (body := (await bob.next()).findtext(f"{CLIENT}body")) is None:
                pass
            assert body == f"to bob {number} \u00e9\U0001f600"
        large = "x" * 200_000
        await alice.message(proxied.jid, large)
        assert await proxied.next_body() == large
        rows = (await asyncio.to_thread(edge.request, "GET", "/connections"))["connections"]
        by_jid = {row["jid"]: row for row in rows if row["transport"] == "bosh"}
        assert by_jid[proxied.jid]["address"] == "192.0.2.77"
        assert alice.jid in by_jid
        assert await asyncio.to_thread(edge.metric, "megaphone_bosh_sessions") == 2
        assert await asyncio.to_thread(edge.metric, "megaphone_bosh_passed_on_total") > 0
        assert await alice.terminate() is None
        assert await proxied.terminate() is None
        await bob.close()

    run(main())


def test_an_operator_ends_a_session(by_itself: Edge, authority: CertificateAuthority) -> None:
    async def main() -> None:
        alice = await BoshClient.logged_in(by_itself.direct, ALICE, authority.certificate)
        await asyncio.to_thread(by_itself.request, "POST", "/kick", {"jid": alice.jid})
        assert await alice.end() == "remote-stream-error"

    run(main())


def test_sessions_that_are_not_there(by_itself: Edge, authority: CertificateAuthority) -> None:
    """Who guesses has to wait; a session of that address goes on."""

    async def main() -> None:
        alice = await BoshClient.logged_in(by_itself.direct, ALICE, authority.certificate)
        conditions = []
        for number in range(40):
            conditions.append(await ask_of(f"{number % 2}.guessed{number}" if number % 5 else "not one of ours"))
        assert conditions[:8] == ["item-not-found"] * 8
        assert set(conditions[8:]) <= {"item-not-found", "policy-violation"}
        bob = await locked_out_of_bobs()
        assert await asyncio.to_thread(by_itself.metric, "megaphone_bosh_wrong_sids_total", result="locked") > 0
        for client in (alice, bob):
            pong = await client.ask("<ping xmlns='urn:xmpp:ping'/>", "get", ALICE.domain)
            assert pong.get("type") == "result"
            assert await client.terminate() is None

    async def ask_of(sid: str, rid: int = 1_000_000) -> str | None:
        stranger = BoshClient(by_itself.direct, ALICE, authority.certificate)
        stranger.sid, stranger.rid = sid, rid
        stranger.send()
        return await stranger.end()

    async def locked_out_of_bobs() -> BoshClient:
        """Bob's session, which a stranger who has to wait did not get at. The wait may end before that is tried."""
        for _ in range(TRIES):
            bob = await BoshClient.logged_in(
                by_itself.plain,  # type: ignore[attr-defined]
                BOB,
                None,
                forwarded={"X-Forwarded-For": "192.0.2.78", "X-Forwarded-Proto": "https"},
            )
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while await ask_of(f"{bob.sid.partition('.')[0]}.guessed") != "policy-violation":
                    pass
            if await ask_of(bob.sid, bob.rid + 1_000) == "policy-violation":
                return bob
            assert await bob.end() == "item-not-found"  # as no session goes on after such a rid
        raise AssertionError("who guesses gets at a session of somebody else")

    run(main())


def test_a_wrong_host_and_no_body(by_itself: Edge, authority: CertificateAuthority) -> None:
    async def main() -> None:
        client = BoshClient(by_itself.direct, ALICE, authority.certificate)
        for text, condition in [
            ("<body rid='1' to='nowhere.example' xmlns='http://jabber.org/protocol/httpbind'/>", "host-unknown"),
            ("<body rid='1'/>", "bad-request"),
            ("no XML", "bad-request"),
        ]:
            body = await client.post(text)
            assert (body.get("type"), body.get("condition")) == ("terminate", condition)

    run(main())


def test_an_upgrade_ends_sessions_in_order(by_itself: Edge, authority: CertificateAuthority) -> None:
    """Who held a request at one worker for a session of another one asks again; all end, and may begin anew."""
    edge = by_itself

    async def main() -> None:
        alice = await BoshClient.logged_in(edge.direct, ALICE, authority.certificate)
        bob = await LightClient.login(edge.direct, BOB, authority.certificate)
        waits = asyncio.create_task(alice.end(UPGRADE_SECONDS))
        before = edge.workers()
        upgraded = await upgrade(edge)
        assert upgraded.returncode == 0, upgraded.stderr
        assert not set(before) & set(edge.workers())
        async with asyncio.timeout(UPGRADE_ENDS_SECONDS):
            assert await waits in ("system-shutdown", "item-not-found", "remote-connection-failed")
        again = await BoshClient.logged_in(edge.direct, ALICE, authority.certificate)
        await again.message(bob.jid, "after all")
        while (await bob.next()).findtext(f"{CLIENT}body") != "after all":
            pass
        assert await again.terminate() is None
        await bob.close()
        await until(lambda: edge.metric("megaphone_bosh_sessions") == 0, "no session left")

    run(main())


def test_a_drain_tells_who_waits(by_itself: Edge, authority: CertificateAuthority) -> None:
    """The last test of this service, which is stopped."""

    async def main() -> None:
        # of three people, or the end of one session would be news for another
        people = (ALICE, BOB, CAROL)
        clients = [await BoshClient.logged_in(by_itself.direct, each, authority.certificate) for each in people]
        for client in clients:
            assert (await client.ask("<query xmlns='jabber:iq:roster'/>", "get")).get("type") == "result"
            await client.is_held()
        await until(lambda: by_itself.metric("megaphone_http_connections") >= len(clients), "a held request of each")
        ends = [asyncio.create_task(client.end()) for client in clients]
        await asyncio.to_thread(by_itself.stop)
        # the other one: a user's home is another worker than the session's, and has gone first
        assert set(await asyncio.gather(*ends)) <= {"system-shutdown", "remote-connection-failed"}

    run(main())

"""slixmpp loses its connection to the embedded service and goes on (XEP-0198), whichever worker it comes back to."""

from collections.abc import Callable

import pytest

from tests.scenarios.client import Client, stanza
from tests.scenarios.company import Company, Script
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB

Played = Callable[[Script], None]
CUTS = 3
TRIES = 40  # of which each comes back to either worker alike


def worker_of(service: Embedded, client: Client) -> int:
    """The worker that has the client's socket."""
    port = client.transport.get_extra_info("sockname")[1]
    (row,) = [row for row in service.request("GET", "/connections")["connections"] if row["port"] == port]
    return int(row["worker"])


def bodies(client: Client) -> list[str]:
    return [
        entry.element.findtext("{jabber:client}body", "")
        for entry in client.transcript.entries
        if entry.client == client.name
        and entry.direction == "in"
        and entry.element is not None
        and entry.element.tag == "{jabber:client}message"
    ]


async def hang_up(client: Client) -> None:
    """Close the socket as a system does for a process that was killed: FIN, but neither stream end nor TLS close."""
    client.transport.abort()
    await client.expect_event("disconnected")


@pytest.mark.parametrize("tls", ["direct", "starttls", "plain"])
def test_nothing_is_lost_or_repeated(played: Played, embedded: Embedded, tls: str) -> None:
    """Whichever worker it comes back to, the connection goes to the home of its user, with the keys of its TLS."""

    async def script(company: Company) -> None:
        alice = await company.enter(
            ALICE, endpoint=getattr(embedded, tls), mechanism="SCRAM-SHA-256", resource="desk", stream_management=True
        )
        bob = await company.enter(BOB)
        full, expected, answers = alice.boundjid.full, [], []
        workers = [worker_of(embedded, alice)]
        moved = embedded.metric("megaphone_connections_moved_total")
        # until it came to the other worker, too
        while len(expected) < 3 * CUTS or embedded.metric("megaphone_connections_moved_total") == moved:
            assert len(workers) < TRIES
            company.transcript.begin(f"cut {len(workers)}")
            before = [f"before cut {len(workers)}", f"at cut {len(workers)}"]
            bob.send_message(full, before[0], mtype="chat")
            await alice.expect(stanza("message", of=bob.boundjid.full))
            alice.send_message(bob.boundjid, f"answer {len(workers)}", mtype="chat")
            answers.append(f"answer {len(workers)}")
            bob.send_message(full, before[1], mtype="chat")
            await (alice.cut() if len(workers) % 2 else hang_up(alice))
            bob.send_message(full, f"after cut {len(workers)}", mtype="chat")
            await bob.settle()
            expected += [*before, f"after cut {len(workers)}"]
            await alice.resume()
            alice.send_message(bob.boundjid, f"back {len(workers)}", mtype="chat")
            answers.append(f"back {len(workers)}")
            await company.settle()
            assert bodies(alice) == expected
            assert bodies(bob) == answers
            assert alice.boundjid.full == full
            workers.append(worker_of(embedded, alice))
        assert len(set(workers)) == 1
        mine = [entry.event for entry in alice.transcript.entries if entry.client == alice.name]
        assert mine.count("session_resumed") == len(workers) - 1

    played(script)


def test_another_session_cannot_be_resumed(played: Played, embedded: Embedded) -> None:
    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, stream_management=True)
        thief = company.client(BOB, stream_management=True)
        thief.plugin["xep_0198"].sm_id = alice.plugin["xep_0198"].sm_id
        thief.connect(thief.endpoint.host, thief.endpoint.port)
        await thief.expect(lambda element: element.tag == "{urn:xmpp:sm:3}failed")
        await thief.expect_event("sm_enabled")  # slixmpp binds instead
        assert thief.boundjid.bare == BOB.jid
        await alice.settle()

    played(script)


@pytest.mark.parametrize("waiting", [False, True], ids=["resumed", "waiting"])
def test_an_operator_ends_a_session(played: Played, embedded: Embedded, waiting: bool) -> None:
    """A connection that has resumed a session shows no JID, and one that waits has no connection: both are found."""

    async def script(company: Company) -> None:
        bob = await company.enter(BOB, resource="here")
        alice = await company.enter(ALICE, resource="desk", stream_management=True)
        other = await company.enter(ALICE, resource="phone", stream_management=True)
        await alice.cut()
        if not waiting:
            await alice.resume()
        company.transcript.begin("kick")
        assert embedded.request("POST", "/kick", {"jid": alice.boundjid.full})["kicked"] == 1
        await other.expect(stanza("presence", of=alice.boundjid.full, kind="unavailable"))
        if not waiting:
            await alice.expect_event("disconnected")
        company.transcript.begin("back")
        alice.connect(alice.endpoint.host, alice.endpoint.port)
        await alice.expect(lambda element: element.tag == "{urn:xmpp:sm:3}failed")
        await alice.expect_event("sm_enabled")
        assert embedded.request("POST", "/kick", {"jid": ALICE.jid})["kicked"] == 2
        await other.expect_event("disconnected")
        await bob.settle()

    played(script)

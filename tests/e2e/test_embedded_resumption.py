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
    """With TLS the connection stays where it was accepted, so that it comes back to both workers; in clear it moves."""

    async def script(company: Company) -> None:
        alice = await company.enter(
            ALICE, endpoint=getattr(embedded, tls), mechanism="SCRAM-SHA-256", resource="desk", stream_management=True
        )
        bob = await company.enter(BOB)
        full, expected, answers = alice.boundjid.full, [], []
        workers = [worker_of(embedded, alice)]
        while len(expected) < 3 * CUTS or (tls != "plain" and len(set(workers)) < 2):
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

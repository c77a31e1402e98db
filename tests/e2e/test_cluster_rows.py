"""Accounts, rosters and vCards are the same on all nodes, whoever writes them, also after NATS was away."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

from megaphone.storage.database import connect, database_path
from tests.scenarios.client import stanza
from tests.scenarios.company import Company, play
from tests.servers.cluster import Cluster, ClusterNode
from tests.servers.model import ALICE, BOB, CAROL, Account
from tests.servers.process import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.certificates import CertificateAuthority

SHARED_SECONDS = 60.0  # several processes of the command are started for one look


def operator(node: ClusterNode, *words: str, typed: str = "") -> str:
    """What `megaphone user` says; it does its work in the database of this node, whether that runs or not."""
    command = [sys.executable, "-m", "megaphone", "user", *words, "--config", str(node.config_path)]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def add(node: ClusterNode, account: Account) -> None:
    operator(node, "add", account.user, "--password-file", "-", typed=f"{account.password}\n")


def rows(node: ClusterNode, *tables: str) -> int:
    """How many rows there are in the database of a node, while it runs."""
    with contextlib.closing(connect(database_path(str(node.data)), read_only=True)) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
    return sum(count for (count,) in counts)


def until_accounts(cluster: Cluster, *accounts: Account) -> None:
    """Return when exactly these accounts are on every node that runs."""
    wanted = {account.user for account in accounts}

    def there() -> bool:
        listed = [operator(node, "list") for node in cluster.running()]
        return all({line.split("@")[0] for line in each.splitlines() if "@" in line} == wanted for each in listed)

    wait_until(there, f"accounts {sorted(wanted)}", SHARED_SECONDS)


def test_an_account_of_one_node_logs_in_at_another_with_its_contacts(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    with Cluster(tmp_path, authority, nodes=3, register=False) as cluster:
        a, b, c = cluster.nodes
        add(a, ALICE)
        add(b, BOB)
        until_accounts(cluster, ALICE, BOB)

        async def script(company: Company) -> None:
            here = await company.enter(ALICE, "xep_0054", endpoint=b.direct)
            await here.update_roster(BOB.jid, name="Bob", groups=["Friends"])
            card = here.plugin["xep_0054"].stanza.VCardTemp()
            card["FN"] = "Alice Liddell"
            await here.plugin["xep_0054"].publish_vcard(vcard=card)
            await here.settle()
            await here.leave()

        play(a, authority.certificate, script)

        async def look(company: Company) -> None:
            for node in (a, c):
                there = await company.enter(ALICE, "xep_0054", endpoint=node.direct)
                answer = await there.ask("get", "<query xmlns='jabber:iq:roster'/>")
                assert [(item.get("jid"), item.get("name")) for item in answer[0]] == [(BOB.jid, "Bob")]
                card = await there.plugin["xep_0054"].get_vcard(there.boundjid.bare)
                assert card["vcard_temp"]["FN"] == "Alice Liddell"

        for node in (a, c):
            wait_until(lambda node=node: rows(node, "roster", "vcard") == 2, "a contact and a vCard", SHARED_SECONDS)
        play(a, authority.certificate, look)
        operator(c, "remove", ALICE.user)
        until_accounts(cluster, BOB)


def test_a_client_learns_at_once_what_another_client_of_its_user_changes_at_another_node(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    with Cluster(tmp_path, authority, nodes=2) as cluster:
        a, b = cluster.nodes

        async def script(company: Company) -> None:
            here = await company.enter(ALICE, endpoint=a.direct)
            there = await company.enter(ALICE, "xep_0191", endpoint=b.direct)
            await here.update_roster(BOB.jid, name="Bob")
            (push,) = await there.expect(stanza("iq", kind="set", child="{jabber:iq:roster}query"))
            assert (push[0][0].get("jid"), push[0][0].get("name")) == (BOB.jid, "Bob")
            await here.ask("set", f"<block xmlns='urn:xmpp:blocking'><item jid='{CAROL.jid}'/></block>")

            async def blocked() -> list[str | None]:
                answer = await there.ask("get", "<blocklist xmlns='urn:xmpp:blocking'/>")
                return [item.get("jid") for item in answer[0]]

            async with asyncio.timeout(SHARED_SECONDS):
                while await blocked() != [CAROL.jid]:
                    await asyncio.sleep(0.05)

        play(a, authority.certificate, script)


def test_what_was_written_without_nats_or_while_a_node_was_down_is_shared_afterwards(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    with Cluster(tmp_path, authority, nodes=3, workers=1, register=False) as cluster:
        a, b, c = cluster.nodes
        add(a, ALICE)
        until_accounts(cluster, ALICE)
        c.kill()
        cluster.nats.kill()
        cluster.nats.delete_store()
        add(a, BOB)
        add(c, CAROL)
        operator(b, "remove", ALICE.user)
        cluster.nats.start()
        until_accounts(cluster, BOB)
        c.start_again()
        until_accounts(cluster, BOB, CAROL)

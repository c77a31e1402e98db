"""slixmpp logs in to the embedded service: every way to TLS and every mechanism, on two workers."""

import asyncio
import ssl
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from tests.scenarios.client import Client
from tests.scenarios.company import Company, Script
from tests.scenarios.light import LightClient
from tests.scenarios.transcript import SASL, STREAM
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB, DOMAIN, Account, Endpoint

Played = Callable[[Script], None]
NOBODY = Account("", "")
SCRAM = ["SCRAM-SHA-256", "SCRAM-SHA-1"]
PLUS = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]


def features(client: Client) -> list[ET.Element]:
    return [
        entry.element
        for entry in client.transcript.entries
        if entry.client == client.name and entry.element is not None and entry.element.tag == f"{{{STREAM}}}features"
    ]


def mechanisms(client: Client) -> set[str | None]:
    return {each.text for offer in features(client) for each in offer.iter(f"{{{SASL}}}mechanism")}


@pytest.mark.parametrize("account", [ALICE, BOB], ids=lambda account: account.user)
@pytest.mark.parametrize(
    ("tls", "mechanism"),
    [
        ("starttls", "SCRAM-SHA-256"),
        ("direct", "SCRAM-SHA-1"),
        ("direct", "PLAIN"),
        ("none", "SCRAM-SHA-256"),
    ],
)
def test_login(played: Played, embedded: Embedded, tls: str, mechanism: str, account: Account) -> None:
    async def script(company: Company) -> None:
        endpoint: Endpoint = {"starttls": embedded.starttls, "direct": embedded.direct, "none": embedded.plain}[tls]
        client = await company.enter(account, endpoint=endpoint, mechanism=mechanism, resource="Bälcony", present=False)
        assert client.boundjid.full == f"{account.jid}/Bälcony"
        assert client.plugin["feature_mechanisms"].mech.name == mechanism
        encrypted = {*SCRAM, *PLUS, "PLAIN", "ANONYMOUS"}
        assert mechanisms(client) == ({*SCRAM, "ANONYMOUS"} if tls == "none" else encrypted)
        offered = {child.tag for child in features(client)[-1]}
        assert offered == {
            "{urn:ietf:params:xml:ns:xmpp-bind}bind",
            "{urn:ietf:params:xml:ns:xmpp-session}session",
            "{urn:xmpp:sm:3}sm",
            "{urn:xmpp:features:rosterver}ver",
            "{urn:xmpp:csi:0}csi",
            "{http://jabber.org/protocol/caps}c",
        }
        await client.settle()

    played(script)


@pytest.mark.parametrize("tls", ["starttls", "direct"])
def test_channel_binding(played: Played, embedded: Embedded, tls: str) -> None:
    """Python's ssl knows tls-unique alone, which TLS 1.3 has not; slixmpp itself then takes the strongest mechanism."""

    async def script(company: Company) -> None:
        client = company.client(ALICE, endpoint=getattr(embedded, tls), mechanism="")
        client.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        await client.login()
        assert client.plugin["feature_mechanisms"].mech.name == "SCRAM-SHA-256-PLUS"
        await client.settle()

    played(script)


@pytest.mark.parametrize("tls", ["direct", "plain"])
def test_without_an_account(played: Played, embedded: Embedded, tls: str) -> None:
    async def script(company: Company) -> None:
        guests = [await company.enter(NOBODY, endpoint=getattr(embedded, tls), mechanism="ANONYMOUS") for _ in range(2)]
        names = {guest.boundjid.local for guest in guests}
        assert len(names) == 2
        assert all(guest.boundjid.domain == DOMAIN for guest in guests)
        answer = await guests[0].ask("set", "<query xmlns='jabber:iq:private'><n xmlns='urn:n'/></query>")
        assert answer.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}not-allowed") is not None

    played(script)


def test_no_password_in_clear(embedded: Embedded, authority: CertificateAuthority) -> None:
    """PLAIN without TLS is not offered, and refused to who uses it all the same."""

    async def log_in() -> None:
        with pytest.raises(AssertionError, match="encryption-required"):
            await LightClient.login(embedded.plain, ALICE, authority.certificate)

    asyncio.run(log_in())


class LineBreaks(LightClient):
    """Ends everything with a line break, as go-xmpp does: behind SASL's last element it comes before a declaration."""

    def send(self, xml: str) -> None:
        super().send(xml + "\n")


@pytest.mark.parametrize("tls", ["direct", "starttls"])
def test_a_line_break_behind_sasl(embedded: Embedded, authority: CertificateAuthority, tls: str) -> None:
    """On either worker, so that some of the connections are not at home (only one in 256 runs does not see that)."""

    async def log_in() -> None:
        for number in range(8):
            client = await LineBreaks.login(getattr(embedded, tls), (ALICE, BOB)[number % 2], authority.certificate)
            await client.ping()
            await client.close()

    asyncio.run(log_in())


def test_who_was_taken_home_is_told_why_the_stream_ends(embedded: Embedded, authority: CertificateAuthority) -> None:
    """Half of the clients connect to another worker than their user's, which then takes their connection over."""

    async def main() -> None:
        taken = await asyncio.to_thread(embedded.metric, "megaphone_connections_moved_total", direction="taken")
        for _ in range(30):
            client = await LightClient.login(embedded.direct, ALICE, authority.certificate)
            sent = await asyncio.to_thread(embedded.metric, "megaphone_stanzas_total", direction="out")
            await client.ping()
            counted = await asyncio.to_thread(embedded.metric, "megaphone_stanzas_total", direction="out")
            assert counted > sent
            rows = (await asyncio.to_thread(embedded.request, "GET", "/connections"))["connections"]
            whom = {"connection": next(row["id"] for row in rows if row["jid"] == client.jid)}
            assert (await asyncio.to_thread(embedded.request, "POST", "/kick", whom))["kicked"] == 1
            assert await client.end() == "policy-violation"
            if await asyncio.to_thread(embedded.metric, "megaphone_connections_moved_total", direction="taken") > taken:
                return
        raise AssertionError("none was taken over")

    asyncio.run(main())

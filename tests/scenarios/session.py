"""The scripted session: everything ordinary clients do in a day, by two users with three devices."""

import asyncio
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tests.scenarios.client import Client, stanza
from tests.scenarios.transcript import Transcript
from tests.servers.model import ALICE, BOB, DOMAIN, ROOMS, Account, Endpoint

ROOM = f"lobby@{ROOMS}"
CARBONS = "{urn:xmpp:carbons:2}"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = "{http://jabber.org/protocol/muc#user}x"
ROSTER = "{jabber:iq:roster}query"
UNICODE = (
    "Grüße, 世界! \U0001f4e3\U0001f469\u200d\U0001f680 \u202eright to left\u202c e\u0301 \ud7ff\ue000\ufffd\U0010ffff"
)
RECEIPT_REQUEST = "<request xmlns='urn:xmpp:receipts'/>"


def bodies(count: int) -> str:
    """A body of `count` characters that are 1, 2, 3 and 4 bytes long in UTF-8, so that reads end inside characters."""
    return ("aß世\U0001f4e3" * (count // 4 + 1))[:count]


class Session:
    """One run of the script; each method is one or more steps and ends only when its consequences have arrived."""

    def __init__(self, endpoint: Endpoint, authority: Path, *, archive: bool = True) -> None:
        self.with_archive = archive
        self.endpoint = endpoint
        self.authority = authority
        self.transcript = Transcript()
        self.desk = self._client("alice-desk", ALICE, resource="desk", stream_management=True)
        self.phone = self._client("alice-phone", ALICE)  # the server chooses its resource
        self.bob = self._client("bob", BOB, resource="balcony é")
        self.clients = (self.desk, self.phone, self.bob)

    def _client(self, name: str, account: Account, **options: object) -> Client:
        return Client(name, account, self.endpoint, self.authority, self.transcript, **options)  # type: ignore[arg-type]

    async def _begin(self, step: str, *, undelayed: bool = False) -> None:
        """End the step before and begin `step`.

        Two rounds of pings: after the first every session has dealt with all that was sent, after the second all that
        this made it send to other sessions has arrived.
        """
        for client in self.clients * 2:
            if client.sessionstarted:
                await client.settle()
        self.transcript.begin(step, undelayed=undelayed)

    async def run(self) -> Transcript:
        """The whole script, from empty rosters."""
        try:
            await self.forget()
            await self.wrong_password()
            await self.log_in()
            await self.presence()
            await self.subscribe()
            await self.messages()
            await self.carbons()
            await self.large_bodies()
            await self.room()
            await self.store()
            if self.with_archive:
                await self.archive()
            await (
                self.discover()
            )  # after storing: what was stored can be discovered, in the first run and in all others
            await self.be_inactive()
            await self.lose_the_network()
            await self.unsubscribe()
            await self.say_goodbye()
        finally:
            for client in self.clients:
                await client.dispose()
        return self.transcript

    async def forget(self) -> None:
        """Empty both rosters: a run that broke off leaves entries. Not part of the transcript."""
        aside = Transcript()
        for account in (ALICE, BOB):
            aside.begin(f"forget {account.user}")
            client = Client("forget", account, self.endpoint, self.authority, aside)
            try:
                await client.login()
                roster = await client.ask("get", "<query xmlns='jabber:iq:roster'/>")
                for item in roster.iterfind(".//{jabber:iq:roster}item"):
                    remove = f"<item jid={quoteattr(item.get('jid', ''))} subscription='remove'/>"
                    await client.ask("set", f"<query xmlns='jabber:iq:roster'>{remove}</query>")
                await client.leave()  # or the server may notice its end in the midst of the script
            finally:
                await client.dispose()

    async def wrong_password(self) -> None:
        await self._begin("wrong password")
        thief = self._client("thief", Account("alice", "not the password"))
        thief.connect(self.endpoint.host, self.endpoint.port)
        await thief.expect_event("failed_auth")
        await thief.expect_event("disconnected")
        await thief.dispose()

    async def log_in(self) -> None:
        await self._begin("log in")
        for client in self.clients:
            await client.login()
        self.transcript.chosen[self.phone.boundjid.resource] = "chosen-by-server"

    async def presence(self) -> None:
        await self._begin("presence to oneself")
        desk, phone = self.desk.boundjid.full, self.phone.boundjid.full
        self.desk.say("<presence><show>chat</show><status>at the desk</status></presence>")
        await self.desk.expect(stanza("presence", of=desk))
        self.phone.say("<presence><priority>-1</priority></presence>")
        await self.phone.expect(stanza("presence", of=desk), stanza("presence", of=phone))
        await self.desk.expect(stanza("presence", of=phone))
        self.bob.say("<presence/>")
        await self.bob.expect(stanza("presence", of=self.bob.boundjid.full))
        await self._begin("presence update")
        self.desk.say(f"<presence><show>away</show><status>{UNICODE}</status></presence>")
        await self.desk.expect(stanza("presence", of=desk))
        await self.phone.expect(stanza("presence", of=desk))

    async def subscribe(self) -> None:
        await self._begin("empty roster")
        for client in self.clients:
            await client.ask("get", "<query xmlns='jabber:iq:roster'/>")
        await self._begin("roster add")
        await self.desk.ask(
            "set",
            f"<query xmlns='jabber:iq:roster'><item jid='{BOB.jid}' name='Bob &amp; Söhne'><group>A</group>"
            "</item></query>",
        )
        for device in (self.desk, self.phone):
            await device.expect(stanza("iq", kind="set", child=ROSTER))
        await self._begin("alice asks to see bob")
        self.desk.say(f"<presence type='subscribe' to='{BOB.jid}'><status>please</status></presence>")
        for device in (self.desk, self.phone):
            await device.expect(stanza("iq", kind="set", child=ROSTER))
        await self.bob.expect(stanza("presence", kind="subscribe", of=ALICE.jid))
        await self._begin("bob lets her")
        self.bob.say(f"<presence type='subscribed' to='{ALICE.jid}'/>")
        await self.bob.expect(stanza("iq", kind="set", child=ROSTER))
        for device in (self.desk, self.phone):
            await device.expect(
                stanza("iq", kind="set", child=ROSTER),
                stanza("presence", of=self.bob.boundjid.full),
            )
        await self.desk.expect(stanza("presence", kind="subscribed", of=BOB.jid))
        await self._begin("bob asks to see alice")
        self.bob.say(f"<presence type='subscribe' to='{ALICE.jid}'/>")
        await self.bob.expect(stanza("iq", kind="set", child=ROSTER))
        await self.desk.expect(stanza("presence", kind="subscribe", of=BOB.jid))
        await self._begin("alice lets him")
        self.desk.say(f"<presence type='subscribed' to='{BOB.jid}'/>")
        for device in (self.desk, self.phone):
            await device.expect(stanza("iq", kind="set", child=ROSTER))
        await self.bob.expect(
            stanza("iq", kind="set", child=ROSTER),
            stanza("presence", kind="subscribed", of=ALICE.jid),
            stanza("presence", of=self.desk.boundjid.full),
            stanza("presence", of=self.phone.boundjid.full),
        )
        await self._begin("full roster")
        for client in self.clients:
            await client.ask("get", "<query xmlns='jabber:iq:roster'/>")

    async def messages(self) -> None:
        await self._begin("messages")
        alice, bob = self.desk.boundjid.full, self.bob.boundjid.full
        self.desk.say(f"<message type='chat' to='{bob}' id='m1'><body>{UNICODE}</body>{RECEIPT_REQUEST}</message>")
        await self.bob.expect(stanza("message", of=alice, child="{urn:xmpp:receipts}request"))
        self.bob.say(f"<message to='{alice}' id='m2'><received xmlns='urn:xmpp:receipts' id='m1'/></message>")
        await self.desk.expect(stanza("message", of=bob, child="{urn:xmpp:receipts}received"))
        await self._begin("odd but legal XML")
        self.bob.send_raw(
            f'<message\n\ttype = "chat" id="m3"\r\n to="{alice}" ><body ><![CDATA[<&>]]>]] &gt;&#x1F4E3;&#10;&#xD;\t'
            "\r\n  </body ><x:x xmlns:x='urn:x' x:y=\"'&quot;&#9;\" >&lt;!-- not a comment --&gt;</x:x></message >"
        )
        await self.desk.expect(stanza("message", of=bob))
        await self._begin("many in a row")
        for number in range(50):
            self.desk.say(f"<message type='chat' to='{bob}' id='row-{number}'><body>{number}</body></message>")
            self.bob.say(f"<message type='chat' to='{alice}' id='back-{number}'><body>{number}</body></message>")
        await self.bob.expect(*[stanza("message", of=alice)] * 50)
        await self.desk.expect(*[stanza("message", of=bob)] * 50)
        await self._begin("white space, then a stanza byte by byte")
        self.bob.send_raw(" \n\t\r\n")
        for byte in f"<message type='chat' to='{alice}' id='drip'><body>{UNICODE}</body></message>".encode():
            self.bob.drip(byte)
        # expat since 2.6 (and Debian's 2.5) may keep the end of what comes in small pieces until more comes.
        await self.bob.settle()
        await self.desk.expect(stanza("message", of=bob))
        await self._begin("message to nobody")
        self.bob.say(f"<message type='chat' to='nobody@{DOMAIN}' id='m4'><body>?</body></message>")
        await self.bob.expect(stanza("message", kind="error"))

    async def carbons(self) -> None:
        await self._begin("carbons")
        await self.phone.ask("set", "<enable xmlns='urn:xmpp:carbons:2'/>")
        alice, bob = self.desk.boundjid.full, self.bob.boundjid.full
        self.desk.say(f"<message type='chat' to='{bob}' id='c1'><body>sent</body></message>")
        await self.bob.expect(stanza("message", of=alice))
        await self.phone.expect(stanza("message", of=ALICE.jid, child=f"{CARBONS}sent"))
        self.bob.say(f"<message type='chat' to='{alice}' id='c2'><body>received</body></message>")
        await self.desk.expect(stanza("message", of=bob))
        await self.phone.expect(stanza("message", of=ALICE.jid, child=f"{CARBONS}received"))
        await self.phone.ask("set", "<disable xmlns='urn:xmpp:carbons:2'/>")

    async def large_bodies(self) -> None:
        alice, bob = self.desk.boundjid.full, self.bob.boundjid.full
        for characters in (1_000, 16_384, 65_536, 100_000):
            await self._begin(f"body of {characters} characters")
            body = bodies(characters)
            self.desk.say(f"<message type='chat' to='{bob}' id='large'><body>{body}</body></message>")
            self.bob.say(f"<message type='chat' to='{alice}' id='large-too'><body>{body}</body></message>")
            await self.bob.expect(stanza("message", of=alice))
            await self.desk.expect(stanza("message", of=bob))

    async def room(self) -> None:
        await self._begin("make a room")
        nicks = {self.desk: f"{ROOM}/Alice", self.bob: f"{ROOM}/Bob ♥"}
        join = "<presence to='{}'><x xmlns='" + MUC + "'/></presence>"
        subject = stanza("message", kind="groupchat", child="{jabber:client}subject")
        self.desk.say(join.format(nicks[self.desk]))
        await self.desk.expect(stanza("presence", of=nicks[self.desk], child=MUC_USER), subject)
        await self._begin("open the room")
        await self.desk.ask(
            "set", f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>", to=ROOM
        )
        await self._begin("join the room")
        self.bob.say(join.format(nicks[self.bob]))
        await self.bob.expect(
            stanza("presence", of=nicks[self.desk]), stanza("presence", of=nicks[self.bob], child=MUC_USER), subject
        )
        await self.desk.expect(stanza("presence", of=nicks[self.bob]))
        await self._begin("talk in the room")
        for client in (self.desk, self.bob):
            client.say(f"<message type='groupchat' to='{ROOM}' id='g-{client.name}'><body>{UNICODE}</body></message>")
            for listener in nicks:
                await listener.expect(stanza("message", kind="groupchat", of=nicks[client]))
        await self._begin("leave the room")
        # One after the other: when the last occupant goes, the room is gone, and the next run makes it anew.
        self.bob.say(f"<presence type='unavailable' to='{nicks[self.bob]}'/>")
        for listener in nicks:
            await listener.expect(stanza("presence", kind="unavailable", of=nicks[self.bob]))
        self.desk.say(f"<presence type='unavailable' to='{nicks[self.desk]}'/>")
        await self.desk.expect(stanza("presence", kind="unavailable", of=nicks[self.desk]))

    async def discover(self) -> None:
        await self._begin("discovery")
        for kind in ("info", "items"):
            for address in (DOMAIN, ROOMS, ALICE.jid, None):
                await self.bob.ask("get", f"<query xmlns='http://jabber.org/protocol/disco#{kind}'/>", to=address)
        await self.bob.ask("get", "<query xmlns='jabber:iq:version'/>", to=DOMAIN)
        await self.bob.ask("get", "<time xmlns='urn:xmpp:time'/>", to=DOMAIN)
        await self.bob.ask("get", "<unknown xmlns='urn:unknown'/>", to=DOMAIN)

    async def store(self) -> None:
        await self._begin("private storage and vCard")
        await self.desk.ask("set", f"<query xmlns='jabber:iq:private'><n xmlns='urn:n'>{UNICODE}</n></query>")
        await self.desk.ask("get", "<query xmlns='jabber:iq:private'><n xmlns='urn:n'/></query>")
        await self.desk.ask("set", "<vCard xmlns='vcard-temp'><FN>Alice Ä</FN></vCard>")
        await self.desk.ask("get", "<vCard xmlns='vcard-temp'/>")
        await self.bob.ask("get", "<vCard xmlns='vcard-temp'/>", to=ALICE.jid)

    async def archive(self) -> None:
        await self._begin("archive")
        alice, bob = self.desk.boundjid.full, self.bob.boundjid.full
        for number in range(3):
            self.desk.say(f"<message type='chat' to='{bob}' id='archived-{number}'><body>{number}</body></message>")
            await self.bob.expect(stanza("message", of=alice))
        await self.bob.ask(
            "set",
            "<query xmlns='urn:xmpp:mam:2' queryid='q1'><set xmlns='http://jabber.org/protocol/rsm'><max>3</max><before/>"
            "</set></query>",
        )
        await self.bob.expect(*[stanza("message", child="{urn:xmpp:mam:2}result")] * 3)

    async def be_inactive(self) -> None:
        # One step, because what the server holds back it may let go at any time.
        await self._begin("inactive, then active again")
        self.desk.plugin["xep_0352"].send_inactive()
        await self.desk.settle()
        bob = self.bob.boundjid.full
        for status in ("one", "two"):
            self.bob.say(f"<presence><status>{status}</status></presence>")
            await self.bob.expect(stanza("presence", of=bob))
            await self.phone.expect(stanza("presence", of=bob))
        self.desk.plugin["xep_0352"].send_active()

    async def lose_the_network(self) -> None:
        # Whether the server notices the cut before Bob's message or after it is a race, so its <delay/> is as well.
        await self._begin("cut and resume", undelayed=True)
        alice, bob = self.desk.boundjid.full, self.bob.boundjid.full
        await self.desk.cut()
        for number in range(3):
            self.bob.say(f"<message type='chat' to='{alice}' id='lost-{number}'><body>{number}</body></message>")
        await self.bob.settle()
        await self.desk.resume()
        await self.desk.expect(*[stanza("message", of=bob)] * 3)
        await self._begin("after resuming")
        self.desk.say(f"<message type='chat' to='{bob}' id='back'><body>here I am again</body></message>")
        await self.bob.expect(stanza("message", of=alice))

    async def unsubscribe(self) -> None:
        await self._begin("roster remove")
        remove = "<query xmlns='jabber:iq:roster'><item jid='{}' subscription='remove'/></query>"
        await self.desk.ask("set", remove.format(BOB.jid))
        for device in (self.desk, self.phone):
            await device.expect(stanza("iq", kind="set", child=ROSTER))
        await self.bob.expect(
            *[stanza("presence", kind="unavailable")] * 2,
            stanza("presence", kind="unsubscribe"),
            stanza("presence", kind="unsubscribed"),
        )
        await self._begin("roster remove by bob")
        await self.bob.ask("set", remove.format(ALICE.jid))

    async def say_goodbye(self) -> None:
        await self._begin("goodbye")
        self.phone.say("<presence type='unavailable'><status>bye</status></presence>")
        await self.desk.expect(stanza("presence", kind="unavailable", of=self.phone.boundjid.full))
        for client in (self.phone, self.bob, self.desk):
            await client.leave()


def run_session(endpoint: Endpoint, authority: Path, *, archive: bool = True) -> Transcript:
    """Run the script once against `endpoint`, trusting the certificates of `authority`.

    Without `archive` it does not ask for archived messages (XEP-0313).
    """

    async def run() -> Transcript:
        return await Session(endpoint, authority, archive=archive).run()

    return asyncio.run(run())

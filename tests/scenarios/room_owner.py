"""The owner of a room: creates it, configures it, and does to its occupants what a chat has to bear."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import slixmpp

from tests.servers.model import Account, Endpoint

STEP_TIMEOUT_SECONDS = 20.0
NICK = "Owner"


class RoomOwner(slixmpp.ClientXMPP):
    """To be used `async with`; the room is there afterwards, and gone with `destroy`."""

    def __init__(self, room: str, account: Account, endpoint: Endpoint, authority: Path) -> None:
        super().__init__(account.jid, account.password, ssl_context=ssl.create_default_context(cafile=str(authority)))
        self.enable_direct_tls = endpoint.tls == "direct"
        self.enable_starttls = endpoint.tls == "starttls"
        self.use_aiodns = False
        self.endpoint = endpoint
        self.room = slixmpp.JID(room)
        self.register_plugin("xep_0045")
        self.muc: Any = self.plugin["xep_0045"]

    async def __aenter__(self) -> "RoomOwner":
        self.connect(self.endpoint.host, self.endpoint.port)
        await self.wait_until("session_start", STEP_TIMEOUT_SECONDS)
        await self.muc.join_muc_wait(self.room, NICK, maxstanzas=0, timeout=STEP_TIMEOUT_SECONDS)
        await self.configure()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
        await asyncio.sleep(0)

    async def configure(self, **fields: str) -> None:
        """Set these fields (without `muc#roomconfig_`) and leave the others as they are."""
        form = await self.muc.get_room_config(self.room)
        form.reply()
        for name, value in fields.items():
            form.set_values({f"muc#roomconfig_{name}": value})
        await self.muc.set_room_config(self.room, form)

    async def kick(self, nick: str, reason: str = "") -> None:
        """Take the occupant's role away."""
        await self.muc.set_role(self.room, nick, "none", reason=reason)

    async def set_affiliation(self, affiliation: str, account: Account, reason: str = "") -> None:
        """Ban ("outcast"), or make a member of, an account."""
        await self.muc.set_affiliation(self.room, affiliation, jid=account.jid, reason=reason)

    async def destroy(self, reason: str = "") -> None:
        """Destroy the room."""
        await self.muc.destroy(self.room, reason)

    def set_subject(self, subject: str) -> None:
        """Set the room's subject."""
        self.muc.set_subject(self.room, subject)

    def whisper(self, nick: str, text: str) -> None:
        """A private message to an occupant."""
        self.send_message(mto=f"{self.room}/{nick}", mbody=text, mtype="chat")

    def say(self, text: str, *, identifier: str | None = None) -> None:
        """A message to all."""
        message = self.make_message(mto=self.room, mbody=text, mtype="groupchat")
        if identifier is not None:
            message["id"] = identifier
        message.send()

    def rename(self, nick: str) -> None:
        """Take another nick."""
        self.send_presence(pto=f"{self.room}/{nick}")

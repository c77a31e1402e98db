"""Clients that talk at a real server, in pairs and in a room; their load generator accounts for every delivery."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.bench.logins import ACCOUNTS, LoginClients, load_generator
from tests.servers.model import Endpoint

OWNER_FORM = (
    "<iq type='set' id='ask' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
    "<x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>"
)


class TalkingClients(LoginClients):
    """Each call is one command of tests/bench/swarm/talk.c.

    Its answer has "completed" deliveries of so many "messages" in "seconds", the time from a message's sending to its
    (last) delivery as "p50_us", "p99_us" and "max_us", and the clients' own "cpu_seconds".
    """

    def pairs(self, clients: int, in_flight: int, seconds: float) -> dict[str, Any]:
        """Exchange chat messages, of which `in_flight` of each pair are under way."""
        return self._ask("pairs", clients, in_flight, seconds)

    def enter(self, room: str, count: int, at_once: int = 64) -> dict[str, Any]:
        """`count` more clients become occupants of `room`, which the first of all creates."""
        return self._ask("enter", room, count, at_once)

    def hide_participants(self, room: str) -> None:
        """As owner (the first client): from now on tell the occupants of nobody but moderators and themselves.

        Otherwise entering would take a presence from everyone to everyone, which is not what is measured.
        """
        field = "<field var='muc#roomconfig_presencebroadcast'><value>moderator</value></field>"
        self._ask("ask", OWNER_FORM.format(room=room, fields=field))

    def make_persistent(self, room: str) -> None:
        """As owner: the room stays when nobody is in it."""
        field = "<field var='muc#roomconfig_persistentroom'><value>1</value></field>"
        self._ask("ask", OWNER_FORM.format(room=room, fields=field))

    def talk_in_room(self, senders: int, in_flight: int, messages: int) -> dict[str, Any]:
        """The first `senders` occupants send `messages`, `in_flight` of each under way until everyone has them."""
        return self._ask("room", senders, in_flight, messages)


@contextmanager
def talking_clients(
    endpoint: Endpoint | Sequence[Endpoint], mechanism: str, accounts: int = ACCOUNTS
) -> Iterator[TalkingClients]:
    """Clients of `endpoint` (of several ones in turn) without TLS, none logged in yet; those that are sent presence."""
    with load_generator("talk", endpoint, "presence", tls="-", mechanism=mechanism, accounts=accounts) as child:
        yield TalkingClients(child)

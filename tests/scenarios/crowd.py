"""Hundreds of light clients: logged in a few at a time, saying numbers that must arrive once and in order."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.scenarios.light import LightClient
from tests.servers.model import Account, Endpoint

AT_ONCE = 40  # logging in; more would only wait for the processor, some of them for too long
HEAR_SECONDS = 60.0
BODY = "{jabber:client}body"
# For 2,000 sessions: ejabberd.yml allows a user 100 (max_user_sessions). The names are short because Prosody's shell
# cuts long JIDs.
CROWD_ACCOUNTS = tuple(Account(f"c{number}", f"secret-{number}") for number in range(24))


async def log_in_crowd(
    endpoint: Endpoint,
    accounts: Sequence[Account],
    authority: Path,
    count: int,
    *,
    source: Callable[[int], str] | None = None,
) -> list[LightClient]:
    """`count` sessions, spread over the accounts; number N comes from the address `source(N)`."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def log_in(number: int) -> LightClient:
        async with gate:
            account = accounts[number % len(accounts)]
            where = None if source is None else source(number)
            return await LightClient.login(endpoint, account, authority, source=where)

    return list(await asyncio.gather(*(log_in(number) for number in range(count))))


async def say(client: LightClient, partner: LightClient, messages: int, pause_seconds: float) -> None:
    """Number the messages from 0."""
    for number in range(messages):
        client.message(partner.jid, f"{number} {'x' * 200}")
        await asyncio.sleep(pause_seconds)


async def hear(client: LightClient, messages: int) -> None:
    """Each number once and in order; AssertionError if not, TimeoutError if nothing comes."""
    for number in range(messages):
        while (body := (await client.next(HEAR_SECONDS)).findtext(BODY)) is None:
            pass
        assert body.split()[0] == str(number), (client.jid, body[:20], number)


async def talk(clients: Sequence[LightClient], messages: int, pause_seconds: float) -> None:
    """Neighbours tell each other numbers (an even count of clients); fails as `hear` does."""
    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(say(client, clients[number ^ 1], messages, pause_seconds))
            group.create_task(hear(client, messages))

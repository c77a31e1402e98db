"""What the server has acknowledged (XEP-0198) arrives, and once, whichever workers are killed meanwhile."""

import asyncio
import random
import ssl
from pathlib import Path

import pytest
import uvloop

from tests.adversity.embedded_node import EmbeddedNode, kill_worker
from tests.adversity.embedded_people import Crowd, until
from tests.adversity.watch import running
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN

WORKERS = 4
PEOPLE = 400
TLS_SHARE = 0.2
MESSAGES_PER_SECOND = 400.0
DROPS_PER_SECOND = 15.0  # their sessions hold messages when their worker is killed
KILLS = 4
PAUSE_SECONDS = 4.0


def test_nothing_acknowledged_is_lost(
    tmp_path: Path, authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [f"p{number}" for number in range(PEOPLE)]
    node = EmbeddedNode(tmp_path, authority, workers=WORKERS, accounts=())
    node.register_names(users)
    context = ssl.create_default_context(cafile=str(authority.certificate))

    async def scene() -> Crowd:
        crowd = Crowd(DOMAIN, users, tls=context)
        for number, user in enumerate(users):
            crowd.add(user, node.direct if number < PEOPLE * TLS_SHARE else node.plain)
        await crowd.everybody_talking(60.0)
        crowd.start_talking(MESSAGES_PER_SECOND, drops_per_second=DROPS_PER_SECOND)
        for _ in range(KILLS):
            await asyncio.sleep(PAUSE_SECONDS)
            await kill_worker(node, random.randrange(WORKERS))
        await asyncio.sleep(PAUSE_SECONDS)
        await crowd.stop_talking()
        await crowd.everybody_talking(60.0)
        await crowd.all_acknowledged(60.0)
        try:
            await until(lambda: not crowd.ledger.missing, "all acknowledged messages arrived", 60.0)
        finally:
            before = len(crowd.ledger.arrived)
            for person in crowd.people:
                person.say_something()
            await crowd.all_acknowledged(60.0)
            assert len(crowd.ledger.arrived) >= before
            await crowd.stop()
        return crowd

    with running(node), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        crowd = runner.run(scene())
    ledger = crowd.ledger
    with capsys.disabled():
        print(
            f"\n{KILLS} times kill -9 of one of {WORKERS} workers under {PEOPLE} people:\n"
            f"  messages sent {ledger.sent}, acknowledged {len(ledger.acknowledged)}, arrived {len(ledger.arrived)}, "
            f"refused {len(ledger.refused)}, acknowledged and lost 0\n"
            f"  connections lost {ledger.losses}, sessions {ledger.sessions}, resumed {ledger.resumed}"
        )
    assert ledger.twice == []
    assert ledger.astray == []
    assert ledger.out_of_order == []
    assert ledger.surprises == []
    assert ledger.refused == {}
    assert ledger.resumed > 0
    assert ledger.sessions > PEOPLE
    assert len(ledger.acknowledged) > MESSAGES_PER_SECOND * PAUSE_SECONDS

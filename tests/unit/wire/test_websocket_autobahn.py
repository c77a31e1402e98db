"""The cases of the Autobahn test suite against the codec behind an echo: no failure, and no non-strict behaviour.

The suite itself runs on Python 2.7 only; kosoku runs the same case files. Its sections 12 and 13 are about compression,
which Megaphone never agrees on.
"""

import asyncio

import pytest
from kosoku import run_fuzzingclient

from tests.unit.wire.websocket_echo import echo_server

CASES_OF_SECTION = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
TIMEOUT_SECONDS = 240.0
# What these cases leave to the server, by what RFC 6455 says of it.
INFORMATIONAL = {
    "7.1.6": "a message of 256 kB and a ping behind it, and a close: how much is still answered is not said",
    "7.13.1": "status code 5000, which section 7.4.2 does not define",
    "7.13.2": "status code 65536, the same",
}


@pytest.mark.parametrize("section", CASES_OF_SECTION)
def test_autobahn(section: str) -> None:
    async def run() -> list[tuple[str, str, str]]:
        async with echo_server() as port, asyncio.timeout(TIMEOUT_SECONDS):
            results = await run_fuzzingclient(f"ws://127.0.0.1:{port}", [f"{section}.*"])
        return [(each.case_id, each.behavior.value, each.behavior_close.value) for each in results]

    results = asyncio.run(run())
    assert len(results) == CASES_OF_SECTION[section]
    wrong = [
        result
        for result in results
        if result[1:] != (("INFORMATIONAL", result[2]) if result[0] in INFORMATIONAL else ("OK", "OK"))
    ]
    assert wrong == []

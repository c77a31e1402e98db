"""Which changes a reload cannot apply."""

import pytest

from megaphone.config.changes import restart_needed
from megaphone.config.load import parse
from megaphone.config.rules import SMALLEST_CONFIG

OLD = parse(SMALLEST_CONFIG, "megaphone.toml")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (SMALLEST_CONFIG, ()),
        (SMALLEST_CONFIG.replace("localhost", "example.org"), ()),
        (SMALLEST_CONFIG + "[limits]\nidle_seconds = 5\n[log]\nlevel = 'debug'\n[drain]\ndeadline_seconds = 1", ()),
        (SMALLEST_CONFIG.replace(":5232", ":5233"), ("upstream[0].address",)),
        (SMALLEST_CONFIG.replace(":5222", ":5223"), ("listen[0].address",)),
        (SMALLEST_CONFIG + "[[listen]]\naddress = ':1'\ntls = 'none'", ("listen[1]",)),
        (
            SMALLEST_CONFIG + "[node]\nworkers = 3\n[admin]\nsocket = '/run/x'\naddress = ''",
            ("node.workers", "admin.address", "admin.socket"),
        ),
    ],
)
def test_restart_needed(text: str, keys: tuple[str, ...]) -> None:
    new = parse(text, "megaphone.toml")
    assert sorted(restart_needed(OLD, new)) == sorted(keys)
    assert sorted(restart_needed(new, OLD)) == sorted(keys)

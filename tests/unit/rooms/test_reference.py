"""The reference of rooms names every setting, and every file."""

import re
from dataclasses import fields
from pathlib import Path

from megaphone.rooms.ports import RoomSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "rooms.md").read_text("utf-8")


def test_every_setting_is_named_once_and_no_other() -> None:
    limits = PAGE.partition("## Limits")[2].partition("## Other")[0]
    names = {each.name for each in fields(RoomSettings)}
    named = re.findall(r"`([a-z_]+)`", limits)
    assert sorted(named) == sorted(names)


def test_every_file_that_is_named_is_there() -> None:
    standards = PAGE.partition("## Standards")[2].partition("Not there:")[0]
    standards += PAGE.partition("## On several nodes")[2].partition("## When")[0]
    files = {path.name for path in (ROOT / "megaphone" / "rooms").glob("*.py")}
    named = set(re.findall(r"`(\w+\.py)`", standards))
    assert named <= files
    assert files - named == {"__init__.py", "addressed.py", "affiliations.py", "forged.py", "forms.py",
                             "moving.py", "names.py", "occupants.py", "ports.py", "room.py"}  # fmt: skip

"""What is remembered of peers, on disk."""

from pathlib import Path

import pytest

from megaphone.errors import StorageError
from megaphone.history.entry import Origin
from megaphone.peers import known
from megaphone.peers.known import Known, Met
from megaphone.peers.pins import Pin

JULIA = Origin(b"j" * 32)


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "romeo.db")
    first = Known(path)
    assert (first.peers(), first.pins(), first.port) == ([], {}, None)
    first.met(Met(("10.0.0.1", 4000), JULIA, "julia", 1.0))
    first.met(Met(("fe80::1%2", 4000), JULIA, "julia", 3.0))
    first.met(Met(("10.0.0.1", 4000), JULIA, "julia", 2.0))
    first.put_pin("julia", Pin("Julia", JULIA))
    first.put_port(4001)
    first.put_port(4002)
    first.close()
    again = Known(path)
    assert again.peers() == [
        Met(("fe80::1%2", 4000), JULIA, "julia", 3.0),
        Met(("10.0.0.1", 4000), JULIA, "julia", 2.0),
    ]
    assert again.pins() == {"julia": Pin("Julia", JULIA)}
    assert again.port == 4002
    again.close()


def test_addresses_are_bounded_and_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "ADDRESSES_LIMIT", 3)
    some = Known(str(tmp_path / "x.db"))
    for number in range(5):
        some.met(Met(("10.0.0.1", number), JULIA, "julia", float(number)))
    assert [each.address[1] for each in some.peers()] == [4, 3, 2]
    some.close()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    Known(str(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"no database at all, and long enough to be looked at" * 40)
    with pytest.raises(StorageError, match=r"x\.db"):
        Known(str(path))
    with pytest.raises(StorageError, match="No such file"):
        Known(str(tmp_path / "nowhere" / "x.db"))

"""What commands print numbers as."""

import pytest

from megaphone.cli.output import latency


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.000_034, "0.03 ms"),
        (0.000_951, "0.95 ms"),
        (0.000_994, "0.99 ms"),
        (0.000_996, "1.0 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999.4 ms"),
        (1.0, "1.00 s"),
        (75.5, "75.50 s"),
    ],
)
def test_a_short_time(seconds: float | None, written: str) -> None:
    assert latency(seconds) == written

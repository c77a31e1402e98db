"""The documentation has the tables and plots that its JSON files make, and a place for each table there is."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import tables
from tests.bench.catalogue import CATALOGUE
from tests.bench.report import table
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.markdown import markdown
from tests.bench.report.table import Table
from tests.bench.test_figures import TAKEN, measured

NAMES = [name for benchmark in CATALOGUE.values() for name in benchmark.tables]
PAGE = "before\n<!-- bench relay{} -->\n| old |\n<!-- end of relay -->\nafter\n"


def relay(**other: object) -> Table:
    cpu = measured(Target("ratio", 1.2), haproxy=(2.0, 2.0, 10.0))
    detail = Figure("detail", "1/s", detail=True)
    detail.add(OURS, 1.0)
    return replace(Table("relay", "Relays", [OURS, "haproxy"], [cpu, detail], circumstances=TAKEN), **other)


def test_documents_and_plots_agree_with_the_committed_figures() -> None:
    """Otherwise: `python -m tests.bench.tables` writes them."""
    wanted = tables.due()
    assert wanted
    different = [str(path.relative_to(tables.ROOT)) for path, text in wanted.items() if path.read_text() != text]
    assert different == []


def test_every_table_has_one_place() -> None:
    found = [(name, by_hand) for page in tables.pages() for name, by_hand in tables.blocks(page.read_text())]
    assert sorted(name for name, _ in found) == sorted(NAMES)
    measured_ones = table.read(tables.REPORTS)
    assert measured_ones
    assert {name for name, by_hand in found if not by_hand} == set(measured_ones)


def test_committed_figures_are_of_clean_checkouts() -> None:
    """A commit that nobody else has tells nobody what was measured."""
    for name, each in table.read(tables.REPORTS).items():
        assert each.circumstances is not None
        assert not each.circumstances.versions["megaphone"].endswith("-dirty"), name


def test_a_row_has_peer_ratio_target_verdict_and_command() -> None:
    lines = markdown(relay(), "plots/relay.svg").splitlines()
    assert lines[0] == "| Relays | Megaphone | HAProxy | ratio | target | verdict | `make bench` |"
    assert lines[2].startswith("| CPU | **4.00 µs** | 2.00 µs | 0.90 to HAProxy | at most 1.2 ")
    assert lines[2].endswith("HAProxy | met | `WHAT=relay` |")
    assert lines[3] == ""  # no details
    assert "![Relays](plots/relay.svg)" in lines
    for fact in ("2026-11-26", "3 rounds", "load of 0.5", "a CPU", "commit 1234567", "HAProxy 2.6.12"):
        assert fact in lines[-1]


def test_a_table_of_details_is_its_plot() -> None:
    assert markdown(relay(figures=relay().figures[1:]), "p.svg").startswith("![Relays](p.svg)")


def test_a_page_is_filled_and_then_stays() -> None:
    figures = {"relay": relay()}
    once = tables.filled(PAGE.format(""), figures, "p")
    assert "| old |" not in once
    assert markdown(relay(), "p/relay.svg") in once
    assert once.startswith("before\n<!-- bench relay -->\n")
    assert once.endswith("<!-- end of relay -->\nafter\n")
    assert tables.filled(once, figures, "p") == once


def test_what_is_not_measured_yet_is_left_as_it_is() -> None:
    page = PAGE.format(" by hand")
    assert tables.filled(page, {}, "p") == page
    assert tables.filled(page, {"relay": relay()}, "p") == tables.filled(PAGE.format(""), {"relay": relay()}, "p")


def test_a_table_that_has_lost_its_figures_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"no relay\.json"):
        tables.filled(PAGE.format(""), {}, "p")


def test_a_file_with_another_name_is_noticed(tmp_path: Path) -> None:
    from tests.bench.report.report import written

    (tmp_path / "tls.json").write_text(written(relay()))
    with pytest.raises(ValueError, match=r"tls\.json holds a table of another name"):
        table.read(tmp_path)

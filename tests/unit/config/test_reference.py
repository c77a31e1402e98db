"""The reference of the configuration says what the schema says: every key, its type, default, range, and no other."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, inspect

from megaphone.config.load import parse
from megaphone.config.rules import SMALLEST_CONFIG, SMALLEST_SERVICE
from megaphone.config.schema import Config
from megaphone.config.shape import key_paths, range_in_words
from megaphone.metrics.edge import REASONS
from megaphone.metrics.table import METRICS
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "configuration.md").read_text("utf-8")
TYPES = {
    "IntType": {"whole number"},
    "FloatType": {"number"},
    "BoolType": {"boolean"},
    "LiteralType": {"text"},
    "StrType": {"text", "address", "path", "domain"},
    "VarTupleType": {"list of networks", "list of domains", "list of names", "list of addresses"},
}


@dataclass(frozen=True)
class Row:
    type: str
    default: str
    accepts: str


def documented() -> dict[str, Row]:
    """Read the tables of the page: dotted key to what the row says."""
    rows: dict[str, Row] = {}
    table = ""
    for line in PAGE.splitlines():
        heading = re.fullmatch(r"## `(\[\[?)(\w+)\]\]?`", line)
        if heading:
            table = heading[2] + ("[]" if heading[1] == "[[" else "")
        row = re.match(r"\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", line)
        if row:
            key = f"{table}.{row[1]}"
            assert key not in rows
            rows[key] = Row(row[2], row[3], row[4])
    return rows


def declared() -> dict[str, inspect.Field]:
    """Read the schema: dotted key to its field."""
    config = inspect.type_info(Config)
    assert isinstance(config, inspect.StructType)
    fields: dict[str, inspect.Field] = {}
    for table in config.fields:
        shape, suffix = table.type, ""
        if isinstance(shape, inspect.UnionType):  # a table that may be left out
            (shape,) = [each for each in shape.types if not isinstance(each, inspect.NoneType)]
        if isinstance(shape, inspect.VarTupleType):
            shape, suffix = shape.item_type, "[]"
        assert isinstance(shape, inspect.StructType)
        fields |= {f"{table.name}{suffix}.{field.name}": field for field in shape.fields}
    return fields


def test_every_key_is_documented_and_no_other() -> None:
    assert list(documented()) == list(declared())
    assert list(declared()) == list(key_paths())


def in_toml(value: Any) -> str:
    return "[]" if value == () else json.dumps(value)  # for these values TOML and JSON agree


@pytest.mark.parametrize("key", declared())
def test_type_default_and_range(key: str) -> None:
    field, row = declared()[key], documented()[key]
    assert row.type in TYPES[type(field.type).__name__]
    assert row.default == ("required" if field.default is NODEFAULT else f"`{in_toml(field.default)}`")
    if isinstance(field.type, inspect.IntType | inspect.FloatType):
        assert row.accepts == range_in_words(field.type)
    elif isinstance(field.type, inspect.LiteralType):
        assert set(re.findall(r'"([^"]+)"', row.accepts)) == set(field.type.values)
    elif isinstance(field.type, inspect.BoolType):
        assert row.accepts == "`true` or `false`"


@pytest.mark.parametrize("text", re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL))
def test_examples_can_be_used(text: str) -> None:
    assert isinstance(parse(text, "example.toml"), Config)


@pytest.mark.parametrize("smallest", [SMALLEST_CONFIG, SMALLEST_SERVICE])
def test_the_smallest_configurations_are_those_in_the_error_message(smallest: str) -> None:
    assert f"```toml\n{smallest}```" in PAGE


def test_metrics_reasons_and_stream_errors_exist() -> None:
    mentioned = set(re.findall(r"`(megaphone_\w+)", PAGE))
    assert len(mentioned) > 10
    assert mentioned <= {metric.name for metric in METRICS}
    reasons = set(re.findall(r"reason `([\w-]+)`", PAGE))
    assert len(reasons) > 10
    assert reasons <= set(REASONS)
    answers = set(re.findall(r"(?:gets|get|Answer) `([\w-]+)`", PAGE))
    assert {"policy-violation", "host-unknown", "system-shutdown"} <= answers <= STREAM_ERROR_CONDITIONS
    limits = PAGE[PAGE.index("## `[limits]`") : PAGE.index("## `[restart]`")]
    columns = [re.split(r" ?\| ?", line)[6] for line in limits.splitlines() if line.startswith("| `")]
    conditions = {word for column in columns for word in re.findall(r"`([a-z-]+)`", column)}
    assert {"connection-timeout", "policy-violation"} <= conditions <= STREAM_ERROR_CONDITIONS

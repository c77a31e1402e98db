"""Turns what TOML gave into the structs of the schema; the first key that does not fit is named in human words."""

import difflib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from megaphone.config.schema import Config, Table
from megaphone.errors import ConfigError

Shape = inspect.Type
T = TypeVar("T", bound=Table)

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    list: "a list",
    dict: "a table",
    datetime: "a date and time",
    date: "a date",
    time: "a time",
}


def build(document: dict[str, Any], file: str, schema: type[T]) -> T:
    """Return the `schema` that `document` describes; ConfigError for the first unknown key, wrong type or value."""
    try:
        _check(document, inspect.type_info(schema), "")
    except _UnknownKey as unknown:
        reason = "there is no such key" + _suggestion(unknown.name, unknown.table, unknown.known, schema)
        raise ConfigError(file, unknown.key, reason) from None
    except _Misfit as misfit:
        raise ConfigError(file, misfit.key, misfit.reason) from None
    return msgspec.convert(document, schema)


class _Misfit(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason


class _UnknownKey(_Misfit):
    def __init__(self, key: str, name: str, table: str, known: list[str]) -> None:
        super().__init__(key, "there is no such key")
        self.name = name
        self.table = table
        self.known = known


def _present(shape: Shape) -> Shape:
    """Return what a table that may be left out has to be when it is there; any other shape as it is."""
    if isinstance(shape, inspect.UnionType):
        (present,) = [each for each in shape.types if not isinstance(each, inspect.NoneType)]
        return present
    return shape


def _check(value: object, shape: Shape, key: str) -> None:
    shape = _present(shape)
    match shape:
        case inspect.StructType():
            _check_table(value, shape, key)
        case inspect.VarTupleType():
            _check_list(value, shape, key)
        case inspect.LiteralType():
            _check_choice(value, shape, key)
        case inspect.IntType():
            if not isinstance(value, int) or isinstance(value, bool):
                raise _Misfit(key, f"must be a whole number, not {_described(value)}")
            _check_range(value, shape, key)
        case inspect.FloatType():
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise _Misfit(key, f"must be a number, not {_described(value)}")
            _check_range(value, shape, key)
        case inspect.BoolType():
            if not isinstance(value, bool):
                raise _Misfit(key, f"must be true or false, not {_described(value)}")
        case inspect.StrType():
            if not isinstance(value, str):
                raise _Misfit(key, f"must be a text in quotes, not {_described(value)}")
        case _:
            raise TypeError(f"the schema uses {shape} for {key}, which has no words yet")


def _check_table(value: object, shape: inspect.StructType, key: str) -> None:
    if not isinstance(value, dict):
        raise _Misfit(key, f"must be a table, written [{key}], not {_described(value)}")
    fields = {field.encode_name: field for field in shape.fields}
    for name, item in value.items():
        path = f"{key}.{name}" if key else name
        if name not in fields:
            raise _UnknownKey(path, name, key, list(fields))
        _check(item, fields[name].type, path)
    for name, field in fields.items():
        if field.required and name not in value:
            raise _Misfit(f"{key}.{name}" if key else name, "is required here and missing")


def _check_list(value: object, shape: inspect.VarTupleType, key: str) -> None:
    of_tables = isinstance(shape.item_type, inspect.StructType)
    if not isinstance(value, list):
        if of_tables:
            raise _Misfit(key, f"can be there several times: write it in double brackets, [[{key}]]")
        raise _Misfit(key, f'must be a list, such as ["...", "..."], not {_described(value)}')
    for index, item in enumerate(value):
        _check(item, shape.item_type, f"{key}[{index}]")


def _check_choice(value: object, shape: inspect.LiteralType, key: str) -> None:
    if value in shape.values and isinstance(value, str):
        return
    choices = [str(choice) for choice in shape.values]
    listed = ", ".join(f'"{choice}"' for choice in choices[:-1]) + f' or "{choices[-1]}"'
    near = difflib.get_close_matches(str(value), choices, 1) if isinstance(value, str) else []
    raise _Misfit(key, f"must be {listed}, not {_described(value)}" + (f'; did you mean "{near[0]}"?' if near else ""))


def _check_range(value: float, shape: inspect.IntType | inspect.FloatType, key: str) -> None:
    above_limit = shape.le is not None and not value <= shape.le  # "not <=" so that nan is outside every range
    if (
        above_limit
        or (shape.ge is not None and not value >= shape.ge)
        or (shape.gt is not None and not value > shape.gt)
    ):
        raise _Misfit(key, f"must be {range_in_words(shape)}, not {value}")


def range_in_words(shape: inspect.IntType | inspect.FloatType) -> str:
    """Say which numbers a key accepts, such as "from 1 to 65535" or "above 0 and at most 31536000"."""
    if shape.gt is not None:
        return f"above {shape.gt}" + (f" and at most {shape.le}" if shape.le is not None else "")
    if shape.le is None:
        return f"at least {shape.ge}"
    return f"from {shape.ge} to {shape.le}"


def _described(value: object) -> str:
    kind = next((words for kind, words in _KINDS.items() if isinstance(value, kind)), type(value).__name__)
    if isinstance(value, str):
        return f'"{value[:60]}"' if value else "an empty text"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{kind} ({value})" if isinstance(value, int | float) else kind


def _suggestion(name: str, key: str, known: list[str], schema: type[Table]) -> str:
    """Return the nearest key of the same table, else the same key of another table, else the table's keys."""
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f'; did you mean "{near[0]}"?'
    names = {path.rpartition(".")[2]: path for path in reversed(list(key_paths(schema)))}
    elsewhere = difflib.get_close_matches(name, names, 1, 0.8)
    if elsewhere:
        table, _, field = names[elsewhere[0]].rpartition(".")
        return f'; did you mean "{field}" in [{f"[{table[:-2]}]" if table.endswith("[]") else table}]?'
    return f"; {key or 'a configuration'} has {', '.join(known)}"


def key_paths(schema: type[Table] = Config) -> Iterator[str]:
    """Yield every key that holds a value, such as "limits.idle_seconds" and "listen[].address"."""
    for name, shape in _fields(inspect.type_info(schema)):
        table = _present(shape)
        is_list = isinstance(table, inspect.VarTupleType)
        for field, _ in _fields(table.item_type if isinstance(table, inspect.VarTupleType) else table):
            yield f"{name}[].{field}" if is_list else f"{name}.{field}"


def _fields(shape: Shape) -> list[tuple[str, Shape]]:
    if not isinstance(shape, inspect.StructType):
        raise TypeError(f"{shape} is not a table")
    return [(field.encode_name, field.type) for field in shape.fields]

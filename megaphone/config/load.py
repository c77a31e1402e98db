"""Reads the configuration: TOML text into one checked, frozen Config.

    text ── tomllib ──► tables ── shape ──► Config ── rules ──► Config, normalised ── environment ──► warnings

`parse` is pure, so that supervisor, workers and a reload see the same result for the same text; what depends on this
machine's files is asked by `check_environment`. Every mistake is one ConfigError that names file, key and reason.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from megaphone.config.changes import restart_needed
from megaphone.config.environment import check_environment
from megaphone.config.rules import apply_rules
from megaphone.config.schema import Config
from megaphone.config.shape import build
from megaphone.errors import ConfigError
from megaphone.sockets.endpoint import Endpoint, expand_sources, parse_address

__all__ = [
    "Endpoint",
    "check_environment",
    "expand_sources",
    "load",
    "parse",
    "parse_address",
    "read_text",
    "restart_needed",
]

FILE_LIMIT_BYTES = 1_048_576

_POSITION = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL)


def load(path: str) -> Config:
    """Read and check the file at `path`, without looking at other files (`check_environment`)."""
    return parse(read_text(path), path)


def read_text(path: str) -> str:
    """Return the text of a configuration file of at most 1 MiB; ConfigError when it cannot be read."""
    try:
        with Path(path).open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(path, "", f"cannot be read: {reason}") from None
    if len(data) > FILE_LIMIT_BYTES:
        raise ConfigError(path, "", f"is larger than {FILE_LIMIT_BYTES} bytes, so it is hardly a configuration")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, f"line {line}", "holds a byte that is not UTF-8, the encoding of TOML") from None


def parse(text: str, file: str) -> Config:
    """Return the configuration that `text` describes; `file` is its name in errors and the start of relative paths."""
    return apply_rules(build(document(text, file), file, Config), file)


def document(text: str, file: str) -> dict[str, Any]:
    """Return the tables of a TOML text; ConfigError when it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.fullmatch(str(error))
        raise ConfigError(file, *((found[2], found[1]) if found else ("", str(error)))) from None
    except ValueError:  # int() refuses to read more than 4300 digits
        raise ConfigError(file, "", "is not valid TOML: a number has thousands of digits") from None
    except RecursionError:
        raise ConfigError(file, "", "is not valid TOML: nested too deeply") from None

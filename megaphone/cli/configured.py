"""The configuration that a command works with: the file it was given, else the usual one, else the built-in one."""

import argparse
import os
from dataclasses import dataclass

from megaphone.cli.output import DEFAULT_CONFIG
from megaphone.config import default
from megaphone.config.load import parse, read_text
from megaphone.config.schema import Config


@dataclass(frozen=True, slots=True)
class Configured:
    """A configuration, its text, and the file it is from or what stands for it in messages."""

    config: Config
    text: str
    file: str

    @property
    def built_in(self) -> bool:
        """Whether there is no file."""
        return self.file == default.NAME


def configured(args: argparse.Namespace) -> Configured:
    """Read and check the configuration, without looking at other files; ConfigError if it cannot be used.

    The built-in one is for who has named no file and has none in the usual place.
    """
    if args.config is None and not os.path.lexists(DEFAULT_CONFIG):
        text = default.default_text()
        return Configured(parse(text, default.NAME), text, default.NAME)
    path = os.path.abspath(args.config or DEFAULT_CONFIG)
    text = read_text(path)
    return Configured(parse(text, path), text, path)

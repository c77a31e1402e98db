"""Settings of the kernel for the length of a run: changed, written down, and put back whatever ends the run.

What was before is written to a small file first, so that after `kill -9` the next run, or `--restore`, can still put it
back. The file lies in /run and ends with the machine's uptime, as the settings themselves do.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from loadtest.million.host import read_setting, write_setting

JOURNAL: Final = Path("/run/megaphone-million.json")

Value = tuple[int, ...]


class SettingsError(Exception):
    """The settings cannot be changed; the message says why."""


@contextmanager
def changed(values: Mapping[str, Value], say: Callable[[str], None], journal: Path = JOURNAL) -> Iterator[None]:
    """Change settings for the length of the block. SettingsError, also when another run has changed some.

    Where none are asked for, other runs do not matter, and only what a killed one has left is put back.
    """
    try:
        restore(say, journal)
    except SettingsError:
        if values:
            raise
    if not values:
        yield
        return
    with _locked(journal) as file:
        before = {name: read_setting(name) for name in values}
        has_set = dict(values)
        _write(file, {"before": before, "set": has_set})
        try:
            for name, value in values.items():
                try:
                    write_setting(name, value)
                except OSError as error:
                    raise SettingsError(f"{name} cannot be set: {error.strerror}") from None
                finally:
                    has_set[name] = read_setting(name)  # the kernel may have made something else of it
            _write(file, {"before": before, "set": has_set})
            yield
        finally:
            _put_back(before, has_set, say)
            journal.unlink(missing_ok=True)


def restore(say: Callable[[str], None], journal: Path = JOURNAL) -> bool:
    """Put back what a killed run has left; whether there was something. SettingsError if a run is under way."""
    if not journal.exists():
        return False
    with _locked(journal) as file:
        try:
            left: dict[str, Any] = json.load(file)
        except ValueError:  # killed before it was complete: nothing had been changed yet
            left = {"before": {}, "set": {}}
        before, values = ({name: tuple(value) for name, value in left[key].items()} for key in ("before", "set"))
        if before:
            say(f"putting back what a run that was killed has left: {', '.join(before)}")
        _put_back(before, values, say)
        journal.unlink(missing_ok=True)
        return bool(before)


def _put_back(before: Mapping[str, Value], values: Mapping[str, Value], say: Callable[[str], None]) -> None:
    for name, value in before.items():
        try:
            now = read_setting(name)
            if now == value:
                continue
            if now != values[name]:
                say(f"{name} is left as it is: somebody has changed it meanwhile")
                continue
            write_setting(name, value)
        except OSError as error:
            say(f"{name} could not be put back to {' '.join(map(str, value))}: {error.strerror}")


@contextmanager
def _locked(journal: Path) -> Iterator[IO[str]]:
    # A record lock: unlike that of flock(2) it is not inherited by the processes that the run forks.
    try:
        descriptor = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"{journal}: {error.strerror}") from None
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(
                "another run has changed settings of this machine and is still under way; wait for its end"
            ) from None
        yield file


def _write(file: IO[str], content: Mapping[str, Any]) -> None:
    file.seek(0)
    file.truncate()
    json.dump(content, file)
    file.flush()
    os.fsync(file.fileno())

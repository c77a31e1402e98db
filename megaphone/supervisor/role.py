"""What a node is: an edge or chat service, the same on the built-in configuration, or a hub; known by its name."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from megaphone.config import hub, load
from megaphone.config.schema import Config
from megaphone.errors import ConfigError
from megaphone.supervisor.reload import Reader, read_candidate

WORKER_COMMAND: Final = (sys.executable, "-m", "megaphone.worker")
HUB_COMMAND: Final = (sys.executable, "-m", "megaphone.worker.hub")


@dataclass(frozen=True, slots=True)
class Role:
    """How a node of one kind reads its configuration and starts its workers."""

    name: str
    parse: Callable[[str, str], Config]  # text and file; ConfigError
    read_candidate: Reader
    worker_command: Sequence[str]
    worker_module: str = "megaphone.worker.worker"  # all that a worker needs, to see whether it can be loaded
    hands_over: bool = True  # its workers can give what they have to a successor


def _nothing_to_reload(path: str, current: Config) -> NoReturn:
    raise ConfigError(path, "", "there is no file to read again; write one and restart with `megaphone serve -c FILE`")


EDGE: Final = Role("edge", load.parse, read_candidate, WORKER_COMMAND)
BUILT_IN: Final = Role("built-in", load.parse, _nothing_to_reload, WORKER_COMMAND)
HUB: Final = Role("hub", hub.parse, hub.read_candidate, HUB_COMMAND, "megaphone.worker.hub", hands_over=False)
ROLES: Final[Mapping[str, Role]] = {role.name: role for role in (EDGE, BUILT_IN, HUB)}

"""Rules of `[bosh]` that its schema cannot say."""

import re
from collections.abc import Callable
from typing import Final, NoReturn

from megaphone.config.schema import Config

_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]+")  # that needs no escapes in a request
_URI: Final = re.compile(r"https?://[^/?#\s]+/[^\s]*")
_OTHERS: Final = ("/.well-known/", "/pages/", "/ws/", "/chat")  # what else a listener may serve


def check_bosh(config: Config, refuse: Callable[[str, str], NoReturn]) -> None:
    """Refuse a path that no request can name, or that is somebody else's, and an address that no client can go to."""
    table = config.bosh
    if not _PATH.fullmatch(table.path):
        refuse("bosh.path", 'must be the path of an address, such as "/http-bind"')
    if table.path == config.websocket.path or table.path.startswith(_OTHERS):
        refuse("bosh.path", f'"{table.path}" is the path of something else')
    if table.see_other_uri and not _URI.fullmatch(table.see_other_uri):
        refuse("bosh.see_other_uri", 'must be a whole address, such as "https://chat2.example.org/http-bind"')

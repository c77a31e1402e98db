"""What Megaphone runs on when there is no configuration file: a chat service for this machine, data of this user."""

import os
from collections.abc import Mapping
from typing import Final

NAME: Final = "built-in configuration"  # where errors and the banner name a file
SYSTEM_DATA: Final = "/var/lib/megaphone"
SYSTEM_SOCKET: Final = "/run/megaphone/admin.sock"
DOMAIN: Final = "localhost"

_TEXT: Final = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "{domain}"

[service]
data = {data}
anonymous = true

[rooms]
create = "anyone"

[admin]
socket = {socket}
"""


def default_text(environment: Mapping[str, str] = os.environ) -> str:
    """Return the configuration as TOML; its paths depend on who asks, its addresses are of the loopback alone."""
    return _TEXT.format(
        domain=DOMAIN, data=_quoted(data_directory(environment)), socket=_quoted(control_socket(environment))
    )


def data_directory(environment: Mapping[str, str] = os.environ) -> str:
    """Return /var/lib/megaphone if this user may write there, as root may, else a directory of the user's own.

    The latter is $XDG_DATA_HOME/megaphone, by default ~/.local/share/megaphone (XDG Base Directory Specification).
    """
    if _is_system():
        return SYSTEM_DATA
    home = environment.get("XDG_DATA_HOME", "")
    if not home.startswith("/"):  # the specification says to ignore relative ones
        home = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(home, "megaphone")


def control_socket(environment: Mapping[str, str] = os.environ) -> str:
    """Return /run/megaphone/admin.sock with the data in /var/lib/megaphone, else a place only this user can use."""
    if _is_system():
        return SYSTEM_SOCKET
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return os.path.join(runtime, "megaphone", "admin.sock")
    return os.path.join(data_directory(environment), "admin.sock")


def _is_system() -> bool:
    return os.geteuid() == 0 or os.access(SYSTEM_DATA, os.W_OK | os.X_OK, effective_ids=True)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Asks the running Megaphone over its control socket: plain HTTP/1.1 on a Unix socket, one request for each command."""

import argparse
import http.client
import json
import socket
import tomllib
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from megaphone.cli.output import DEFAULT_CONFIG
from megaphone.config import default
from megaphone.errors import AdminError, ConfigError

DEFAULT_SOCKET: Final = "/run/megaphone/admin.sock"
DEFAULT_HUB_SOCKET: Final = "/run/megaphone/hub-admin.sock"
ANSWER_SECONDS: Final = 60.0  # a reload waits for all workers, twice if one refuses


class UnreachableError(AdminError):
    """Nobody answers on the control socket (exit code 3)."""


def add_control_options(parser: argparse.ArgumentParser) -> None:
    """`--socket` and `--json`, which every command that asks the running Megaphone has."""
    parser.add_argument("--socket", metavar="PATH", help="control socket (default: admin.socket of the configuration)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def socket_path(args: argparse.Namespace) -> str:
    """`--socket`, else `admin.socket` of the configuration file.

    The rest of the file is not looked at: a node can still be asked when its next configuration has a mistake.
    """
    if args.socket is not None:
        return str(args.socket)
    path = Path(args.config or DEFAULT_CONFIG)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if args.config is None:
            return default.control_socket()
        raise ConfigError(str(path), "", "there is no such file (or use --socket PATH)") from None
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror} (or use --socket PATH)") from None
    except ValueError as error:
        raise ConfigError(str(path), "", f"is not TOML: {error} (or use --socket PATH)") from None
    admin = tables.get("admin", {})
    usual = DEFAULT_HUB_SOCKET if "hub" in tables else DEFAULT_SOCKET
    found = admin.get("socket", usual) if isinstance(admin, dict) else usual
    if not isinstance(found, str) or not found:
        raise ConfigError(str(path), "admin.socket", "there is no control socket to ask (or use --socket PATH)")
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Connects to the Unix socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    args: argparse.Namespace,
    method: str,
    path: str,
    *,
    query: dict[str, str] | None = None,
    body: Any = None,
    accept: tuple[int, ...] = (200, 202),
    timeout_seconds: float | None = None,
) -> Any:
    """The decoded JSON answer; UnreachableError when nobody answers, AdminError with the reason of a refusal."""
    where = socket_path(args)
    target = f"{path}?{urlencode(query)}" if query else path
    connection = _UnixConnection(where, timeout_seconds or ANSWER_SECONDS)
    try:
        connection.request(method, target, body=None if body is None else json.dumps(body))
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (FileNotFoundError, ConnectionRefusedError):
        raise UnreachableError(f"Megaphone is not running, or not on {where} (use --socket or --config)") from None
    except PermissionError:
        raise UnreachableError(f"not permitted to use {where}: run as the user Megaphone runs as, or as root") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnreachableError(f"no answer from Megaphone on {where}: {error or type(error).__name__}") from None
    finally:
        connection.close()
    if response.status not in accept:
        reason = answer.get("error") if isinstance(answer, dict) else None
        raise AdminError(str(reason or f"HTTP status {response.status}"))
    return answer

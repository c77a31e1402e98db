"""What clients can be picked by on the command line: what is no address, JID or id is wrong usage, not nobody."""

import argparse
import ipaddress
import re
from typing import Final

LIST_LIMIT: Final = 10_000  # what the running Megaphone lists at most (supervisor/admin.py)

_ID: Final = re.compile(r"[0-9a-fA-F]{1,16}")


def address(text: str) -> str:
    """An IP address in its usual form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no IP address") from None


def jid(text: str) -> str:
    """A bare or full JID, normalised as a session's is (RFC 7622)."""
    from megaphone.stream.jid import JID  # its tables take a while, which other commands need not pay

    try:
        return str(JID.parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no JID: {error}") from None


def connection_id(text: str) -> str:
    """The id of a connection: up to 16 hexadecimal digits."""
    if _ID.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no id of a connection: up to 16 hexadecimal digits")
    return text


def limit(text: str) -> int:
    """How many to list, 1 to `LIST_LIMIT`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LIST_LIMIT):
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to {LIST_LIMIT}")
    return int(text)

"""What `probe` and `chat` need to log in as a client: whom to trust, the password, and failures in words."""

import argparse
import getpass
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class LoginError(Exception):
    """A certificate file or a password that cannot be used; the text says which and why."""


class Trust(ssl.SSLContext):
    """A client's TLS context that tells when a handshake begins, which is when the socket is connected."""

    began: Callable[[], None] | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Reports, then does what SSLContext does; asyncio calls it at the start of each handshake."""
        if self.began is not None:
            self.began()
        return super().wrap_bio(*args, **kwargs)


def trust(ca_file: str | None, *, insecure: bool) -> Trust:
    """A context that trusts the system's certificates, those of `ca_file` only, or any; LoginError for a bad file."""
    context = Trust(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["xmpp-client"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise LoginError(f"{ca_file}: holds no PEM certificate") from None
        except OSError as error:
            raise LoginError(f"{ca_file}: {error.strerror}") from None
    return context


def password(file: str | None, variable: str, account: str) -> str:
    """The first line of `file`, else the environment's `variable`, else what a terminal answers; else LoginError."""
    if file is not None:
        text, source = first_line(file), file
    elif variable in os.environ:
        text, source = os.environ[variable], variable
    elif sys.stdin.isatty():
        try:
            text, source = getpass.getpass(f"Password of {account}: "), "the answer"
        except EOFError:
            raise LoginError("no password") from None
    else:
        raise LoginError(f"no password: give --password-file FILE or set {variable}")
    if not text:
        raise LoginError(f"the password is empty ({source})")
    return text


def first_line(file: str) -> str:
    """The first line of a text file, without its end; LoginError if the file cannot be read."""
    try:
        text = Path(file).read_text("utf-8")
    except OSError as error:
        raise LoginError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoginError(f"{file}: is not UTF-8 text") from None
    return text.split("\n", 1)[0].removesuffix("\r")


def seconds(text: str) -> float:
    """A time limit as an option gives it: more than 0, at most an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0.0 < value <= 3600.0:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is no time (more than 0, at most 3600 seconds)")


def condition(stanza: Any) -> str:
    """The defined condition of slixmpp's error, with the text the server gave."""
    text = str(stanza["text"] or "").strip()
    return f"{stanza['condition']} ({text})" if text else str(stanza["condition"])


def why(error: Any) -> str:
    """Why a connection could not be made or was lost."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not to be trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        hint = "; this port may expect --tls starttls" if error.reason == "WRONG_VERSION_NUMBER" else ""
        return f"TLS failed: {error.reason or error}{hint}"
    if isinstance(error, OSError):
        # asyncio puts the address in place of the reason; several addresses make one error without a number.
        return os.strerror(error.errno) if error.errno else str(error)
    return str(error)

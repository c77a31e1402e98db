"""`megaphone probe`: logs in as a client would, sends itself a message, and prints each step with its time."""

import argparse
import asyncio
import importlib.util
import logging
from typing import TYPE_CHECKING, Any, Final

from megaphone.cli.login import LoginError, password, seconds, trust
from megaphone.cli.output import FAILED, OK, USAGE, print_error, print_json, printable
from megaphone.cli.paragraphs import Paragraphs

if TYPE_CHECKING:
    from megaphone.cli.probe_client import Outcome, Step, Target

PASSWORD_VARIABLE: Final = "MEGAPHONE_PROBE_PASSWORD"  # noqa: S105 - the name of the variable, not a password
DEFAULT_PORTS: Final = {"starttls": 5222, "direct": 5223}
DEFAULT_TIMEOUT_SECONDS: Final = 15.0

_DESCRIPTION: Final = f"""\
Log in as an ordinary client: resolve, connect, negotiate TLS, authenticate, bind a resource, send a message to
oneself, and close the stream. Prints each step with its time; the exit code is for monitoring.

The password is read from --password-file, else from {PASSWORD_VARIABLE}, else asked for.
The message is neither archived nor shown to the account's other clients (XEP-0334 hints).
"""

_EPILOG: Final = """\
exit codes:
  0  every step succeeded
  1  a step failed; its reason is on standard error
  2  wrong usage
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `probe` to the command line."""
    parser = subparsers.add_parser(
        "probe",
        help="log in as a client and send oneself a message",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("jid", metavar="JID", help="account to log in with; a resource is optional")
    parser.add_argument("--host", help="host name or address to connect to (default: the JID's domain, no SRV lookup)")
    parser.add_argument("--port", type=_port, help="port to connect to (default: 5222, with --tls direct 5223)")
    parser.add_argument(
        "--tls", choices=sorted(DEFAULT_PORTS), default="starttls", help="how TLS begins (default: starttls)"
    )
    trusted = parser.add_mutually_exclusive_group()
    trusted.add_argument("--ca", metavar="FILE", help="trust the certificates in this PEM file instead of the system's")
    trusted.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument("--password-file", metavar="FILE", help="file with the password in its first line")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"for all steps together (default: {DEFAULT_TIMEOUT_SECONDS:g})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Probes; 0 when every step succeeded, 1 when one failed, 2 for wrong usage."""
    if importlib.util.find_spec("slixmpp") is None:
        print_error("probe needs slixmpp, which is an optional part: pip install '.[probe]' in a checkout")
        return USAGE
    try:
        target = _target(args)
    except _UsageError as error:
        print_error(str(error))
        return USAGE
    from megaphone.cli import probe_client

    # slixmpp and asyncio log what we report as a step's reason; a user must see no traceback beside it.
    logging.disable(logging.CRITICAL)
    try:
        outcome = asyncio.run(probe_client.probe(target, _ignore if args.json else _print_step))
    finally:
        logging.disable(logging.NOTSET)
    if args.json:
        print_json(_as_json(target, outcome))
    elif outcome.reason is None:
        print(f"ok in {outcome.total_seconds * 1000:.1f} ms")
    if outcome.reason is None:
        return OK
    print_error(f"{outcome.steps[-1].name}: {printable(outcome.reason)}")
    return FAILED


class _UsageError(Exception):
    """What was asked for cannot be tried."""


def _target(args: argparse.Namespace) -> "Target":
    import slixmpp

    from megaphone.cli.probe_client import Target

    try:
        jid = slixmpp.JID(args.jid)
    except slixmpp.InvalidJID as error:
        raise _UsageError(f"{args.jid!r} is no JID: {error}") from None
    if not jid.user or not jid.host:
        raise _UsageError(f"{args.jid!r} names no account; write user@domain")
    try:
        context = trust(args.ca, insecure=args.insecure)
        secret = password(args.password_file, PASSWORD_VARIABLE, str(jid.bare))
    except LoginError as error:
        raise _UsageError(str(error)) from None
    return Target(
        jid=str(jid),
        password=secret,
        host=args.host or jid.host,
        port=args.port or DEFAULT_PORTS[args.tls],
        tls=args.tls,
        context=context,
        timeout_seconds=args.timeout,
    )


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no port (1 to 65535)")


def _print_step(step: "Step") -> None:
    text = step.text if step.succeeded else f"FAILED: {step.text}"
    print(f"{step.name:<13}{step.seconds * 1000:>9.1f} ms  {printable(text)}", flush=True)


def _ignore(step: "Step") -> None:
    """With --json nothing is printed before the end."""


def _as_json(target: "Target", outcome: "Outcome") -> dict[str, Any]:
    return {
        "jid": target.jid,
        "host": target.host,
        "port": target.port,
        "tls": target.tls,
        "ok": outcome.reason is None,
        "reason": outcome.reason,
        "failed_step": None if outcome.reason is None else outcome.steps[-1].name,
        "total_seconds": round(outcome.total_seconds, 6),
        "steps": [
            {"step": step.name, "ok": step.succeeded, "seconds": round(step.seconds, 6), **step.facts}
            for step in outcome.steps
        ],
    }

"""`megaphone history`: checks replicated histories on disk, and shows what was said in a room."""

import argparse
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from megaphone.cli.output import FAILED, OK, USAGE, print_error, print_json, printable, table
from megaphone.errors import ConfigError, MegaphoneError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.history.manifest import Manifest
    from megaphone.history.ports import Placed
    from megaphone.storage.history_check import Damage
    from megaphone.storage.history_reading import Reader

LAST_LIMIT: Final = 100_000
SHOWN_DAMAGES: Final = 1000
_KINDS: Final = ("muc", "user", "lan")


class UsageError(MegaphoneError):
    """What was asked for cannot be meant (exit code 2)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `history` to the command line."""
    parser = subparsers.add_parser(
        "history",
        help="check and show the histories of rooms",
        description="Check and show the replicated histories of rooms, in a node's database or in the file of a LAN "
        "peer, also while it is in use. Nothing is changed.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser(
        "verify",
        help="check every entry, digest and signature",
        description="Check every entry, digest and signature of all rooms. Exit code 0 when all are right, 1 when "
        "something is damaged: a table says what. A node or peer that finds the same drops it, and fetches it again "
        "from others.",
    )
    verify.add_argument(
        "path", metavar="PATH", nargs="?", help="file or data directory (default: that of the configuration)"
    )
    show = actions.add_parser(
        "show",
        help="print the last lines of a room",
        description="Print the last lines of a room: time (UTC), room, author and text.",
    )
    show.add_argument("room", metavar="ROOM", help="JID of a room or user, or name of a channel on the LAN")
    show.add_argument("--file", metavar="PATH", help="file or data directory (default: that of the configuration)")
    show.add_argument("--kind", choices=_KINDS, help="if a name is that of several: muc, user or lan")
    show.add_argument("--last", type=int, default=50, metavar="N", help=f"how many, up to {LAST_LIMIT} (default: 50)")
    for each in (verify, show):
        each.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 0, 1 for a damage or a room that is not there, 2 for what cannot be meant."""
    try:
        return _verify(args) if args.action == "verify" else _show(args)
    except UsageError as error:
        print_error(str(error))
        return USAGE


def _verify(args: argparse.Namespace) -> int:
    from megaphone.storage.history_audit import Audited, audit
    from megaphone.storage.node_key import verify

    path = _path(args, args.path)
    reader = _open(path)
    reader.hold()
    try:
        audited = audit(reader, verify) if reader.is_history() else Audited()
    finally:
        reader.close()
    damages = audited.damages
    if args.json:
        counts = {"rooms": audited.rooms, "feeds": audited.feeds, "entries": audited.entries}
        print_json({"ok": not damages, "file": path, **counts, "damages": [_as_json(each) for each in damages]})
    elif damages:
        print(table(("ROOM", "ORIGIN", "ENTRY", "DAMAGE"), [_row(each) for each in damages[:SHOWN_DAMAGES]]))
    else:
        print(f"{path}: ok, {audited.rooms} rooms, {audited.feeds} feeds, {audited.entries} entries")
    if damages:
        print_error(f"{path}: {len(damages)} damages, beside {audited.entries} good entries")
    return FAILED if damages else OK


def _show(args: argparse.Namespace) -> int:
    from megaphone.storage.history_file import HistoryLook

    if not 1 <= args.last <= LAST_LIMIT:
        raise UsageError(f"--last must be from 1 to {LAST_LIMIT}, not {args.last}")
    path = _path(args, args.file)
    reader = _open(path)
    has_histories = reader.is_history()
    reader.close()
    if not has_histories:
        return _missing(args.room, path)
    look = HistoryLook(path)
    try:
        found = _rooms(look.rooms(), args.room, args.kind)
        if not found:
            return _missing(args.room, path)
        if len(found) > 1:
            kinds = ", ".join(sorted(each.kind for each in found))
            raise UsageError(f"there is more than one {args.room} in {path}: use --kind with one of {kinds}")
        placed = look.newest(found[0].id, args.last)
    finally:
        look.close_reader()
    if args.json:
        print_json([_entry_as_json(each) for each in placed])
    else:
        for each in placed:
            print(line(found[0].name, each))
    if look.damages:
        print_error(f"{path}: some of it is damaged and not shown; `megaphone history verify` says what")
        return FAILED
    return OK


def line(room: str, placed: "Placed") -> str:
    """An entry as a line: `2026-11-26T16:00:00Z #room <author> text`."""
    said = _entry_as_json(placed)
    author = "" if said["author"] is None else f" <{printable(str(said['author']))}>"
    return f"{said['time']} #{printable(room.removeprefix('#'))}{author} {printable(str(said['text']))}"


# --- what they need ------------------------------------------------------------


def _path(args: argparse.Namespace, given: str | None) -> str:
    """The file that is meant: a path, or the database of the configuration's data directory."""
    from megaphone.cli.configured import configured
    from megaphone.storage.database import database_path

    if given is not None:
        path = database_path(given) if os.path.isdir(given) else given
    else:
        found = configured(args)
        if not found.config.embedded:
            raise ConfigError(found.file, "", "fronts servers that keep their histories themselves; name a file")
        path = database_path(found.config.service.data)
    if not os.path.lexists(path):
        raise UsageError(f"{path}: there is no such file")
    return path


def _open(path: str) -> "Reader":
    from megaphone.storage.database import NODE, recognise, words
    from megaphone.storage.history_file import ALONE
    from megaphone.storage.history_reading import Reader

    reader = Reader(path)
    try:
        ((application,),) = reader.read("PRAGMA application_id")
        with words(path):
            recognise(reader.connection, path, ALONE if application == ALONE.application_id else NODE)
    except StorageError:
        reader.close()
        raise
    return reader


def _rooms(rooms: "Sequence[Manifest]", name: str, kind: str | None) -> "list[Manifest]":
    names = {name, name.removeprefix("#")}
    return [each for each in rooms if each.name in names and kind in (None, each.kind)]


def _missing(room: str, path: str) -> int:
    print_error(f"there is no history of {room} in {path}")
    return FAILED


def _row(damage: "Damage") -> tuple[str, str, str, str]:
    entry = "-" if not damage.seq else str(damage.seq) if damage.seq == damage.last else f"{damage.seq}-{damage.last}"
    return (damage.room, damage.origin.hex()[:16] if damage.origin is not None else "-", entry, damage.what)


def _as_json(damage: "Damage") -> dict[str, object]:
    return {
        "room": damage.room,
        "origin": None if damage.origin is None else damage.origin.hex(),
        "seq": damage.seq or None,
        "last": damage.last or None,
        "what": damage.what,
    }


def _entry_as_json(placed: "Placed") -> dict[str, object]:
    from megaphone.history.clock import milliseconds
    from megaphone.history.entry import Kind, stanza_id

    author, text, erases = _said(placed)
    kinds = {int(each): each.name.lower() for each in Kind}
    moment = datetime.fromtimestamp(min(milliseconds(placed.entry.clock), 253_402_300_799_999) / 1000, UTC)
    return {
        "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "id": stanza_id(placed.id),
        "kind": kinds.get(placed.entry.kind, str(placed.entry.kind)),
        "author": author,
        "text": text,
        "erased": placed.entry.content is None,
        "erases": erases,
    }


def _said(placed: "Placed") -> tuple[str | None, str, str | None]:
    """Author, text, and the id of what it erases."""
    from megaphone.errors import HistoryError
    from megaphone.history.content import decode
    from megaphone.history.entry import EntryID, Kind, stanza_id

    if placed.entry.content is None:
        return None, "(erased)", None
    try:
        content = decode(placed.entry.content)
    except HistoryError:
        return None, "(of a newer Megaphone)", None
    if content.target is not None:
        id_ = stanza_id(EntryID(content.target))
        return content.author, f"(erases {id_})", id_
    text = text_of(content.stanza)
    return content.author, f"(subject) {text}" if placed.entry.kind == Kind.SUBJECT else text, None


def text_of(stanza: bytes) -> str:
    """What people read of a stanza: its body, else its subject; of what is no XML, all of it."""
    from xml.etree.ElementTree import ParseError

    from megaphone.stream.stanza import parse

    if not stanza.lstrip().startswith(b"<"):
        return stanza.decode(errors="replace")
    try:
        message = parse(stanza)
    except (ParseError, IndexError):
        return stanza.decode(errors="replace")
    for name in ("body", "subject"):
        if (found := message.findtext(f"{{jabber:client}}{name}")) is not None:
            return found
    return "(no text)"

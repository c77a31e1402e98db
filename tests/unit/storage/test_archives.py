"""Archives on SQLite: the same pages as of lists, whatever is appended, erased, dropped, flushed and reopened."""

import shutil
from dataclasses import replace
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.errors import ArchiveError
from megaphone.history.entry import Kind
from megaphone.storage.accounts import AccountBook
from megaphone.storage.archives import SQLiteRoomArchives, SQLiteUserArchives
from megaphone.storage.database import database_path
from megaphone.storage.storage import Storage
from megaphone.storage.transaction import Statement
from megaphone.stream.archive import PAGE_BYTES, Archive, Erasure, Page, Said, Wanted
from megaphone.stream.jid import JID
from tests.unit.memory_archive import MemoryArchive
from tests.unit.storage.conftest import JULIET, ROMEO

OWNERS = (ROMEO, JULIET)
PEERS = ("juliet@montague.example", "nurse@montague.example", "")
SAIDS = st.builds(
    Said,
    time=st.integers(1_700_000_000, 1_700_000_009).map(float) | st.just(0.0),  # a clock that goes back, too
    kind=st.sampled_from(list(Kind)).map(int),
    author=st.sampled_from(PEERS),
    peer=st.just(""),
    resource=st.sampled_from(["pda", "♥", ""]),
    stanza=st.binary(min_size=1, max_size=20) | st.just(b"x" * (PAGE_BYTES // 2)),
    message=st.sampled_from(["m1", "m2"]),
)
# ids are named by how many entries before the last they are; 99 is one that is not there
PLACES = st.lists(st.integers(0, 8) | st.just(99), max_size=2)
QUERIES = st.tuples(
    st.builds(
        Wanted,
        max=st.integers(0, 6),
        backwards=st.booleans(),
        start=st.just(float("-inf")) | st.integers(1_700_000_000, 1_700_000_009).map(float),
        end=st.just(float("inf")) | st.integers(1_700_000_000, 1_700_000_009).map(float),
        peer=st.none() | st.sampled_from(PEERS),
        resource=st.none() | st.sampled_from(["pda", "♥"]),
    ),
    *(PLACES, PLACES),
    st.none() | st.lists(st.integers(0, 8) | st.just(99), min_size=1, max_size=2),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from(OWNERS), SAIDS, st.booleans()),
        st.tuples(st.just("append"), st.just(ROMEO), SAIDS, st.just(False)),
        st.tuples(st.just("erase"), st.sampled_from(OWNERS), SAIDS, st.integers(0, 8)),
        st.tuples(st.just("forget"), st.sampled_from(OWNERS)),
        st.tuples(st.just("page"), st.sampled_from(OWNERS), QUERIES),
        st.tuples(st.just("find_message"), st.sampled_from(OWNERS)),
        st.tuples(st.sampled_from(["flush", "reopen"])),
    ),
    max_size=40,
)


def everything(archive: Archive) -> object:
    return [(list(archive.tail(owner, 1000)), list(archive.tail(owner, 2)), archive.ends(owner)) for owner in OWNERS]


def answer(archive: Archive, owner: JID, wanted: Wanted) -> Page | str:
    try:
        return archive.page(owner, wanted)
    except ArchiveError as error:
        return error.condition


def named(twin: MemoryArchive, owner: JID, places: list[int]) -> tuple[str, ...]:
    ids = [each.id for each in twin.entries.get(owner, [])][::-1]
    return tuple(ids[place] if place < len(ids) else "9000000" for place in places)


def play(
    with_accounts: str, steps: list[tuple[object, ...]], kind: type[SQLiteRoomArchives | SQLiteUserArchives]
) -> None:
    twin = MemoryArchive()
    with TemporaryDirectory() as directory:
        shutil.copy(database_path(with_accounts), directory)
        storage = Storage(directory)
        archive = kind(storage)
        for name, *values in steps:
            match name, values:
                case "flush", _:
                    assert storage.writer.flush()
                case "reopen", _:
                    assert storage.close() == 0
                    storage = Storage(directory)
                    archive = kind(storage)
                    twin.last = {owner: int(entries[-1].id) for owner, entries in twin.entries.items() if entries}
                case "append", [owner, said, erased]:
                    said = said._replace(peer=said.author)
                    assert archive.append(owner, said, erased=erased) == twin.append(owner, said, erased=erased)
                case "erase", [owner, said, place]:
                    said = said._replace(peer=said.author)
                    (id_,) = named(twin, owner, [place])
                    assert archive.find(owner, id_) == twin.find(owner, id_)
                    erases = Erasure(id_, b"<gone/>")
                    assert archive.append(owner, said, erases=erases) == twin.append(owner, said, erases=erases)
                    assert archive.find(owner, id_) == twin.find(owner, id_)
                case "forget", [owner]:
                    archive.forget(owner)
                    twin.forget(owner)
                case "find_message", [owner]:
                    for peer in PEERS:
                        for message in ("m1", "m2", "m3"):
                            question = (owner, peer, peer, message)
                            assert archive.find_message(*question) == twin.find_message(*question)
                case "page", [owner, (wanted, after, before, ids)]:
                    wanted = replace(
                        wanted,
                        after=named(twin, owner, after),
                        before=named(twin, owner, before),
                        ids=None if ids is None else named(twin, owner, ids),
                    )
                    assert answer(archive, owner, wanted) == answer(twin, owner, wanted)
        assert everything(archive) == everything(twin)
        assert storage.close() == 0
        assert storage.writer.dropped == 0
        storage = Storage(directory)
        assert everything(kind(storage)) == everything(twin)
        assert storage.close() == 0


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_rooms(with_accounts: str, steps: list[tuple[object, ...]]) -> None:
    play(with_accounts, steps, SQLiteRoomArchives)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_users(with_accounts: str, steps: list[tuple[object, ...]]) -> None:
    play(with_accounts, steps, SQLiteUserArchives)


def said(time: float) -> Said:
    return Said(time, Kind.MESSAGE, "a@x", "a@x", "", b"<message/>")


@pytest.mark.parametrize("kind", [SQLiteRoomArchives, SQLiteUserArchives])
@pytest.mark.parametrize("backwards", [False, True])
def test_pages_while_entries_come_and_go(
    storage: Storage, kind: type[SQLiteRoomArchives | SQLiteUserArchives], backwards: bool
) -> None:
    """Between two pages more is said, and the oldest is dropped: nothing is missing, nothing comes twice."""
    archive = kind(storage, kept=64)
    written = [archive.append(ROMEO, said(float(time))).id for time in range(1, 65)]
    wanted = Wanted(max=5, backwards=backwards)
    seen: list[str] = []
    lost = False
    while True:
        try:
            page = archive.page(ROMEO, wanted)
        except ArchiveError:
            lost = True  # what was read last is dropped: the client begins anew
            break
        ids = [each.id for each in page.entries]
        seen = ids + seen if backwards else seen + ids
        if page.complete or len(seen) > 300:
            break
        wanted = replace(wanted, before=(ids[0],)) if backwards else replace(wanted, after=(ids[-1],))
        written += [archive.append(ROMEO, said(float(len(written) + more))).id for more in range(1, 4)]
    start = written.index(seen[0])
    assert seen == written[start : start + len(seen)]
    assert lost or len(seen) > 20
    kept = [each.id for each in archive.tail(ROMEO, 1000)]
    assert kept == written[-len(kept) :]
    assert 64 <= len(kept) <= 72


def test_an_archive_keeps_its_newest_entries_over_restarts(directory: str) -> None:
    """Also one in which few are written each time that the process runs."""
    for start in range(0, 60, 3):
        storage = Storage(directory)
        archive = SQLiteUserArchives(storage, kept=16)
        for number in range(start, start + 3):
            archive.append(ROMEO, said(float(number + 1)))
        assert storage.close() == 0
    storage = Storage(directory)
    kept = [each.said.time for each in SQLiteUserArchives(storage).tail(ROMEO, 1000)]
    assert kept == [float(number) for number in range(60 - len(kept) + 1, 61)]
    assert 16 <= len(kept) <= 18
    assert storage.close() == 0


@pytest.mark.parametrize("kind", [SQLiteRoomArchives, SQLiteUserArchives])
def test_what_is_too_old_is_dropped_everywhere(
    storage: Storage, kind: type[SQLiteRoomArchives | SQLiteUserArchives]
) -> None:
    archive = kind(storage)
    for owner in OWNERS:
        for time in (100.0, 200.0, 300.0):
            archive.append(owner, said(time))
    archive.drop_before(250.0)
    assert storage.writer.flush()
    assert [[each.said.time for each in archive.tail(owner, 9)] for owner in OWNERS] == [[300.0]] * 2
    archive.drop_before(1e9)
    archive.drop_before(1e9)
    assert storage.writer.flush()
    assert [archive.ends(owner) for owner in OWNERS] == [None, None]


def test_ids_are_never_given_twice(storage: Storage) -> None:
    archive = SQLiteRoomArchives(storage)
    first = {archive.append(ROMEO, said(5.0)).id for _ in range(3)}
    archive.forget(ROMEO)
    assert not {archive.append(ROMEO, said(5.0)).id for _ in range(3)} & first


def test_the_archive_of_a_removed_account_goes_with_it(directory: str) -> None:
    storage = Storage(directory)
    archive = SQLiteUserArchives(storage)
    archive.append(ROMEO, said(5.0))
    archive.append(JID("stranger", ROMEO.domain), said(5.0))  # has no account: nothing is kept
    assert storage.writer.flush()
    book = AccountBook(directory)
    assert book.remove(ROMEO)
    book.close()
    assert storage.read("SELECT count(*) FROM archive") == [(0,)]
    assert storage.close() == 0


def test_a_message_from_before_there_were_archives(storage: Storage) -> None:
    """What an older version has written, and may still write while a node is upgraded, is an entry like any other."""
    archive = SQLiteRoomArchives(storage)
    with_id = b"<message><body>old</body><stanza-id xmlns='urn:xmpp:sid:0' by='hall@x' id='77'/></message>"
    statement = Statement("INSERT OR REPLACE INTO history (room, id, time, nick, stanza) VALUES (?, ?, ?, ?, ?)")
    storage.writer.put(statement, (ROMEO.local, 77, 1.0, "Tybalt", with_id), owner=("room", ROMEO.local))
    (entry,) = archive.tail(ROMEO, 5)
    assert entry == ("77", Said(1.0, Kind.MESSAGE, "", "", "Tybalt", with_id), False)
    assert archive.page(ROMEO, Wanted(max=5)).entries == (entry,)

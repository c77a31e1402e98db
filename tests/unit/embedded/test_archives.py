"""Archives that are logs: pages as of a list, the same on every node, and erased everywhere."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.embedded.archives import LogArchives
from megaphone.errors import ArchiveError
from megaphone.history.batch import Batch
from megaphone.history.entry import Kind
from megaphone.history.log import Log
from megaphone.history.manifest import MUC, USER, Manifest
from megaphone.stream.archive import Archived, Erasure, Page, Said, Wanted
from megaphone.stream.jid import JID
from tests.unit.history.nodes import Node
from tests.unit.history.origins import NOW_MS
from tests.unit.memory_archive import MemoryArchive

HALL = JID("hall", "rooms.example")
ROMEO = JID("romeo", "x")
AUTHORS = ("romeo@x", "juliet@x")


class Site:
    """One node: its replica, and the archives of rooms on it."""

    def __init__(self, name: str, kind: str = MUC, owner: JID = HALL) -> None:
        self.node = Node(name, rooms=[Manifest(kind, str(owner))])
        self.flushed: list[Batch] = []
        self.archive = LogArchives(self.node.replica, kind, self.flush)

    @property
    def log(self) -> Log:
        (log,) = self.node.replica.logs.values()
        return log

    def flush(self) -> None:
        self.flushed += self.node.replica.flush(NOW_MS)

    def tell(self, other: "Site") -> None:
        """Bring another node all that was said here."""
        self.flush()
        batches, self.flushed = self.flushed, []
        other.node.take(*batches)


def said(time: float, author: str = AUTHORS[0], body: str = "x", kind: int = Kind.MESSAGE) -> Said:
    nick = author.partition("@")[0]
    stanza = f"<message from='{HALL}/{nick}' type='groupchat' id='m-{body}'><body>{body}</body></message>"
    return Said(NOW_MS / 1000 + time, kind, author, author, nick, stanza.encode(), f"m-{body}")


def body(entry: Archived) -> str:
    return entry.said.stanza.partition(b"<body>")[2].partition(b"</body>")[0].decode()


PLACES = st.lists(st.integers(0, 12) | st.just(99), max_size=2)
QUERIES = st.tuples(
    st.builds(
        Wanted,
        max=st.integers(0, 6),
        backwards=st.booleans(),
        start=st.just(float("-inf")) | st.integers(0, 12).map(lambda time: NOW_MS / 1000 + time),
        end=st.just(float("inf")) | st.integers(0, 12).map(lambda time: NOW_MS / 1000 + time),
        peer=st.none() | st.sampled_from(AUTHORS),
        resource=st.none() | st.sampled_from(["romeo", "juliet"]),
    ),
    *(PLACES, PLACES),
    st.none() | st.lists(st.integers(0, 12) | st.just(99), min_size=1, max_size=2),
)


def answer(archive: LogArchives | MemoryArchive, wanted: Wanted, ids: dict[str, str]) -> Page | str:
    """The page, its ids those of the twin."""
    try:
        page = archive.page(HALL, wanted)
    except ArchiveError as error:
        return error.condition
    return page._replace(entries=tuple(each._replace(id=ids.get(each.id, each.id)) for each in page.entries))


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(AUTHORS), st.none() | st.integers(0, 12)), max_size=14),
    queries=st.lists(QUERIES, max_size=8),
    flushes=st.booleans(),
)
def test_pages_are_those_of_a_list(
    steps: list[tuple[int, str, int | None]],
    queries: list[tuple[Wanted, list[int], list[int], list[int] | None]],
    flushes: bool,
) -> None:
    site, twin = Site("anna"), MemoryArchive()
    ours: list[str] = []
    theirs: list[str] = []
    time = 0
    for later, author, erases in steps:
        time += later
        target = None if erases is None or erases >= len(ours) else erases
        entry = twin.find(HALL, theirs[target]) if target is not None else None
        if target is None or entry is None or entry.erased or entry.said.kind != Kind.MESSAGE:
            new = said(time, author, f"b{len(ours)}")
            ours.append(site.archive.append(HALL, new).id)
            theirs.append(twin.append(HALL, new).id)
        else:
            was = entry.said
            gone = f"<message from='{HALL}/{was.resource}' type='groupchat' id='{was.message}'><gone/></message>"
            new = said(time, entry.said.author, f"b{len(ours)}", Kind.RETRACTION)
            ours.append(site.archive.append(HALL, new, erases=Erasure(ours[target], gone.encode())).id)
            theirs.append(twin.append(HALL, new, erases=Erasure(theirs[target], gone.encode())).id)
        if flushes:
            site.flush()
    ids = dict(zip(ours, theirs, strict=True))

    def named(known: list[str], places: list[int]) -> tuple[str, ...]:
        return tuple(known[place] if place < len(known) else "unknown" for place in places)

    for wanted, after, before, chosen in queries:
        answers = [
            answer(
                archive,
                replace(
                    wanted,
                    after=named(known, after),
                    before=named(known, before),
                    ids=None if chosen is None else named(known, chosen),
                ),
                ids,
            )
            for archive, known in ((site.archive, ours), (twin, theirs))
        ]
        assert answers[0] == answers[1]
    assert [ids[each.id] for each in site.archive.tail(HALL, 5)] == [each.id for each in twin.tail(HALL, 5)]
    ends = site.archive.ends(HALL)
    assert (None if ends is None else [ids[each.id] for each in ends]) == (
        None if not theirs else [theirs[0], theirs[-1]]
    )


def test_an_archive_is_the_same_on_every_node() -> None:
    """Ids too: a client goes on paging where it likes."""
    anna, bert = Site("anna"), Site("bert")
    for number in range(20):
        site = (anna, bert)[number % 2]
        site.archive.append(HALL, said(number, body=f"{number}"))
    anna.tell(bert)
    bert.tell(anna)
    seen: list[str] = []
    wanted = Wanted(max=3)
    for site in itertools.cycle((anna, bert)):
        page = site.archive.page(HALL, wanted)
        seen += [body(each) for each in page.entries]
        if page.complete:
            break
        wanted = replace(wanted, after=(page.entries[-1].id,))
    assert seen == [str(number) for number in range(20)]
    whole = Wanted(max=100)
    assert anna.archive.page(HALL, whole) == bert.archive.page(HALL, whole)


@pytest.mark.parametrize("by", [Kind.RETRACTION, Kind.MODERATION])
@pytest.mark.parametrize("where", ["here", "there"])
def test_what_is_erased_is_erased_everywhere(by: Kind, where: str) -> None:
    """Also where the author has moved to another node meanwhile."""
    anna, bert = Site("anna"), Site("bert")
    target = anna.archive.append(HALL, said(0, body="secret")).id
    anna.tell(bert)
    gone = f"<message from='{HALL}/romeo' type='groupchat' id='m-secret'><retracted/></message>".encode()
    site, other = (anna, bert) if where == "here" else (bert, anna)
    site.archive.append(HALL, said(1, body="fallback", kind=by), erases=Erasure(target, gone))
    site.tell(other)
    for each in (anna, bert):
        first, second = each.archive.page(HALL, Wanted(max=9)).entries
        assert (first.id, first.erased, first.said.stanza) == (target, True, gone)
        assert body(second) == "fallback"
        assert b"retracted" not in second.said.stanza
        assert each.archive.find(HALL, target) == first
        assert not any(b"secret<" in (placed.entry.content or b"") for placed in each.log.page(9))


def test_what_is_missing_makes_an_answer_unstable() -> None:
    anna, bert = Site("anna"), Site("bert")
    for number in range(3):
        anna.archive.append(HALL, said(number, body=f"{number}"))
        anna.flush()
    bert.node.take(anna.flushed[0])
    assert bert.archive.page(HALL, Wanted(max=9)).stable
    bert.node.take(anna.flushed[2])
    assert not bert.archive.page(HALL, Wanted(max=9)).stable
    bert.node.take(anna.flushed[1])
    page = bert.archive.page(HALL, Wanted(max=9))
    assert page.stable
    assert [body(each) for each in page.entries] == ["0", "1", "2"]


def test_archives_of_users() -> None:
    site = Site("anna", USER, ROMEO)
    stanzas = [
        "<message from='juliet@x/balcony' to='romeo@x' type='chat' id='1'><body>in</body></message>",
        "<message from='romeo@x/pda' to='juliet@x/balcony' type='chat' id='2'><body>out</body></message>",
        "<message from='nurse@x/home' to='romeo@x' type='chat' id='3'><body>nurse</body></message>",
    ]
    for number, (stanza, author) in enumerate(zip(stanzas, ("juliet@x", "romeo@x", "nurse@x"), strict=True)):
        site.archive.append(ROMEO, Said(NOW_MS / 1000 + number, Kind.MESSAGE, author, "", "", stanza.encode()))
    juliet = site.archive.page(ROMEO, Wanted(max=9, peer="juliet@x"))
    assert [body(each) for each in juliet.entries] == ["in", "out"]
    balcony = site.archive.page(ROMEO, Wanted(max=9, peer="juliet@x", resource="balcony"))
    assert len(balcony.entries) == 2
    found = site.archive.find_message(ROMEO, "juliet@x", "romeo@x", "2")
    assert found is not None
    assert body(found) == "out"
    assert site.archive.find_message(ROMEO, "juliet@x", "juliet@x", "2") is None


def test_an_address_that_was_written_otherwise_is_found() -> None:
    site = Site("anna", USER, ROMEO)
    for to in ("&#106;uliet@x/Balcony", "Juliet@X/Balcony"):
        stanza = f"<message from='romeo@x/pda' to='{to}' type='chat' id='{to}'><body>out</body></message>"
        said = Said(NOW_MS / 1000, Kind.MESSAGE, "romeo@x", "juliet@x", "Balcony", stanza.encode())
        site.archive.append(ROMEO, said)
    assert len(site.archive.page(ROMEO, Wanted(max=9, peer="juliet@x", resource="Balcony")).entries) == 2


def test_a_few_among_many_in_either_direction() -> None:
    anna, bert = Site("anna"), Site("bert")
    for number in range(900):
        site = (anna, bert)[number % 3 == 0]
        author = AUTHORS[number % 100 == 7]
        site.archive.append(HALL, said(number / 100, author, f"{number}"))
    anna.tell(bert)
    bert.tell(anna)
    wanted = Wanted(max=4, peer=AUTHORS[1])
    for site in (anna, bert):
        first = site.archive.page(HALL, wanted)
        assert [body(each) for each in first.entries] == ["7", "107", "207", "307"]
        last = site.archive.page(HALL, replace(wanted, backwards=True))
        assert [body(each) for each in last.entries] == ["507", "607", "707", "807"]
        before = site.archive.page(HALL, replace(wanted, backwards=True, before=(last.entries[0].id,)))
        assert [body(each) for each in before.entries] == ["107", "207", "307", "407"]
        behind = site.archive.page(HALL, replace(wanted, after=(first.entries[-1].id,)))
        assert [body(each) for each in behind.entries] == ["407", "507", "607", "707"]
        assert site.archive.page(HALL, replace(wanted, max=0)).total == 9


def test_too_large() -> None:
    with pytest.raises(ArchiveError) as refused:
        Site("anna").archive.append(HALL, said(0, body="x" * 300_000))
    assert refused.value.condition == "policy-violation"


def test_logs_are_open_as_they_are_needed() -> None:
    node = Node("anna", rooms=[])

    def flush() -> None:
        node.replica.flush(NOW_MS)

    archive = LogArchives(node.replica, MUC, flush, open_limit=3)
    rooms = [JID(f"r{number}", "rooms.example") for number in range(10)]
    for _ in range(2):
        for room in rooms:
            archive.append(room, said(0))
            assert len(node.replica.logs) <= 3
    assert [len(archive.tail(room, 9)) for room in rooms] == [2] * 10

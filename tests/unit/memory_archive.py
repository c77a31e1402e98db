"""Archives in lists: what `stream.archive.Archive` promises, and nothing more."""

from collections.abc import Sequence

from megaphone.history.entry import Kind
from megaphone.stream.archive import Archived, Erasure, Page, Said, Wanted, page_of
from megaphone.stream.jid import JID


class MemoryArchive:
    def __init__(self) -> None:
        self.entries: dict[JID, list[Archived]] = {}
        self.last: dict[JID, int] = {}
        self.pages = 0  # that were asked for

    def append(self, owner: JID, said: Said, *, erases: Erasure | None = None, erased: bool = False) -> Archived:
        self.last[owner] = number = max(self.last.get(owner, 0) + 1, int(said.time * 1_000_000))
        entries = self.entries.setdefault(owner, [])
        if erases is not None:
            entries[:] = [erases.of(each) if each.id == erases.id else each for each in entries]
        entries.append(Archived(str(number), said, erased))
        return entries[-1]

    def find(self, owner: JID, id_: str) -> Archived | None:
        return next((each for each in self.entries.get(owner, []) if each.id == id_), None)

    def find_message(self, owner: JID, peer: str, author: str, message: str) -> Archived | None:
        for each in reversed(self.entries.get(owner, [])):
            said = each.said
            known = (said.peer, said.author, said.message, said.kind)
            if known == (peer, author, message, Kind.MESSAGE) and not each.erased:
                return each
        return None

    def page(self, owner: JID, wanted: Wanted) -> Page:
        self.pages += 1
        page = page_of(self.entries.get(owner, []), wanted, whole=True)
        assert page is not None
        return page

    def tail(self, owner: JID, count: int) -> Sequence[Archived]:
        return self.entries.get(owner, [])[-count:]

    def ends(self, owner: JID) -> tuple[Archived, Archived] | None:
        entries = self.entries.get(owner)
        return (entries[0], entries[-1]) if entries else None

    def forget(self, owner: JID) -> None:
        self.entries.pop(owner, None)

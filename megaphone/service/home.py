"""The users whose home is this worker: finding and remembering them, and the ways by which stanzas leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service import client_state
from megaphone.service.contact import encode_contact
from megaphone.service.ports import RosterItem, What
from megaphone.service.refusal import Refusal
from megaphone.service.session import NO_ITEMS, Inbox, Session, User
from megaphone.stream.archive import Counts
from megaphone.stream.jid import JID
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.service.ports import Elsewhere, Outlet, Reply, UserStore
    from megaphone.service.settings import Settings
    from megaphone.stream.archive import Archive
    from megaphone.stream.stanza import Stanza

PRESENCES_KEPT_ONCE = 4_096
REPLACED_LIMIT = 16  # items of a roster of which it is remembered what they were


class Home:
    """What all parts of the service share.

    `users` holds those who have a session, by local part. `plain_targets` is for the host: the JIDs, as they stand in
    `to`, whose messages of type chat, normal and headline can be delivered to a session just as they are. `elsewhere`
    is None unless there are other nodes.
    """

    def __init__(self, domain: str, outlet: Outlet, store: UserStore, archive: Archive, settings: Settings) -> None:
        self.domain = domain
        self.domain_jid = JID("", domain)
        self.outlet = outlet
        self.store = store
        self.archive = archive
        self.counts = Counts()
        self.settings = settings
        self.users: dict[str, User] = {}
        self.plain_targets: dict[bytes, Session] = {}
        self._remembered: dict[str, User] = {}  # without a session; the longest unused first
        self._presences: dict[bytes, bytes] = {}
        self.node_names: tuple[str, ...] = ()  # of the cluster; none without one
        self.node_watchers: dict[Session, None] = {}  # who is told when they change
        self.pushes = 0  # requests of the service's own so far; makes their ids
        # While they move to another process (service.moving): who has changed, and whether roster or block list have.
        self.touched: dict[str, bool] | None = None
        self.elsewhere: Elsewhere | None = None
        self.forwarded: dict[str, User] = {}  # whose kept messages are under way to other nodes (offline)

    def touch(self, local: str, *, contacts: bool = False) -> None:
        """Note that a user has changed, if anybody wants to know."""
        touched = self.touched
        if touched is not None:
            touched[local] = contacts or touched.get(local, False)

    # --- users ---

    def user(self, local: str) -> User | None:
        """Return a user, with or without a session; None if there is no such account."""
        user = self.users.get(local) or self._remembered.pop(local, None) or self.forwarded.get(local)
        if user is None:
            jid = JID(local, self.domain)
            stored = self.store.load(jid)
            if stored is None:
                return None
            user = User(local, self.domain, key_of(jid))
            if stored.roster:
                user.roster = {item.jid: item for item in stored.roster}
            user.roster_version = stored.roster_version
            if stored.blocked:
                user.blocked = frozenset(stored.blocked)
            if stored.offline_messages:
                user.inbox = Inbox(stored.offline_messages, stored.offline_bytes)
        if not user.sessions:
            self.remember(user)
        return user

    def current(self, user: User) -> User | None:
        """Return what stands for the user of a session that has ended; None if the account is no more."""
        return user if user.anonymous else self.user(user.local)

    def remember(self, user: User) -> None:
        """Keep a user without a session in memory, and forget the one who was needed longest ago."""
        if user.anonymous:
            return
        self._remembered[user.local] = user
        if len(self._remembered) > self.settings.users_remembered:
            del self._remembered[next(iter(self._remembered))]

    def forget(self, local: str) -> None:
        """Remember a user without a session no longer."""
        self._remembered.pop(local, None)

    def add(self, session: Session) -> None:
        """Take up a new session."""
        user = session.user
        self.touch(user.local, contacts=not user.sessions)
        self._remembered.pop(user.local, None)
        self.users[user.local] = user
        user.sessions = (*user.sessions, session)
        self.refresh(user)

    def remove(self, session: Session) -> None:
        """Let a session go; nothing is delivered to it any more."""
        user = session.user
        self.touch(user.local)
        session.ended = True
        session.held = None
        self.node_watchers.pop(session, None)
        if session.key is not None:
            self.plain_targets.pop(session.key, None)
        user.sessions = tuple(each for each in user.sessions if each is not session)
        self.refresh(user)
        if not user.sessions:
            del self.users[user.local]
            self.remember(user)

    def refresh(self, user: User) -> None:
        """Bring `plain_targets` and `plain_sender` of a user up to date, after a change of whatever they depend on."""
        targets = self.plain_targets
        sessions = user.sessions
        others = False
        if self.elsewhere is not None:
            self.elsewhere.changed(user)
            others = self.elsewhere.others(user)
        carbons = sum(session.carbons for session in sessions)
        archived = self.settings.archive and not user.anonymous
        for session in sessions:
            alone = not user.blocked and not archived and carbons == session.carbons and not others
            session.plain_sender = alone
            if session.key is None:
                continue
            if alone and not session.inactive:
                targets[session.key] = session
            else:
                targets.pop(session.key, None)
        if user.key is None:
            return
        takers = [session for session in sessions if session.takes_messages]
        if len(takers) == 1 and takers[0].plain_sender and not takers[0].inactive:
            targets[user.key] = takers[0]
        else:
            targets.pop(user.key, None)

    def put_item(self, user: User, item: RosterItem, *, changed: bool) -> None:
        """Keep a roster item; `changed` if a client's view of the roster changes with it."""
        if user.roster is NO_ITEMS:
            user.roster = {}
        self.touch(user.local, contacts=True)
        self._note_replaced(user, item.jid)
        user.roster[item.jid] = item  # type: ignore[index]  # the shared empty one was replaced
        user.roster_version += changed
        if not user.anonymous:
            self.store.put_roster_item(user.jid, item, user.roster_version)
        self._tell_contact(user, item)

    def remove_item(self, user: User, item: RosterItem) -> None:
        """Forget a roster item."""
        self.touch(user.local, contacts=True)
        self._note_replaced(user, item.jid)
        del user.roster[item.jid]  # type: ignore[attr-defined]  # not empty, hence not the shared one
        if not user.roster:
            user.roster = NO_ITEMS
        user.roster_version += item.listed
        if not user.anonymous:
            self.store.remove_roster_item(user.jid, item.jid, user.roster_version)
        self._tell_contact(user, RosterItem(item.jid, listed=False))

    def _note_replaced(self, user: User, jid: JID) -> None:
        """Remember what an item was before this change of ours: its row may be written on another node only now."""
        if self.elsewhere is None or user.anonymous:
            return
        replaced = user.replaced
        if replaced is None:
            replaced = user.replaced = {}
        replaced.pop(jid, None)
        replaced[jid] = user.roster.get(jid)
        if len(replaced) > REPLACED_LIMIT:
            del replaced[next(iter(replaced))]

    def _tell_contact(self, user: User, item: RosterItem) -> None:
        """Let the user's homes on other nodes know at once: rows come later than an answer to them may."""
        if self.elsewhere is not None and self.elsewhere.others(user):
            self.elsewhere.tell(What.CONTACT, user.jid, encode_contact(item))

    # --- stanzas ---

    def reaches(self, jid: JID) -> bool:
        """Whether the host can route to the domain of a JID; others are remote, and there is no federation."""
        return jid.domain == self.domain or self.settings.is_local_domain(jid.domain)

    def deliver(self, session: Session, stanza: bytes) -> None:
        """Send a stanza to a client now, behind all that waits for it."""
        if session.ended:
            return
        if session.held:
            client_state.release(self, session)
        self.outlet.deliver(session, stanza)

    def deliver_when_active(self, session: Session, stanza: bytes, what: str, source: JID) -> None:
        """Send a stanza that may wait until somebody looks at the client, and that a newer one of its kind replaces."""
        if session.inactive and not session.ended:
            client_state.hold(self, session, stanza, what, source)
        else:
            self.deliver(session, stanza)

    def refuse(self, stanza: Stanza, refusal: Refusal, session: Session | None = None) -> None:
        """Answer a stanza with an error if one may be; `session` is its sender's where that is here."""
        if not stanza.answerable or stanza.from_ is None:
            return
        error = refusal.answer(stanza, from_=stanza.to)
        if session is not None:
            self.deliver(session, error)
        else:
            self.outlet.route(error, stanza.from_)

    def ask(self, what: What, to: JID, stanza: Stanza, then: Callable[[Reply, float], None]) -> None:
        """Ask other nodes; a Refusal that `then` raises answers the stanza."""
        assert self.elsewhere is not None  # noqa: S101 - or there is nobody to ask

        def answered(reply: Reply, now: float) -> None:
            self.touch(to.local)
            try:
                then(reply, now)
            except Refusal as refusal:
                self.refuse(stanza, refusal)

        self.elsewhere.ask(what, to, stanza.data, answered)

    def push_id(self) -> str:
        """Return the id of one more request of the service's own."""
        self.pushes += 1
        return f"push-{self.pushes}"

    def kept_once(self, presence: bytes) -> bytes:
        """Return the same bytes for equal presences: most clients of one kind say the same."""
        if len(self._presences) >= PRESENCES_KEPT_ONCE:
            self._presences.clear()
        return self._presences.setdefault(presence, presence)


def key_of(jid: JID) -> bytes | None:
    """Return a JID as it stands in an attribute of the usual markup; None if that is not its text."""
    text = str(jid)
    key = text.encode()
    return key if escape(text) == key else None

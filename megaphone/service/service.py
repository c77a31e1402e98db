"""The service of one domain, for the users at home here: what the host calls when something happens.

    bind ─► session ─► receive(stanza)        from its client
                       client_state(active)   XEP-0352
            receive_routed(stanza)            for a user here, from anybody
            settled(session, key)             a kept message has got to the client
            ended(session) ─► requeue(session, stanzas)
            receive_elsewhere(what, stanza)   what the user's home on another node tells or asks
            refresh(local)            the store's rows of a user have changed by another's doing

A call does all of its work before it returns; what it says leaves through the outlet, in order. A stanza that makes no
sense is answered with the stanza error that says why, and nothing else happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import BindError, StorageError
from megaphone.service import (
    client_state,
    elsewhere,
    messages,
    nodes,
    offline,
    presence,
    queries,
    refreshing,
    subscriptions,
)
from megaphone.service.home import Home, key_of
from megaphone.service.ports import What
from megaphone.service.refusal import BLOCKED, Refusal
from megaphone.service.session import Session, User
from megaphone.service.settings import Settings
from megaphone.stream.domain import normalise_domain
from megaphone.stream.jid import JID, normalise_resource
from megaphone.stream.stanza import Stanza
from megaphone.wire.stanza_writer import PRESENCE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.service.ports import Outlet, RosterItem, UserStore
    from megaphone.stream.archive import Archive


class Service:
    """Sessions, roster, presence and messages of the users of one domain whose home is this worker.

    Times are Unix seconds. A stanza's `from_` and its `from` are what the host knows of the sender.
    """

    def __init__(
        self, domain: str, outlet: Outlet, store: UserStore, archive: Archive, settings: Settings | None = None
    ) -> None:
        self.home = Home(normalise_domain(domain), outlet, store, archive, settings or Settings())
        self.plain_targets = self.home.plain_targets

    def apply(self, settings: Settings) -> None:
        """Take these settings from now on; what is beyond a limit already stays."""
        home = self.home
        before, home.settings = home.settings, settings
        if before.archive != settings.archive:
            for user in home.users.values():
                home.refresh(user)

    # --- sessions ---

    def bind(
        self, account: JID, resource: str | None, now: float, *, stream: object = None, anonymous: bool = False
    ) -> Session:
        """Return a new session of a user, its resource chosen here if None or if the settings say so.

        BindError for a resource that is none, that is bound already (where the settings say so), or that is one too
        many (RFC 6120 section 7). Nothing of an anonymous user is read or stored.
        """
        home = self.home
        user = home.users.get(account.local)
        if user is None:
            user = User(account.local, home.domain, key_of(account.bare), anonymous=True) if anonymous else None
            user = user or home.user(account.local)
        if user is None:
            raise BindError("not-authorized", "There is no such account any more")
        resource = self._free_resource(user, resource, now)
        if len(user.sessions) >= home.settings.sessions_per_user:
            raise BindError("resource-constraint", f"A user has at most {home.settings.sessions_per_user} sessions")
        session = Session(user, resource, key_of(user.jid.at(resource)), stream)
        home.add(session)
        return session

    def _free_resource(self, user: User, resource: str | None, now: float) -> str:
        """Return the resource that a client gets (RFC 6120 sections 7.6 and 7.7.2.2)."""
        home = self.home
        if not resource:
            return home.outlet.token()
        try:
            resource = normalise_resource(resource)
        except ValueError as reason:
            raise BindError("bad-request", str(reason)) from None
        bound = user.session(resource)
        if bound is None:
            return resource
        if home.settings.resource_conflict == "rename":
            return home.outlet.token()
        if home.settings.resource_conflict == "reject":
            raise BindError("conflict", "This resource is bound already")
        home.outlet.close(bound, "conflict", "Replaced by a new connection")
        self.ended(bound, now)
        return resource

    def ended(self, session: Session, now: float) -> None:
        """Let a session go for good; everybody who saw it is told. Once more is no change."""
        if session.ended:
            return
        presence.leave(self.home, session)
        self.home.remove(session)
        offline.abandoned(self.home, session)

    def requeue(self, session: Session, stanzas: Sequence[bytes], now: float) -> None:
        """Take back what an ended session's client never acknowledged, oldest first, without kept messages.

        Messages go to the user's other sessions, who may see one twice, or are kept; requests are refused.
        """
        self.home.touch(session.user.local)
        for data in stanzas:
            stanza = Stanza.read(data)
            try:
                messages.give_back(self.home, session, stanza, now)
            except Refusal as refusal:
                self.home.refuse(stanza, refusal)
            except StorageError:
                self.home.refuse(stanza, Refusal("resource-constraint", "Nothing can be stored at the moment"))

    def settled(self, session: Session, key: int) -> None:
        """Forget a kept message that a client has safely got."""
        user = self.home.current(session.user)
        if user is not None:
            self.home.touch(user.local)
            offline.settled(self.home, user, key)

    def client_state(self, session: Session, active: bool) -> None:
        """Take `<active/>` or `<inactive/>` from a client (XEP-0352); a resumed stream is active."""
        if not session.ended:
            self.home.touch(session.user.local)
            client_state.set_active(self.home, session, active)

    # --- stanzas ---

    def receive(self, session: Session, stanza: Stanza, now: float) -> None:
        """Take a stanza from the client of a session."""
        if session.ended:
            return
        if self.home.touched is not None:
            self.home.touch(session.user.local)
        try:
            if stanza.kind == "message":
                messages.send(self.home, session, stanza, now)
            elif stanza.kind == "iq":
                self._receive_iq(session, stanza, now)
            else:
                self._receive_presence(session, stanza)
        except Refusal as refusal:
            self.home.refuse(stanza, refusal, session)

    def _receive_iq(self, session: Session, stanza: Stanza, now: float) -> None:
        home = self.home
        to = stanza.to
        if to is None or to == session.user.jid:  # RFC 6120 section 10.3.3
            queries.answer_client(home, session, stanza, now, to_domain=False)
        elif to == home.domain_jid:
            queries.answer_client(home, session, stanza, now, to_domain=True)
        elif session.user.blocks(to):
            if queries.check(stanza):
                raise Refusal("not-acceptable", detail=BLOCKED)
        elif not home.reaches(to):
            raise Refusal("remote-server-not-found")
        elif to.domain == home.domain and not to.local:
            raise Refusal("service-unavailable")
        else:
            queries.check(stanza)
            home.outlet.route(stanza.data, to)

    def _receive_presence(self, session: Session, stanza: Stanza) -> None:
        if stanza.type not in PRESENCE_TYPES:
            raise Refusal("bad-request", "Presence has no such type")
        if stanza.type in subscriptions.SUBSCRIPTION_TYPES:
            subscriptions.send(self.home, session, stanza, stanza.type)
        else:
            presence.send(self.home, session, stanza)

    def receive_routed(self, stanza: Stanza, now: float) -> None:
        """Take a stanza for a user whose home is here, or for the domain itself (RFC 6121 section 8.5)."""
        to = stanza.to
        if to is not None and self.home.touched is not None:
            self.home.touch(to.local)
        try:
            if to is None or to.domain != self.home.domain or not to.local:
                if stanza.kind != "presence":
                    raise Refusal("service-unavailable")
            elif stanza.kind == "message":
                messages.receive(self.home, stanza, to, now)
            elif stanza.kind == "iq":
                self._receive_routed_iq(stanza, to, now)
            elif stanza.type == "probe":
                presence.receive_probe(self.home, stanza, to)
            elif stanza.type in subscriptions.SUBSCRIPTION_TYPES:
                subscriptions.receive(self.home, stanza, to, stanza.type)
            else:
                presence.receive(self.home, stanza, to)
        except Refusal as refusal:
            self.home.refuse(stanza, refusal)

    def _receive_routed_iq(self, stanza: Stanza, to: JID, now: float) -> None:
        home = self.home
        user = home.users.get(to.local) if to.resource and home.elsewhere is None else home.user(to.local)
        if user is None and home.elsewhere is not None:
            home.ask(What.ROUTED, to, stanza, messages.refuse_unless_taken)
            return
        blocked = user is not None and stanza.from_ is not None and user.blocks(stanza.from_)
        if user is None or (blocked and stanza.answerable):
            raise Refusal("service-unavailable")
        if not to.resource:
            queries.answer_other(home, user, stanza, now)
            return
        session = user.session(to.resource)
        if session is not None:
            home.deliver(session, stanza.data)
        elif home.elsewhere is None:
            raise Refusal("service-unavailable")
        elif stanza.answerable:
            home.ask(What.SESSION, to, stanza, messages.refuse_unless_taken)
        else:
            home.elsewhere.tell(What.SESSION, to, stanza.data)

    # --- other nodes ---

    def receive_elsewhere(self, what: What, to: JID, stanza: Stanza, now: float) -> bool | None:
        """Take what the user's home on another node tells or asks; whether somebody here has taken it.

        None: another node has to say that.
        """
        user = self.home.users.get(to.local)
        if user is None or to.domain != self.home.domain:
            return False
        self.home.touch(to.local)
        if what is What.ROUTED:
            if self.home.elsewhere is not None and not self.home.elsewhere.is_first(user):
                return None
            self.receive_routed(stanza, now)
            return True
        if what in elsewhere.REFUSED_IF_BLOCKED and stanza.from_ is not None and user.blocks(stanza.from_):
            if stanza.kind != "presence":  # the sender's node does not know it yet
                self.home.refuse(stanza, Refusal("service-unavailable"))
            return True
        return elsewhere.TABLE[what](self.home, user, stanza, to)

    def claimed(self, to: JID, now: float) -> bool:
        """Somebody binds this full JID on another node; whether they may not, since it is bound here."""
        user = self.home.users.get(to.local)
        bound = None if user is None else user.session(to.resource)
        if bound is None:
            return False
        if self.home.settings.resource_conflict != "replace":
            return True
        self.home.touch(to.local)
        self.home.outlet.close(bound, "conflict", "Replaced by a new connection")
        self.ended(bound, now)
        return False

    def overtaken(self, session: Session, now: float, *, quietly: bool) -> None:
        """Its resource was bound on another node later, while neither knew; `quietly`: that one is available."""
        self.home.touch(session.user.local)
        self.home.outlet.close(session, "conflict", "Replaced by a new connection")
        if quietly:
            session.presence = None  # who has seen it sees the other
        self.ended(session, now)

    def contact_changed(self, local: str, item: RosterItem) -> None:
        """The user's home on another node has changed an item of the roster."""
        user = self.home.users.get(local)
        if user is not None and not user.anonymous:
            refreshing.take_contact(self.home, user, item)

    def refresh(self, local: str, now: float) -> None:
        """Take note that another than this home has changed what the store has of a user, or has removed the account.

        StorageError if it cannot be read.
        """
        home = self.home
        user = home.users.get(local)
        if user is None or user.anonymous:
            home.forget(local)
            return
        stored = home.store.load(user.jid)
        if stored is None:
            self.account_removed(user.jid, now)
        else:
            refreshing.refresh(home, user, stored)

    # --- the world ---

    def home_lost(self, is_lost: Callable[[JID], bool], now: float) -> None:
        """Tell the users here that every contact and room is gone whose home has died; asked are bare JIDs."""
        for local in self.home.users if self.home.touched is not None else ():
            self.home.touch(local)
        presence.home_lost(self.home, is_lost)

    def nodes_changed(self, names: tuple[str, ...]) -> None:
        """These nodes of the cluster are there now, our own included."""
        nodes.changed(self.home, names)

    def account_removed(self, account: JID, now: float) -> None:
        """End the sessions of an account that is no more; what the store had of it is gone already."""
        user = self.home.users.get(account.local)
        for session in user.sessions if user is not None else ():
            self.home.outlet.close(session, "not-authorized", "This account is no more")
            self.ended(session, now)
        self.home.forget(account.local)

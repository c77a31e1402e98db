"""Two rosters never disagree, and what a client believes of its contacts is true (RFC 6121 sections 3 and 4)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza
from tests.unit.service.world import World

USERS = ("juliet", "romeo")
CLIENTS = ("juliet/balcony", "juliet/chamber", "romeo/orchard")
BARE = [f"{user}@example.org" for user in USERS]

wishes = st.builds(
    "<presence to='{}' type='{}'/>".format,
    st.sampled_from(BARE),
    st.sampled_from(["subscribe", "subscribe", "subscribed", "subscribed", "unsubscribe", "unsubscribed"]),
)
removals = st.builds(
    "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='{}' subscription='{}'/></query></iq>".format,
    st.sampled_from(BARE),
    st.sampled_from(["remove", "both"]),
)
presences = st.sampled_from(
    ["<presence/>", "<presence><show>away</show></presence>", "<presence type='unavailable'/>", "ends", "forgets"]
)
blocks = st.one_of(
    st.builds(
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='{}'/></block></iq>".format,
        st.sampled_from(BARE),
    ),
    st.just("<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'/></iq>"),
)
starts = st.sampled_from(["friends", "friends", "strangers"])
states = st.sampled_from(["inactive", "active"])
steps = st.tuples(st.sampled_from(CLIENTS), st.one_of(wishes, wishes, wishes, presences, presences, removals))
steps_with_blocks = st.tuples(st.sampled_from(CLIENTS), st.one_of(wishes, wishes, presences, presences, blocks, states))


def befriended(homes: int, start: str) -> World:
    """A world in which they begin with a subscription both ways, or none."""
    world = World(*USERS, homes=homes)
    if start == "friends":
        for one, other in (("juliet", "romeo"), ("romeo", "juliet")):
            item = RosterItem(JID(other, "example.org"), subscription="both")
            world.store.put_roster_item(JID(one, "example.org"), item, 1)
        for name in CLIENTS:
            world.send(name, "<presence/>")
    return world


def take_step(world: World, name: str, step: str) -> None:
    if step == "forgets":  # what is in memory only
        for service in world.services:
            service.home.forget(name.split("/")[0])
    elif step == "ends":
        if name in world.sessions:
            world.end(name)
    elif step in ("inactive", "active"):
        if name in world.sessions:
            world.set_active(name, step == "active")
    else:
        world.send(name, step)


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=30), st.sampled_from([1, 3]), starts)
def test_two_rosters_agree(program: list[tuple[str, str]], homes: int, start: str) -> None:
    world = befriended(homes, start)
    for name, step in program:
        take_step(world, name, step)
    for one in BARE:
        for other in BARE:
            if one == other:
                continue
            mine = world.store.users[JID.parse(one)].roster.get(JID.parse(other))
            theirs = world.store.users[JID.parse(other)].roster.get(JID.parse(one))
            sees = mine is not None and mine.subscription in ("to", "both")
            is_seen = theirs is not None and theirs.subscription in ("from", "both")
            assert sees == is_seen
            assert (mine is not None and mine.ask) == (theirs is not None and theirs.request is not None)


class View:
    """What a client believes of others: who is there, by full JID, with which presence."""

    def __init__(self) -> None:
        self.present: dict[JID, str | None] = {}

    def take(self, stanzas: list[bytes]) -> None:
        for data in stanzas:
            stanza = Stanza.read(data)
            if stanza.kind != "presence" or stanza.from_ is None:
                continue
            if stanza.type is None:
                show = stanza.child("jabber:client", "show")
                self.present[stanza.from_] = None if show is None else show.text
            elif stanza.type == "unavailable":
                for jid in tuple(self.present):
                    if jid == stanza.from_ or (stanza.from_.is_bare and jid.bare == stanza.from_):
                        del self.present[jid]


@settings(max_examples=300, deadline=None)
@given(st.lists(steps_with_blocks, max_size=30), st.sampled_from([1, 3]), starts)
def test_clients_know_who_is_there(program: list[tuple[str, str]], homes: int, start: str) -> None:
    world = befriended(homes, start)
    views = {name: View() for name in CLIENTS}
    for name in world.clients:
        views[name].take(world.take(name))
    for name, step in program:
        take_step(world, name, step)
        for client, view in views.items():
            if client in world.clients:
                view.take(world.take(client))
            if client not in world.sessions or not world.sessions[client].available:
                views[client] = View()
    for name, session in world.sessions.items():
        if not session.available:
            continue
        world.set_active(name, True)
        views[name].take(world.take(name))
        for other in BARE:
            jid = JID.parse(other)
            user = world.home_of(jid).home.users.get(jid.local)
            item = session.user.roster.get(jid)
            sees = jid == session.user.jid or (item is not None and item.subscription in ("to", "both"))
            truth: dict[JID, str | None] = {}
            if user and sees and not user.blocks(session.jid) and not session.user.blocks(jid):
                truth = {
                    each.jid: "away" if b"away" in each.presence else None
                    for each in user.sessions
                    if each.presence is not None
                }
            believed = {full: show for full, show in views[name].present.items() if full.bare == jid}
            assert believed == truth, f"what {name} believes of {other}"

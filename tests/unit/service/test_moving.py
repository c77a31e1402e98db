"""A service that goes on where another one was: whenever that happens, nobody hears another word than otherwise."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.service import moving
from megaphone.service.moving import Moving, UserSnapshot
from megaphone.service.service import Service
from megaphone.service.session import User
from tests.unit.service.test_properties import CLIENTS, USERS, steps
from tests.unit.service.world import World, check_targets


def carried(user: User, *, contacts: bool = True) -> UserSnapshot:
    """A snapshot as it comes out of the wire."""
    data = msgspec.msgpack.encode(moving.snapshot(user, contacts=contacts))
    return msgspec.msgpack.decode(data, type=UserSnapshot)


class Move:
    """Every service of a world on its way to a successor."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.successors = [world.new_service() for _ in world.services]
        self.moving = [Moving(service.home) for service in world.services]
        for each, successor in zip(self.moving, self.successors, strict=True):
            for user in each.everybody():
                self.restore(successor, carried(user))

    def restore(self, successor: Service, snapshot: UserSnapshot) -> None:
        # the streams, which are not the service's affair, stay who they are
        moving.restore(successor.home, snapshot, lambda resource: self.world.clients[f"{snapshot.local}/{resource}"])

    def follow(self) -> None:
        for each, successor in zip(self.moving, self.successors, strict=True):
            for local, user, contacts in each.changed():
                if user is None:
                    moving.remove(successor.home, local)
                else:
                    self.restore(successor, carried(user, contacts=contacts))

    def finish(self) -> None:
        self.follow()
        world = self.world
        for each, service, successor in zip(self.moving, world.services, self.successors, strict=True):
            each.end()
            successor.home.pushes = service.home.pushes
            assert_same(service, successor)
            check_targets(successor)
        world.services = self.successors
        for name, session in list(world.sessions.items()):
            user = world.home_of(session.jid).home.users[session.user.local]
            again = user.session(session.resource)
            assert again is not None
            world.sessions[name] = again
        world.given = [
            (world.sessions[f"{session.user.local}/{session.resource}"], key)
            for session, key in world.given
            if not session.ended
        ]


def assert_same(before: Service, after: Service) -> None:
    """What is known of users with a session is the same, down to who gets a plain message."""
    assert {local: comparable(user) for local, user in before.home.users.items()} == {
        local: comparable(user) for local, user in after.home.users.items()
    }
    assert {key: session.jid for key, session in before.plain_targets.items()} == {
        key: session.jid for key, session in after.plain_targets.items()
    }
    for local, user in before.home.users.items():
        again = after.home.users[local]
        assert [each.plain_sender for each in user.sessions] == [each.plain_sender for each in again.sessions]
        assert [each.key for each in user.sessions] == [each.key for each in again.sessions]
        assert user.key == again.key


def comparable(user: User) -> object:
    taken = moving.snapshot(user)
    return msgspec.structs.replace(
        taken,
        sessions=tuple(msgspec.structs.replace(each, direct=tuple(sorted(each.direct))) for each in taken.sessions),
        contacts=taken.contacts
        and msgspec.structs.replace(taken.contacts, blocked=tuple(sorted(taken.contacts.blocked))),
    )


Program = list[tuple[str, str]]

more_requests = st.sampled_from(
    [
        "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='nurse@example.org' name='N'/></query></iq>",
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='nurse@example.org' subscription='remove'/>"
        "</query></iq>",
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></block></iq>",
        "<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'/></iq>",
        "<presence><priority>-1</priority></presence>",
        "<presence to='romeo@example.org/orchard'/>",
    ]
)
programs = st.lists(
    st.one_of(
        steps,
        st.tuples(st.sampled_from(CLIENTS), more_requests),
        st.tuples(st.just(""), st.sampled_from(["begin", "begin", "follow", "move", "move"])),
    ),
    max_size=30,
)


def transcript(world: World, program: Program, *, moves: bool) -> list[tuple[str, list[bytes]]]:
    """Play a program; what every client has got of each step. Without `moves` the services stay where they are."""
    under_way: Move | None = None
    got: list[tuple[str, list[bytes]]] = []
    for name, step in [*((name, "<presence/>") for name in CLIENTS), *program, ("", "move")]:
        if step == "begin":
            under_way = under_way or (Move(world) if moves else None)
        elif step == "follow" and under_way is not None:
            under_way.follow()
        elif step == "move" and moves:
            (under_way or Move(world)).finish()
            under_way = None
        elif step.startswith("<"):
            world.send(name, step)
        elif name in world.sessions:
            if step == "ends":
                world.end(name)
            else:
                world.set_active(name, step == "active")
        for client in (*CLIENTS, "elsewhere"):
            if client in world.clients or client == "elsewhere":
                # whom directed presence has gone to has no order: what comes of its end may come in any
                got.append((client, sorted(world.take(client))))
    return got


@settings(max_examples=400, deadline=None)
@given(programs, st.booleans(), st.sampled_from([1, 3]))
def test_who_moves_says_what_who_stays_says(program: Program, fast: bool, homes: int) -> None:
    expected = transcript(World(*USERS, fast=fast, homes=homes), program, moves=False)
    assert transcript(World(*USERS, fast=fast, homes=homes), program, moves=True) == expected


def test_messages_under_way_to_a_client_are_settled_by_the_successor() -> None:
    world = World("juliet", "romeo")
    world.settles = False
    for number in range(3):
        world.send("romeo/x", f"<message to='juliet@example.org' type='chat' id='{number}'><body>x</body></message>")
    world.send("juliet/a", "<presence/>")
    assert len(world.take("juliet/a")) == 4  # its own presence, and what waited
    assert len(world.given) == 3
    Move(world).finish()
    user = world.services[0].home.users["juliet"]
    assert user.inbox is not None
    assert (user.inbox.messages, len(user.inbox.given)) == (3, 3)
    world.settles = True
    world._run()
    assert user.inbox is None
    assert all(kept.offline == {} for kept in world.store.users.values())


def test_a_guest_has_no_store_to_be_read_again_from() -> None:
    world = World("romeo")
    guest = world.bind("guest/g", anonymous=True)
    world.send("guest/g", "<presence><show>away</show></presence>")
    world.send(
        "guest/g",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='romeo@example.org' name='R'/></query></iq>",
    )
    world.take("guest/g")
    Move(world).finish()
    user = world.services[0].home.users["guest"]
    assert user.anonymous
    assert user.session("g") is not guest
    assert [item.name for item in user.roster.values()] == ["R"]
    world.send("guest/g", "<iq type='get' id='2'><query xmlns='jabber:iq:roster' ver=''/></iq>")
    assert b"name='R'" in world.take("guest/g")[0]


def test_a_later_version_may_say_more() -> None:
    world = World("romeo")
    world.send("romeo/x", "<presence/>")
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(moving.snapshot(world.sessions["romeo/x"].user)))
    fields[2][0].append("a field of tomorrow")
    again = msgspec.msgpack.decode(msgspec.msgpack.encode([*fields, {"and": "another"}]), type=UserSnapshot)
    assert again == moving.snapshot(world.sessions["romeo/x"].user)

"""Messages by type, address and priority (RFC 6121 section 8.5)."""

import pytest

from tests.unit.service.world import World

NOT_THERE = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


def available(world: World, name: str, priority: int | None = None) -> None:
    world.send(name, "<presence/>" if priority is None else f"<presence><priority>{priority}</priority></presence>")
    for client in world.clients:
        world.take(client)


def test_a_conversation() -> None:
    world = World()
    available(world, "juliet/balcony")
    available(world, "romeo/orchard")
    world.play("""
        juliet/balcony >> <message to='romeo@example.org' type='chat' id='1'><body>Art thou not Romeo?</body></message>
        romeo/orchard << <message to='romeo@example.org' from='juliet@example.org/balcony' type='chat' id='1'>
            <body>Art thou not Romeo?</body></message>
        romeo/orchard >> <message to='juliet@example.org/balcony'><body>Neither</body></message>
        juliet/balcony << <message to='juliet@example.org/balcony' from='romeo@example.org/orchard'>
            <body>Neither</body></message>
    """)


# type, sessions of Romeo as resource: priority (None: bound, not available), address, who gets it or the answer
E = "error"
ROUTING = [
    # no such account (section 8.5.1)
    ("chat", None, "tybalt@example.org", E),
    ("normal", None, "tybalt@example.org/x", E),
    ("headline", None, "tybalt@example.org", E),
    # nobody there (sections 8.5.2.2.1 and 8.5.3.2.1)
    ("chat", {}, "romeo@example.org", "kept"),
    (None, {}, "romeo@example.org", "kept"),
    ("normal", {}, "romeo@example.org", "kept"),
    ("unknown", {}, "romeo@example.org", "kept"),
    ("groupchat", {}, "romeo@example.org", E),
    ("headline", {}, "romeo@example.org", ""),
    ("chat", {}, "romeo@example.org/x", "kept"),
    ("normal", {}, "romeo@example.org/x", E),
    ("groupchat", {}, "romeo@example.org/x", E),
    ("headline", {}, "romeo@example.org/x", ""),
    # nobody who takes messages
    ("chat", {"a": None, "b": -1}, "romeo@example.org", "kept"),
    ("chat", {"a": None}, "romeo@example.org/a", "a"),
    ("groupchat", {"a": None}, "romeo@example.org/a", "a"),
    ("normal", {"b": -1}, "romeo@example.org/b", "b"),
    ("headline", {"b": -1}, "romeo@example.org", ""),
    # one
    ("chat", {"a": 0, "b": -1, "c": None}, "romeo@example.org", "a"),
    ("normal", {"a": 0, "b": -1}, "romeo@example.org", "a"),
    ("headline", {"a": 0, "b": -1}, "romeo@example.org", "a"),
    ("groupchat", {"a": 0}, "romeo@example.org", E),
    ("chat", {"a": 0}, "romeo@example.org/x", "a"),
    ("normal", {"a": 0}, "romeo@example.org/x", E),
    ("headline", {"a": 0}, "romeo@example.org/x", ""),
    # several
    ("chat", {"a": 0, "b": 1, "c": 1}, "romeo@example.org", "bc"),
    ("chat", {"a": 0, "b": 0}, "romeo@example.org", "ab"),
    ("headline", {"a": 0, "b": 1, "c": -1}, "romeo@example.org", "ab"),
    ("chat", {"a": 0, "b": 1}, "romeo@example.org/a", "a"),
    ("chat", {"a": 0, "b": 1}, "romeo@example.org/x", "b"),
    # errors are never answered
    ("error", {"a": 0}, "romeo@example.org", ""),
    ("error", {"a": 0}, "romeo@example.org/a", "a"),
    ("error", {"a": 0}, "romeo@example.org/x", ""),
    ("error", None, "tybalt@example.org", ""),
]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("type_", "sessions", "to", "outcome"), ROUTING)
def test_routing(type_: str | None, sessions: dict[str, int | None] | None, to: str, outcome: str, fast: bool) -> None:
    world = World(fast=fast)
    for resource, priority in (sessions or {}).items():
        world.bind(f"romeo/{resource}")
        if priority is not None:
            available(world, f"romeo/{resource}", priority)
    kind = "" if type_ is None else f" type='{type_}'"
    world.send("juliet/balcony", f"<message to='{to}'{kind} id='1'><body>hi</body></message>")
    got = "".join(resource for resource in sessions or {} if len(world.take(f"romeo/{resource}")) == 1)
    answers = world.take("juliet/balcony")
    kept = sum(len(user.offline) for user in world.store.users.values())
    if outcome == E:
        assert (got, kept) == ("", 0)
        assert answers == [
            f"<message to='juliet@example.org/balcony' from='{to}' type='error' id='1'>".encode()
            + NOT_THERE.encode()
            + b"</message>"
        ]
    else:
        assert answers == []
        assert (got, kept) == (("", 1) if outcome == "kept" else (outcome, 0))


def test_without_an_address_it_is_for_the_user() -> None:
    world = World()
    available(world, "juliet/balcony")
    world.play("""
        juliet/balcony >> <message><body>note</body></message>
        juliet/balcony << <message from='juliet@example.org/balcony' to='juliet@example.org'>
            <body>note</body></message>
        juliet/balcony >> <message to='juliet@example.org/balcony'/>
        juliet/balcony << <message from='juliet@example.org/balcony' to='juliet@example.org/balcony'/>
    """)


def test_other_domains() -> None:
    World().play("""
        juliet/balcony >> <message to='nurse@example.com' id='1'/>
        juliet/balcony << <message to='juliet@example.org/balcony' from='nurse@example.com' id='1' type='error'>
            <error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>
            </message>
        juliet/balcony >> <message to='verona@conference.example.org' type='groupchat'><body>hi</body></message>
        elsewhere << <message to='verona@conference.example.org' from='juliet@example.org/balcony' type='groupchat'>
            <body>hi</body></message>
        juliet/balcony >> <message to='example.org' id='2'/>
        juliet/balcony << <message to='juliet@example.org/balcony' from='example.org' id='2' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>*</text></error></message>
        juliet/balcony >> <message to='example.org' id='2' type='error'/>
    """)

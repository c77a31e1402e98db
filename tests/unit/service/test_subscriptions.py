"""Subscriptions: every state of RFC 6121 appendix A with every stanza, both ways; and as clients live through them."""

import pytest

from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID
from tests.unit.service.world import World

CONTACT = JID("capulet", "conference.example.org")  # whatever is sent to them can be seen elsewhere
JULIET = JID("juliet", "example.org")
REQUEST = b"<presence from='capulet@conference.example.org' to='juliet@example.org' type='subscribe'/>"

STATES = {
    "None": ("none", False, False),
    "None+Out": ("none", True, False),
    "None+In": ("none", False, True),
    "None+Out+In": ("none", True, True),
    "To": ("to", False, False),
    "To+In": ("to", False, True),
    "From": ("from", False, False),
    "From+Out": ("from", True, False),
    "Both": ("both", False, False),
}

# RFC 6121 appendix A.2: existing state | routed | new state ("" stands for no change)
OUTBOUND = {
    "subscribe": """
        None        | yes | None+Out
        None+Out    | yes |
        None+In     | yes | None+Out+In
        None+Out+In | yes |
        To          | yes |
        To+In       | yes |
        From        | yes | From+Out
        From+Out    | yes |
        Both        | yes |
    """,
    "unsubscribe": """
        None        | yes |
        None+Out    | yes | None
        None+In     | yes |
        None+Out+In | yes | None+In
        To          | yes | None
        To+In       | yes | None+In
        From        | yes |
        From+Out    | yes | From
        Both        | yes | From
    """,
    "subscribed": """
        None        | no  |
        None+Out    | no  |
        None+In     | yes | From
        None+Out+In | yes | From+Out
        To          | no  |
        To+In       | yes | Both
        From        | no  |
        From+Out    | no  |
        Both        | no  |
    """,
    "unsubscribed": """
        None        | no  |
        None+Out    | no  |
        None+In     | yes | None
        None+Out+In | yes | None+Out
        To          | no  |
        To+In       | yes | To
        From        | yes | None
        From+Out    | yes | None+Out
        Both        | yes | To
    """,
}

# RFC 6121 appendix A.3: existing state | delivered | new state
INBOUND = {
    "subscribe": """
        None        | yes | None+In
        None+Out    | yes | None+Out+In
        None+In     | no  |
        None+Out+In | no  |
        To          | yes | To+In
        To+In       | no  |
        From        | no  |
        From+Out    | no  |
        Both        | no  |
    """,
    "unsubscribe": """
        None        | no  |
        None+Out    | no  |
        None+In     | yes | None
        None+Out+In | yes | None+Out
        To          | no  |
        To+In       | yes | To
        From        | yes | None
        From+Out    | yes | None+Out
        Both        | yes | To
    """,
    "subscribed": """
        None        | no  |
        None+Out    | yes | To
        None+In     | no  |
        None+Out+In | yes | To+In
        To          | no  |
        To+In       | no  |
        From        | no  |
        From+Out    | yes | Both
        Both        | no  |
    """,
    "unsubscribed": """
        None        | no  |
        None+Out    | yes | None
        None+In     | no  |
        None+Out+In | yes | None+In
        To          | yes | None
        To+In       | yes | None+In
        From        | no  |
        From+Out    | yes | From
        Both        | yes | From
    """,
}


def rows(tables: dict[str, str]) -> list[tuple[str, str, bool, str]]:
    found = []
    for type_, table in tables.items():
        for row in table.strip().splitlines():
            before, passed, after = (cell.strip() for cell in row.split("|"))
            found.append((type_, before, passed == "yes", after or before))
    assert len(found) == 4 * len(STATES)
    return found


def world_in(state: str, *, listed: bool = True) -> World:
    subscription, ask, request = STATES[state]
    world = World()
    item = RosterItem(CONTACT, "Capulet", (), subscription, ask, REQUEST if request else None, listed)
    world.store.put_roster_item(JULIET, item, 1)
    world.send("juliet/balcony", "<presence/>")
    world.send("juliet/balcony", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    world.take("juliet/balcony")
    world.take("elsewhere")
    return world


def state_after(world: World) -> str:
    item = world.store.users[JULIET].roster[CONTACT]
    state = (item.subscription, item.ask, item.request is not None)
    return next(name for name, each in STATES.items() if each == state)


def subscription_stanzas(stanzas: list[bytes], type_: str) -> int:
    return sum(stanza.startswith(b"<presence") and f"type='{type_}'".encode() in stanza for stanza in stanzas)


@pytest.mark.parametrize(("type_", "before", "routed", "after"), rows(OUTBOUND))
def test_outbound(type_: str, before: str, routed: bool, after: str) -> None:
    world = world_in(before)
    world.send("juliet/balcony", f"<presence to='{CONTACT}/x' type='{type_}' id='s'/>")
    sent = world.take("elsewhere")
    assert subscription_stanzas(sent, type_) == routed
    if routed:
        assert sent[0] == f"<presence to='{CONTACT}' from='{JULIET}' type='{type_}' id='s'/>".encode()
    assert state_after(world) == after
    pushes = [stanza for stanza in world.take("juliet/balcony") if b"jabber:iq:roster" in stanza]
    assert len(pushes) == (STATES[before][:2] != STATES[after][:2])  # a request is no part of what clients see
    gained = STATES[after][0] in ("from", "both") and STATES[before][0] not in ("from", "both")
    lost = STATES[before][0] in ("from", "both") and STATES[after][0] not in ("from", "both")
    assert sent[routed:] == [
        f"<presence to='{CONTACT}' from='{JULIET}/balcony'{kind}/>".encode()
        for kind, said in (("", gained), (" type='unavailable'", lost))
        if said
    ]


@pytest.mark.parametrize(("type_", "before", "delivered", "after"), rows(INBOUND))
def test_inbound(type_: str, before: str, delivered: bool, after: str) -> None:
    world = world_in(before)
    world.receive_routed(f"<presence to='{JULIET}' from='{CONTACT}/x' type='{type_}'/>")
    got = world.take("juliet/balcony")
    assert subscription_stanzas(got, type_) == delivered
    assert state_after(world) == after
    assert sum(b"jabber:iq:roster" in stanza for stanza in got) == (STATES[before][:2] != STATES[after][:2])
    sent = world.take("elsewhere")
    if type_ == "subscribe" and STATES[before][0] in ("from", "both"):
        assert sent == [  # section 3.1.3: the answer is known
            f"<presence to='{CONTACT}' from='{JULIET}' type='subscribed'/>".encode(),
            f"<presence to='{CONTACT}' from='{JULIET}/balcony'/>".encode(),
        ]
    elif type_ == "unsubscribe" and STATES[before][0] in ("from", "both"):
        assert sent == [f"<presence to='{CONTACT}' from='{JULIET}/balcony' type='unavailable'/>".encode()]
    else:
        assert sent == []


@pytest.mark.parametrize(("type_", "after"), [("subscribed", ("from", False, True)), ("unsubscribed", None)])
def test_a_request_alone_is_no_contact_until_it_is_answered(type_: str, after: tuple[str, bool, bool] | None) -> None:
    world = world_in("None+In", listed=False)
    world.send("juliet/balcony", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    assert b"capulet" not in world.take("juliet/balcony")[0]
    world.send("juliet/balcony", f"<presence to='{CONTACT}' type='{type_}'/>")
    item = world.store.users[JULIET].roster.get(CONTACT)
    assert (None if item is None else (item.subscription, item.ask, item.listed)) == after
    assert len(world.take("juliet/balcony")) == (after is not None)


HANDSHAKE = """
    romeo/orchard >> <presence><show>chat</show></presence>
    romeo/orchard << <presence to='romeo@example.org/orchard' from='romeo@example.org/orchard'>
        <show>chat</show></presence>
    romeo/orchard >> <iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>
    romeo/orchard << <iq to='romeo@example.org/orchard' type='result' id='r'>
        <query xmlns='jabber:iq:roster' ver='0'/></iq>

    # the request waits until Juliet is there
    romeo/orchard >> <presence to='juliet@example.org' type='subscribe'><status>Let me in</status></presence>
    romeo/orchard << <iq to='romeo@example.org/orchard' type='set' id='*'><query xmlns='jabber:iq:roster' ver='1'>
        <item jid='juliet@example.org' subscription='none' ask='subscribe'/></query></iq>
    juliet/balcony >> <iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>
    juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='r'>
        <query xmlns='jabber:iq:roster' ver='0'/></iq>
    juliet/balcony >> <presence/>
    juliet/balcony << <presence to='juliet@example.org/balcony' from='juliet@example.org/balcony'/>
    juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org' type='subscribe'>
        <status>Let me in</status></presence>

    # she allows it, and he sees her
    juliet/balcony >> <presence to='romeo@example.org' type='subscribed'/>
    juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><query xmlns='jabber:iq:roster' ver='1'>
        <item jid='romeo@example.org' subscription='from'/></query></iq>
    romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org' type='subscribed'/>
    romeo/orchard << <iq to='romeo@example.org/orchard' type='set' id='*'><query xmlns='jabber:iq:roster' ver='2'>
        <item jid='juliet@example.org' subscription='to'/></query></iq>
    romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/balcony'/>

    # and the other way round
    juliet/balcony >> <presence to='romeo@example.org' type='subscribe'/>
    juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><query xmlns='jabber:iq:roster' ver='2'>
        <item jid='romeo@example.org' subscription='from' ask='subscribe'/></query></iq>
    romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org' type='subscribe'/>
    romeo/orchard >> <presence to='juliet@example.org' type='subscribed'/>
    romeo/orchard << <iq to='romeo@example.org/orchard' type='set' id='*'><query xmlns='jabber:iq:roster' ver='3'>
        <item jid='juliet@example.org' subscription='both'/></query></iq>
    juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org' type='subscribed'/>
    juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><query xmlns='jabber:iq:roster' ver='3'>
        <item jid='romeo@example.org' subscription='both'/></query></iq>
    juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org/orchard'><show>chat</show></presence>
"""


@pytest.mark.parametrize("homes", [1, 3])
def test_two_become_friends(homes: int) -> None:
    world = World(homes=homes)
    world.play(HANDSHAKE)
    world.play("""
        # she removes him from her roster: all is over (section 2.5.2)
        juliet/balcony >> <iq type='set' id='x'><query xmlns='jabber:iq:roster'>
            <item jid='romeo@example.org' subscription='remove'/></query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'>
            <query xmlns='jabber:iq:roster' ver='4'><item jid='romeo@example.org' subscription='remove'/></query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='x'/>
        juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org/orchard' type='unavailable'/>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org' type='unsubscribe'/>
        romeo/orchard << <iq to='romeo@example.org/orchard' type='set' id='*'><query xmlns='jabber:iq:roster' ver='4'>
            <item jid='juliet@example.org' subscription='to'/></query></iq>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org' type='unsubscribed'/>
        romeo/orchard << <iq to='romeo@example.org/orchard' type='set' id='*'><query xmlns='jabber:iq:roster' ver='5'>
            <item jid='juliet@example.org' subscription='none'/></query></iq>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/balcony' type='unavailable'/>
    """)


def test_nobody_learns_whether_there_is_such_a_user() -> None:
    World().play("""
        juliet/balcony >> <presence to='tybalt@example.org' type='subscribe'/>
        juliet/balcony >> <presence to='tybalt@example.org' type='unsubscribe'/>
        juliet/balcony >> <presence to='juliet@example.org' type='subscribe'/>
        juliet/balcony >> <presence to='example.org' type='subscribe'/>
    """)


def test_limits() -> None:
    world = World(roster_items=1, request_bytes=120)
    world.play("""
        juliet/balcony >> <presence to='romeo@example.org' type='subscribe'/>
        juliet/balcony >> <presence to='nurse@example.org' type='subscribe' id='2'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='nurse@example.org' type='error' id='2'>
            <error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>A roster has at most 1 items</text>
            </error></presence>
        juliet/balcony >> <presence type='subscribe'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' type='error'>
            <error type='modify'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>*</text></error></presence>
        juliet/balcony >> <presence to='romeo@example.com' type='subscribe'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.com' type='error'>
            <error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>
            </presence>
    """)
    # Romeo's roster has no room for a second request: it is declined
    world.send("nurse/hall", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
    world.take("nurse/hall")
    world.send(
        "nurse/hall", f"<presence to='romeo@example.org' type='subscribe'><status>{'x' * 200}</status></presence>"
    )
    got = world.take("nurse/hall")
    assert [b"ask='subscribe'" in got[0], b"type='unsubscribed'" in got[1], b"subscription='none'/>" in got[2]] == [
        True
    ] * 3
    # a long request is kept without its contents
    world = World(request_bytes=120)
    world.send(
        "nurse/hall", f"<presence to='romeo@example.org' type='subscribe'><status>{'x' * 200}</status></presence>"
    )
    world.send("romeo/orchard", "<presence/>")
    assert world.take("romeo/orchard")[1] == (
        b"<presence to='romeo@example.org' from='nurse@example.org' type='subscribe'/>"
    )

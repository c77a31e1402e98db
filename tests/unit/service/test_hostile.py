"""Whatever a client says, the service stays sound: no exception, an answer for every request, limits that hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.service import queries
from megaphone.stream.stanza import Stanza
from tests.unit.service.test_properties import ADDRESSES, CLIENTS, USERS
from tests.unit.service.world import World

TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs", "S")), max_size=12)
NAMESPACES = sorted(
    {namespace for table in (queries.TO_DOMAIN, queries.TO_OWN_ACCOUNT) for _, namespace, _ in table}
    | {"jabber:client", "jabber:iq:private", "urn:xmpp:hints", "urn:xmpp:delay", "urn:xmpp:forward:0", ""}
    | {"http://jabber.org/protocol/chatstates", "http://jabber.org/protocol/muc#user", "jabber:x:conference"}
)
OTHERS = ("item", "group", "body", "priority", "private", "no-store", "received", "sent", "delay", "x", "composing")
NAMES = sorted({*OTHERS, *(name for table in (queries.TO_DOMAIN, queries.TO_OWN_ACCOUNT) for *_, name in table)})
ATTRIBUTES = ("jid", "name", "subscription", "ver", "node", "ask", "from", "stamp")


def quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")


values = st.one_of(st.sampled_from([*ADDRESSES, "remove", "both", "0", "1", ""]), TEXTS.map(quoted))
attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=2).map(
    lambda found: "".join(f" {name}='{value}'" for name, value in found.items())
)


def element(name: str, namespace: str, attributes: str, content: list[str], prefixed: bool) -> str:
    if prefixed and namespace:
        return f"<p:{name} xmlns:p='{namespace}'{attributes}>{''.join(content)}</p:{name}>"
    return f"<{name} xmlns='{namespace}'{attributes}>{''.join(content)}</{name}>"


elements = st.recursive(
    st.one_of(TEXTS.map(quoted), st.sampled_from(["127", "-5", "999"])),
    lambda inner: st.builds(
        element,
        st.sampled_from(NAMES),
        st.sampled_from(NAMESPACES),
        attributes,
        st.lists(inner, max_size=3),
        st.booleans(),
    ),
    max_leaves=6,
)
STANZA_TYPES = [
    *("get", "set", "result", "error", "chat", "normal", "headline", "groupchat", "unavailable", "probe"),
    *("subscribe", "subscribed", "unsubscribe", "unsubscribed", "nonsense", None),
]


def stanza(name: str, type_: str | None, id_: str | None, to: str | None, children: list[str]) -> str:
    given = {"type": type_, "id": id_, "to": to}
    tag = name + "".join(f" {key}='{value}'" for key, value in given.items() if value is not None)
    return f"<{tag}>{''.join(children)}</{name}>"


stanzas = st.builds(
    stanza,
    st.sampled_from(["message", "presence", "iq"]),
    st.sampled_from(STANZA_TYPES),
    st.none() | TEXTS.map(quoted),
    st.none() | st.sampled_from([*ADDRESSES, "example.org", "example.org/x", "juliet@example.org/gone"]),
    st.lists(elements, max_size=3),
)
SMALL = {
    "roster_items": 2,
    "offline_messages_per_user": 2,
    "offline_bytes_per_user": 600,
    "private_bytes_per_user": 200,
    "vcard_bytes": 200,
    "directed_presence_targets": 2,
    "blocked_jids": 2,
    "held_stanzas": 2,
    "users_remembered": 1,
}


def check_limits(world: World) -> None:
    for kept in world.store.users.values():
        assert len(kept.roster) <= 2
        assert len(kept.blocked) <= 2
        assert len(kept.offline) <= 2
        assert sum(len(message.stanza) for message in kept.offline.values()) <= 600
        assert sum(map(len, kept.private.values())) <= 200
        assert kept.vcard is None or len(kept.vcard) <= 200
    for session in world.sessions.values():
        assert len(session.direct or ()) <= 2
        assert len(session.held or ()) <= 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(CLIENTS), stanzas), max_size=12), st.sampled_from([1, 3]))
def test_anything(program: list[tuple[str, str]], homes: int) -> None:
    world = World(*USERS, homes=homes, **SMALL)
    for number, (name, each) in enumerate(program):
        world.send(name, "<presence/>")
        if number == 3:
            world.set_active(name, False)
        world.take(name)
        world.send(name, each)
        check_limits(world)
        read = Stanza.read(each.encode())
        if read.kind == "iq" and read.type in ("get", "set"):
            full = str(read.to) if read.to is not None and read.to.resource else ""
            if read.to is not None and (
                full.replace("@example.org", "") in world.sessions or "conference" in read.to.domain
            ):
                continue  # it is for a client, or a room, to answer
            answers = [Stanza.read(data) for data in world.take(name)]
            answers = [answer for answer in answers if answer.kind == "iq" and answer.type in ("result", "error")]
            assert [answer.id for answer in answers] == [read.id]
    for name in tuple(world.sessions):
        world.end(name)
    assert all(not service.plain_targets and not service.home.users for service in world.services)

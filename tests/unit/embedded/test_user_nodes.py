"""Users over several nodes: messages, requests, carbons and presence reach sessions wherever they are."""

from __future__ import annotations

import pytest

from megaphone.stream.jid import JID
from tests.unit.embedded.cluster_under_test import Cluster
from tests.unit.service.world import DOMAIN

NOT_THERE = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
CARBONS = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"


def available(cluster: Cluster, *names: str) -> None:
    for name in names:
        name, _, priority = name.partition("@")
        cluster.send(name, f"<presence><priority>{priority}</priority></presence>" if priority else "<presence/>")
    cluster.settle()


def kept(cluster: Cluster, node: str, user: str) -> list[bytes]:
    return [message.stanza for message in cluster[node].store.users[JID(user, DOMAIN)].offline.values()]


# --- messages ------------------------------------------------------------


def test_a_conversation_between_two_nodes() -> None:
    cluster = Cluster()
    available(cluster, "A:juliet/balcony", "B:romeo/orchard")
    cluster.play("""
        A:juliet/balcony >> <message to='romeo@example.org' type='chat' id='1'>
            <body>Art thou not Romeo?</body></message>
        B:romeo/orchard << <message to='romeo@example.org' from='juliet@example.org/balcony' type='chat' id='1'>
            <body>Art thou not Romeo?</body></message>
        B:romeo/orchard >> <message to='juliet@example.org/balcony'><body>Neither</body></message>
        A:juliet/balcony << <message to='juliet@example.org/balcony' from='romeo@example.org/orchard'>
            <body>Neither</body></message>
    """)


# type, Romeo's sessions as node:resource@priority ("-": not available), address, who gets it, "kept" (at A) or "error"
ROUTING = [
    ("chat", [], "romeo@example.org", "kept"),
    ("normal", [], "romeo@example.org/x", "error"),
    ("headline", [], "romeo@example.org", ""),
    ("groupchat", [], "romeo@example.org", "error"),
    ("chat", ["B:a@-1", "C:b-"], "romeo@example.org", "kept"),
    ("chat", ["B:a"], "romeo@example.org", "B:a"),
    ("chat", ["A:a", "B:b"], "romeo@example.org", "A:a B:b"),
    ("chat", ["B:b", "C:c"], "romeo@example.org", "B:b C:c"),
    ("chat", ["B:b@1", "B:d", "C:c"], "romeo@example.org", "B:b C:c"),
    ("headline", ["A:a", "B:b@1", "B:d"], "romeo@example.org", "A:a B:b B:d"),
    ("headline", ["B:b@1", "B:d"], "romeo@example.org", "B:b B:d"),
    ("groupchat", ["B:b"], "romeo@example.org", "error"),
    ("chat", ["B:b-"], "romeo@example.org/b", "B:b"),
    ("normal", ["A:a", "B:b@-1"], "romeo@example.org/b", "B:b"),
    ("groupchat", ["B:b-"], "romeo@example.org/b", "B:b"),
    ("error", ["B:b"], "romeo@example.org/b", "B:b"),
    ("error", ["B:b"], "romeo@example.org", ""),
    ("headline", ["B:b@-1"], "romeo@example.org/b", "B:b"),
    ("chat", ["B:b"], "romeo@example.org/x", "B:b"),
    ("chat", ["A:a"], "romeo@example.org/x", "A:a"),
    ("normal", ["B:b"], "romeo@example.org/x", "error"),
    ("headline", ["B:b"], "romeo@example.org/x", ""),
    ("groupchat", ["B:b"], "romeo@example.org/x", "error"),
    ("chat", ["B:b"], "tybalt@example.org", "error"),
]


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(("type_", "sessions", "to", "expected"), ROUTING)
def test_who_gets_a_message(type_: str, sessions: list[str], to: str, expected: str, archive: bool) -> None:
    cluster = Cluster("A", "B", "C", archive=archive)
    for session in sessions:
        node, _, rest = session.partition(":")
        if rest.endswith("-"):
            cluster.bind(f"{node}:romeo/{rest[:-1]}")
        else:
            available(cluster, f"{node}:romeo/{rest}")
    cluster.bind("A:juliet/balcony")
    cluster.settle()
    cluster.send("A:juliet/balcony", f"<message to='{to}' type='{type_}' id='1'><body>Ho</body></message>")
    answers = cluster.take("A:juliet/balcony")
    got = [
        name.replace("romeo/", "")
        for name in cluster.clients
        if "romeo" in name and [b"<body>Ho</body>" in each for each in cluster.take(name)] == [True]
    ]
    assert cluster.unread() == ""
    assert not cluster.faults
    waiting = {node: len(kept(cluster, node, "romeo")) for node in "ABC"}
    assert waiting == {"A": int(expected == "kept"), "B": 0, "C": 0}
    if expected == "error":
        assert len(answers) == 1
        assert b"service-unavailable" in answers[0]
        assert got == []
    else:
        assert answers == []
        assert got == ([] if expected == "kept" else expected.split())
    archived = cluster["A"].archive.entries.get(JID("romeo", DOMAIN), [])
    if archive and got and type_ in ("chat", "normal"):
        assert len(archived) == 1  # once, on the sender's node
    assert not cluster["B"].archive.entries.get(JID("romeo", DOMAIN))


def test_a_stanza_id_is_the_same_for_all_who_get_it() -> None:
    cluster = Cluster("A", "B", "C", archive=True)
    available(cluster, "B:romeo/orchard", "C:romeo/street")
    cluster.bind("A:juliet/balcony")
    cluster.send("A:juliet/balcony", "<message to='romeo@example.org' type='chat'><body>Ho</body></message>")
    (one,), (other,) = cluster.take("B:romeo/orchard"), cluster.take("C:romeo/street")
    assert one == other
    assert b"stanza-id" in one


def test_a_blocked_sender_is_refused_at_its_own_node() -> None:
    cluster = Cluster()
    available(cluster, "B:romeo/orchard")
    block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@example.org'/></block></iq>"
    cluster.send("B:romeo/orchard", block)
    cluster.copy("B", "romeo")
    cluster.settle()
    cluster.bind("A:juliet/balcony")
    cluster.send("A:juliet/balcony", "<message to='romeo@example.org' type='chat' id='1'><body>Ho</body></message>")
    assert cluster.take("B:romeo/orchard") == []
    assert b"service-unavailable" in cluster.take("A:juliet/balcony")[0]


@pytest.mark.parametrize("to", ["romeo@example.org", "romeo@example.org/orchard"])
def test_a_sender_who_was_just_blocked_is_refused_where_that_is_known(to: str) -> None:
    cluster = Cluster()
    available(cluster, "B:romeo/orchard")
    block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@example.org'/></block></iq>"
    cluster.send("B:romeo/orchard", block)
    cluster.settle()
    cluster.send("A:juliet/balcony", f"<message to='{to}' type='chat' id='1'><body>Ho</body></message>")
    cluster.send("A:juliet/balcony", "<iq to='romeo@example.org/orchard' type='get' id='2'><q xmlns='q'/></iq>")
    assert cluster.take("B:romeo/orchard") == []
    answers = cluster.take("A:juliet/balcony")
    assert [b"service-unavailable" in each for each in answers] == [True, True]
    assert kept(cluster, "A", "romeo") == []


def test_without_nats_a_node_is_alone() -> None:
    cluster = Cluster()
    available(cluster, "A:romeo/orchard", "B:romeo/street")
    cluster["A"].nodes.up = False
    cluster.bind("A:juliet/balcony")
    cluster.send("A:juliet/balcony", "<message to='romeo@example.org' type='chat'><body>Ho</body></message>")
    assert len(cluster.take("A:romeo/orchard")) == 1
    cluster.end("A:romeo/orchard")
    cluster.send("A:juliet/balcony", "<message to='romeo@example.org' type='chat'><body>Ho</body></message>")
    assert len(kept(cluster, "A", "romeo")) == 1
    assert cluster.take("B:romeo/street") == []


# --- safe ------------------------------------------------------------


def test_nothing_is_acknowledged_before_another_node_has_it_safe() -> None:
    cluster = Cluster()
    available(cluster, "B:romeo/orchard")
    cluster.bind("A:juliet/balcony")
    acknowledged: list[int] = []
    for number in (1, 2):
        cluster.send("A:juliet/balcony", f"<message to='romeo@example.org/orchard' id='{number}'/>", keep=True)
        cluster["A"].promises.when_safe(lambda number=number: acknowledged.append(number))  # type: ignore[misc]
    assert len(cluster.take("B:romeo/orchard")) == 2
    assert len(cluster["B"].spooled) == 2
    assert acknowledged == []
    cluster["B"].commit()
    assert acknowledged == [1, 2]


def test_two_nodes_that_have_asked_each_other_do_not_wait_for_each_other() -> None:
    cluster = Cluster()
    available(cluster, "A:juliet/balcony", "B:romeo/orchard")
    safe: list[str] = []
    cluster.send("A:juliet/balcony", "<message to='romeo@example.org/orchard'/>", keep=True)
    cluster.send("B:romeo/orchard", "<message to='juliet@example.org/balcony'/>", keep=True)
    for name in "AB":
        cluster[name].promises.when_safe(lambda name=name: safe.append(name))  # type: ignore[misc]
    cluster["B"].commit()
    cluster["A"].commit()
    cluster["B"].commit()
    assert sorted(safe) == ["A", "B"]


def test_what_nobody_answers_is_kept_and_then_acknowledged() -> None:
    cluster = Cluster()
    available(cluster, "B:romeo/orchard")
    cluster.bind("A:juliet/balcony")
    cluster.net.silent.add("B")
    cluster.net.ends["B"].subscriptions, heard = {}, cluster.net.ends["B"].subscriptions
    cluster.net.silent.discard("B")  # it hears nothing, but somebody subscribes
    cluster.net.ends["B"].subscriptions = {
        subject: [type(each)(subject, lambda _: None, lambda _: None) for each in subscriptions]
        for subject, subscriptions in heard.items()
    }
    acknowledged: list[int] = []
    cluster.send("A:juliet/balcony", "<message type='chat' to='romeo@example.org'><body>Ho</body></message>", keep=True)
    cluster["A"].promises.when_safe(lambda: acknowledged.append(1))
    assert acknowledged == []
    cluster.net.time_out()
    assert len(kept(cluster, "A", "romeo")) == 1
    assert acknowledged == [1]


# --- requests ------------------------------------------------------------


def test_requests_and_answers_cross() -> None:
    cluster = Cluster()
    available(cluster, "A:juliet/balcony", "B:romeo/orchard")
    cluster.play(f"""
        A:juliet/balcony >> <iq type='get' id='1' to='romeo@example.org/orchard'><query xmlns='jabber:iq:version'/></iq>
        B:romeo/orchard << <iq type='get' id='1' from='juliet@example.org/balcony' to='romeo@example.org/orchard'>
            <query xmlns='jabber:iq:version'/></iq>
        B:romeo/orchard >> <iq type='result' id='1' to='juliet@example.org/balcony'/>
        A:juliet/balcony << <iq type='result' id='1' from='romeo@example.org/orchard' to='juliet@example.org/balcony'/>
        A:juliet/balcony >> <iq type='get' id='2' to='romeo@example.org/x'><query xmlns='jabber:iq:version'/></iq>
        A:juliet/balcony << <iq type='error' id='2' from='romeo@example.org/x' to='juliet@example.org/balcony'>
            {NOT_THERE}</iq>
        B:romeo/orchard >> <iq type='result' id='3' to='juliet@example.org/x'/>
    """)


def test_a_request_that_is_not_answered_in_time_is_refused() -> None:
    cluster = Cluster()
    available(cluster, "A:juliet/balcony", "B:romeo/orchard")
    for subscriptions in cluster["B"].nodes.subscriptions.values():
        for each in subscriptions:
            each.subscriber = lambda _: None
    cluster.send("A:juliet/balcony", "<iq type='get' id='1' to='romeo@example.org/orchard'><q xmlns='q'/></iq>")
    assert cluster.take("A:juliet/balcony") == []
    cluster.net.time_out()
    assert b"remote-server-timeout" in cluster.take("A:juliet/balcony")[0]


def test_the_account_of_a_user_elsewhere_answers_here() -> None:
    cluster = Cluster()
    cluster.befriend("juliet", "romeo")
    available(cluster, "A:juliet/balcony", "B:romeo/orchard")
    asked = cluster.net.requests
    cluster.play("""
        A:juliet/balcony >> <iq type='get' id='1' to='romeo@example.org'><ping xmlns='urn:xmpp:ping'/></iq>
        A:juliet/balcony << <iq type='result' id='1' from='romeo@example.org' to='juliet@example.org/balcony'/>
    """)
    assert cluster.net.requests == asked


# --- guests ------------------------------------------------------------


def test_a_guest_of_another_node_is_reached() -> None:
    cluster = Cluster()
    cluster.bind("B:guest/x", anonymous=True)
    available(cluster, "B:guest/x", "A:juliet/balcony")
    cluster.play(f"""
        A:juliet/balcony >> <message to='guest@example.org' type='chat'><body>Ho</body></message>
        B:guest/x << <message to='guest@example.org' from='juliet@example.org/balcony' type='chat'>
            <body>Ho</body></message>
        B:guest/x >> <message to='juliet@example.org' type='chat'><body>Hey</body></message>
        A:juliet/balcony << <message to='juliet@example.org' from='guest@example.org/x' type='chat'>
            <body>Hey</body></message>
        A:juliet/balcony >> <iq type='get' id='1' to='guest@example.org/x'><q xmlns='q'/></iq>
        B:guest/x << <iq type='get' id='1' from='juliet@example.org/balcony' to='guest@example.org/x'>
            <q xmlns='q'/></iq>
        A:juliet/balcony >> <presence to='guest@example.org/x'/>
        B:guest/x << <presence from='juliet@example.org/balcony' to='guest@example.org/x'/>
        A:juliet/balcony >> <message to='nobody@example.org' id='2'><body>Ho</body></message>
        A:juliet/balcony << <message type='error' id='2' from='nobody@example.org' to='juliet@example.org/balcony'>
            {NOT_THERE}</message>
    """)


# --- carbons ------------------------------------------------------------


def carbons(stanzas: list[bytes], direction: str) -> int:
    return sum(f"<{direction} xmlns='urn:xmpp:carbons:2'>".encode() in each for each in stanzas)


def test_what_is_sent_on_one_node_is_copied_on_the_others() -> None:
    cluster = Cluster("A", "B", "C")
    for name in ("A:juliet/a", "A:juliet/a2", "B:juliet/b", "C:juliet/c"):
        cluster.send(name, CARBONS)
    available(cluster, "C:romeo/orchard")
    cluster.send("A:juliet/a", "<message to='romeo@example.org' type='chat'><body>Ho</body></message>")
    assert [carbons(cluster.take(f"{name}"), "sent") for name in ("A:juliet/a", "A:juliet/a2")] == [0, 1]
    assert [carbons(cluster.take(f"{name}"), "sent") for name in ("B:juliet/b", "C:juliet/c")] == [1, 1]
    assert len(cluster.take("C:romeo/orchard")) == 1


@pytest.mark.parametrize(
    ("to", "got", "copied"),
    [
        ("romeo@example.org/b", "B:romeo/b", ["A:romeo/a", "B:romeo/b2", "C:romeo/c"]),
        ("romeo@example.org/a", "A:romeo/a", ["B:romeo/b", "B:romeo/b2", "C:romeo/c"]),
        ("romeo@example.org", "B:romeo/b", ["A:romeo/a", "B:romeo/b2", "C:romeo/c"]),
    ],
)
def test_what_comes_is_copied_once_to_those_who_have_not_got_it(to: str, got: str, copied: list[str]) -> None:
    cluster = Cluster("A", "B", "C")
    for name in ("A:romeo/a", "B:romeo/b", "B:romeo/b2", "C:romeo/c"):
        cluster.send(name, CARBONS)
    available(cluster, "B:romeo/b@1")
    cluster.bind("C:juliet/balcony")
    cluster.send("C:juliet/balcony", f"<message to='{to}' type='chat'><body>Ho</body></message>")
    for name in ("A:romeo/a", "B:romeo/b", "B:romeo/b2", "C:romeo/c"):
        stanzas = cluster.take(name)
        assert len(stanzas) == 1, name
        assert carbons(stanzas, "received") == (name in copied), name
    assert got not in copied


# --- presence ------------------------------------------------------------


def test_contacts_on_two_nodes_see_each_other_come_and_go() -> None:
    cluster = Cluster()
    cluster.befriend("juliet", "romeo")
    cluster.play("""
        A:juliet/balcony >> <presence><show>chat</show></presence>
        A:juliet/balcony << <presence from='juliet@example.org/balcony' to='juliet@example.org/balcony'>
            <show>chat</show></presence>
        A:juliet/balcony << <presence type='unavailable' from='romeo@example.org' to='juliet@example.org/balcony'/>
        B:romeo/orchard >> <presence/>
        A:juliet/balcony << <presence from='romeo@example.org/orchard' to='juliet@example.org'/>
        B:romeo/orchard << <presence from='romeo@example.org/orchard' to='romeo@example.org/orchard'/>
        B:romeo/orchard << <presence from='juliet@example.org/balcony' to='romeo@example.org/orchard'>
            <show>chat</show></presence>
        A:juliet/balcony ends
        B:romeo/orchard << <presence type='unavailable' from='juliet@example.org/balcony' to='romeo@example.org'/>
    """)


def test_a_users_own_sessions_see_each_other() -> None:
    cluster = Cluster()
    cluster.play("""
        A:juliet/balcony >> <presence/>
        A:juliet/balcony << <presence from='juliet@example.org/balcony' to='juliet@example.org/balcony'/>
        B:juliet/chamber >> <presence/>
        A:juliet/balcony << <presence from='juliet@example.org/chamber' to='juliet@example.org'/>
        B:juliet/chamber << <presence from='juliet@example.org/chamber' to='juliet@example.org/chamber'/>
        B:juliet/chamber << <presence from='juliet@example.org/balcony' to='juliet@example.org/chamber'/>
        B:juliet/chamber >> <presence type='unavailable'/>
        A:juliet/balcony << <presence type='unavailable' from='juliet@example.org/chamber' to='juliet@example.org'/>
    """)


def test_directed_presence_and_its_end() -> None:
    cluster = Cluster()
    cluster.bind("B:romeo/orchard")
    cluster.play("""
        A:juliet/balcony >> <presence to='romeo@example.org/orchard'/>
        B:romeo/orchard << <presence from='juliet@example.org/balcony' to='romeo@example.org/orchard'/>
        A:juliet/balcony ends
        B:romeo/orchard << <presence type='unavailable' from='juliet@example.org/balcony'
            to='romeo@example.org/orchard'/>
    """)


def test_who_is_blocked_is_not_heard_on_the_node_of_who_blocks() -> None:
    cluster = Cluster()
    cluster.befriend("juliet", "romeo")
    available(cluster, "B:romeo/orchard")
    block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@example.org'/></block></iq>"
    cluster.send("B:romeo/orchard", block)
    cluster.settle()  # and A does not know it yet
    cluster.send("A:juliet/balcony", "<presence/>")
    assert cluster.take("B:romeo/orchard") == []


def test_a_subscription_is_made_over_two_nodes_before_any_row_arrives() -> None:
    cluster = Cluster()
    for name in ("A:juliet/balcony", "B:romeo/orchard", "B:juliet/chamber"):
        cluster.send(name, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        cluster.send(name, "<presence/>")
    cluster.settle()
    cluster.send("A:juliet/balcony", "<presence type='subscribe' to='romeo@example.org'/>")
    (request,) = cluster.take("B:romeo/orchard")
    assert b"type='subscribe'" in request
    assert b"ask='subscribe'" in b"".join(cluster.take("A:juliet/balcony"))
    assert b"ask='subscribe'" in b"".join(cluster.take("B:juliet/chamber"))
    cluster.send("B:romeo/orchard", "<presence type='subscribed' to='juliet@example.org'/>")
    cluster.send("B:romeo/orchard", "<presence type='subscribe' to='juliet@example.org'/>")
    for name in ("A:juliet/balcony", "B:juliet/chamber"):
        got = cluster.take(name)
        assert sum(b"subscription='to'" in each for each in got) == 1, name
        assert sum(b"from='romeo@example.org/orchard'" in each for each in got) == 1, name
        assert sum(b"type='subscribe'" in each for each in got) == 1, name
    cluster.take("B:romeo/orchard")
    cluster.send("A:juliet/balcony", "<presence type='subscribed' to='romeo@example.org'/>")
    got = cluster.take("B:romeo/orchard")
    assert sum(b"subscription='both'" in each for each in got) == 1
    for name in ("balcony", "chamber"):
        assert sum(f"from='juliet@example.org/{name}'".encode() in each for each in got) == 1, name
    for node, user in (("A", "juliet"), ("B", "juliet"), ("B", "romeo")):
        (item,) = cluster[node].service.home.users[user].roster.values()
        assert item.subscription == "both"
    assert not cluster.faults


def test_presence_goes_with_a_subscription_that_another_node_has_changed() -> None:
    cluster = Cluster()
    available(cluster, "A:juliet/balcony", "B:juliet/chamber", "A:romeo/orchard")
    for store in (cluster["A"].store, cluster["B"].store):
        assert not store.users[JID("juliet", DOMAIN)].roster
    cluster.befriend("juliet", "romeo")
    cluster.copy("A", "juliet")
    assert b"from='juliet@example.org/chamber'" in b"".join(cluster.take("A:romeo/orchard"))
    cluster["A"].store.users[JID("juliet", DOMAIN)].roster.clear()
    cluster.copy("A", "juliet")
    got = b"".join(cluster.take("A:romeo/orchard"))
    assert b"type='unavailable'" in got
    assert b"from='juliet@example.org/chamber'" in got

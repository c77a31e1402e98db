"""Users over several nodes: what is kept and forwarded, conflicts, nodes that die, cuts that heal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.embedded import user_nodes
from megaphone.embedded.user_words import Here, Said, encode
from megaphone.service.ports import What
from megaphone.stream.jid import JID
from tests.unit.embedded.cluster_under_test import Cluster
from tests.unit.service.world import DOMAIN

ROMEO = JID("romeo", DOMAIN)


def waiting(cluster: Cluster, node: str) -> list[bytes]:
    return [message.stanza for message in cluster[node].store.users[ROMEO].offline.values()]


def say(cluster: Cluster, text: str, *, to: str = "romeo@example.org", node: str = "A") -> None:
    cluster.send(f"{node}:juliet/balcony", f"<message to='{to}' type='chat'><body>{text}</body></message>")


def bodies(stanzas: list[bytes]) -> list[str]:
    return [each.partition(b"<body>")[2].partition(b"</body>")[0].decode() for each in stanzas if b"<body>" in each]


# --- offline ------------------------------------------------------------


def test_what_was_kept_goes_to_where_the_user_comes() -> None:
    cluster = Cluster()
    cluster.bind("A:juliet/balcony")
    for number in range(5):
        say(cluster, str(number))
    assert len(waiting(cluster, "A")) == 5
    cluster.send("B:romeo/orchard", "<presence/>")
    assert bodies(cluster.take("B:romeo/orchard")) == []
    cluster.sweep()
    for _ in range(5):
        cluster["B"].commit()
    got = cluster.take("B:romeo/orchard")
    assert bodies(got) == [str(number) for number in range(5)]
    assert all(b"urn:xmpp:delay" in each for each in got)
    assert waiting(cluster, "A") == []
    cluster.send("A:romeo/street", "<presence/>")
    assert bodies(cluster.take("A:romeo/street")) == []


def test_a_kept_message_is_forgotten_only_when_it_is_safe_elsewhere() -> None:
    cluster = Cluster()
    cluster.bind("A:juliet/balcony")
    say(cluster, "0")
    say(cluster, "1")
    cluster.send("B:romeo/orchard", "<presence/>")
    cluster.sweep()
    assert bodies(cluster.take("B:romeo/orchard")) == ["0"]
    assert len(waiting(cluster, "A")) == 2
    cluster["B"].commit()
    assert bodies(cluster.take("B:romeo/orchard")) == ["1"]
    cluster["B"].commit()
    assert waiting(cluster, "A") == []


def test_what_is_not_taken_is_given_to_who_comes_here() -> None:
    cluster = Cluster()
    cluster.bind("A:juliet/balcony")
    say(cluster, "0")
    say(cluster, "1")
    cluster.send("B:romeo/orchard", "<presence/>")
    cluster.sweep()  # the first is under way
    cluster.send("A:romeo/street", "<presence/>")
    assert bodies(cluster.take("A:romeo/street")) == []
    cluster.end("B:romeo/orchard")
    cluster.net.time_out()
    assert bodies(cluster.take("A:romeo/street")) == ["0", "1"]  # the first twice, for it may have been lost
    assert waiting(cluster, "A") == []


def test_what_a_cut_has_kept_back_comes_when_it_heals() -> None:
    cluster = Cluster("A", "B", "C")
    cluster.send("B:romeo/orchard", "<presence/>")
    cluster.bind("A:juliet/balcony")
    cluster.settle()
    cluster.cut("A", "BC")
    say(cluster, "over the cut")
    assert len(waiting(cluster, "A")) == 1
    cluster.heal()
    for _ in range(4):
        cluster.sweep()
        cluster["B"].commit()
    assert bodies(cluster.take("B:romeo/orchard")) == ["over the cut"]
    assert waiting(cluster, "A") == []


# --- conflicts ------------------------------------------------------------


def test_a_resource_that_is_bound_on_another_node_is_replaced() -> None:
    cluster = Cluster()
    cluster.befriend("juliet", "romeo")
    for name in ("B:romeo/orchard", "A:juliet/balcony"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    cluster.bind("B:juliet/balcony")
    assert cluster.clients["A:juliet/balcony"].closed == "conflict"
    assert cluster.sessions["A:juliet/balcony"].ended
    cluster.send("B:juliet/balcony", "<presence/>")
    states = [b"unavailable" in each for each in cluster.take("B:romeo/orchard")]
    assert states == [True, False]  # the old one has left before the new one comes


@pytest.mark.parametrize("rule", ["reject", "rename"])
def test_a_resource_that_is_bound_on_another_node_stays_so(rule: str) -> None:
    cluster = Cluster(resource_conflict=rule)
    cluster.bind("A:juliet/balcony")
    taken = cluster["B"].users
    asked: list[bool] = []
    cluster["B"].turn(lambda: taken.claim(JID("juliet", DOMAIN, "balcony"), asked.append))
    cluster.net.run()
    assert asked == [True]
    assert not cluster.sessions["A:juliet/balcony"].ended


def test_of_two_that_a_cut_has_let_bind_the_newer_stays() -> None:
    cluster = Cluster()
    cluster.befriend("juliet", "romeo")
    cluster.send("B:romeo/orchard", "<presence/>")
    cluster.cut("A", "B")
    cluster.send("A:juliet/balcony", "<presence/>")
    cluster.send("B:juliet/balcony", "<presence/>")
    cluster.heal()
    cluster.settle()
    assert cluster.sessions["A:juliet/balcony"].ended
    assert cluster.clients["A:juliet/balcony"].closed == "conflict"
    assert not cluster.sessions["B:juliet/balcony"].ended
    assert cluster["A"].service.home.users == {}
    assert cluster["B"].service.home.users["romeo"].sessions[0].available
    assert not cluster.faults


# --- nodes that go ------------------------------------------------------------


def test_who_was_on_a_dead_node_becomes_unavailable() -> None:
    cluster = Cluster("A", "B", "C")
    cluster.befriend("juliet", "romeo")
    cluster.befriend("juliet", "nurse")
    for name in ("A:romeo/orchard", "B:juliet/balcony", "C:nurse/hall"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    cluster.kill("A")
    cluster.sweep(4)
    got = cluster.take("B:juliet/balcony")
    assert [each for each in got if b"unavailable" in each] == [
        b"<presence to='juliet@example.org/balcony' from='romeo@example.org' type='unavailable'/>"
    ]
    assert [b"nurse@example.org/hall" in each for each in got if b"unavailable" not in each] == [True]


def test_survivors_speak_for_the_sessions_of_a_dead_node() -> None:
    cluster = Cluster("A", "B", "C")
    cluster.befriend("juliet", "romeo")
    for name in ("A:romeo/orchard", "B:romeo/street", "C:romeo/hall", "C:juliet/balcony"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    cluster.kill("A")
    got = [each for each in cluster.take("C:juliet/balcony") if b"unavailable" in each]
    assert len(got) == 1
    assert b"from='romeo@example.org/orchard'" in got[0]
    for name in ("B:romeo/street", "C:romeo/hall"):
        seen = [each for each in cluster.take(name) if b"romeo@example.org/orchard" in each]
        assert len(seen) == 1, name
        assert b"unavailable" in seen[0]


def test_a_worker_that_lives_anew_has_lost_its_sessions() -> None:
    cluster = Cluster("A", "B")
    cluster.befriend("juliet", "romeo")
    for name in ("A:juliet/balcony", "B:juliet/chamber", "B:romeo/orchard"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    for told in cluster["B"].nodes.on_worker:
        cluster["B"].turn(lambda told=told: told(cluster["A"].nodes.own.key, 0, b"epoch--2"))  # type: ignore[misc]
    got = [each for each in cluster.take("B:romeo/orchard") if b"unavailable" in each]
    assert len(got) == 1
    assert b"from='juliet@example.org/balcony'" in got[0]


def test_after_a_cut_everybody_sees_everybody_again() -> None:
    cluster = Cluster("A", "B")
    cluster.befriend("juliet", "romeo")
    for name in ("A:juliet/balcony", "B:romeo/orchard"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    cluster.cut("A", "B")
    cluster.sweep(4)
    for name in ("A:juliet/balcony", "B:romeo/orchard"):
        assert [b"unavailable" in each for each in cluster.take(name)] == [True]
    cluster.send("A:juliet/balcony", "<presence><show>away</show></presence>")
    cluster.take("A:juliet/balcony")
    cluster.heal()
    cluster.sweep(4)
    assert [b"orchard" in each for each in cluster.take("A:juliet/balcony")] == [True]
    assert [b"away" in each for each in cluster.take("B:romeo/orchard")] == [True]


# --- what others say ------------------------------------------------------------


def test_words_that_are_none_change_nothing() -> None:
    cluster = Cluster()
    cluster.send("A:juliet/balcony", "<presence/>")
    cluster.settle()
    stranger = (b"strange1", 0, b"epoch--9")
    subject = user_nodes.user_subject("juliet@example.org")
    words = [
        b"",
        b"\xc1",
        b"\x90",
        encode(Said(*stranger, What.SESSION, "juliet@@/", b"<message/>")),
        encode(Said(*stranger, What.AVAILABLE, "juliet@example.org", b"no stanza")),
        encode(Said(*stranger, What.ROUTED, "tybalt@example.org", b"<message/>")),
        encode(Here(b"short", 0, b"epoch--9", "juliet", ())),
        encode((1, b"strange1", 0, b"epoch--9", 99, "juliet@example.org", b"<message/>")),
    ]
    for word in words:
        cluster["B"].nodes.publish(subject, word)
    cluster.net.run()
    assert cluster.take("A:juliet/balcony") == []
    assert not cluster.faults
    assert cluster["A"].users.malformed >= 5


def test_a_successor_says_nothing_into_the_wind() -> None:
    """In the moment before NATS is there nobody is taken for nowhere, and order is kept."""
    cluster = Cluster()
    for name in ("A:romeo/street", "B:romeo/orchard", "A:juliet/balcony"):
        cluster.send(name, "<presence/>")
    cluster.settle()
    at = cluster["A"].nodes
    at.up, at.arriving = False, True
    for number in range(3):
        say(cluster, str(number), to="romeo@example.org/orchard")
    assert bodies(cluster.take("A:romeo/street")) == []
    at.up, at.arriving = True, False
    for told in at.on_up:
        cluster["A"].turn(lambda told=told: told(True))  # type: ignore[misc]
    cluster.net.run()
    assert bodies(cluster.take("B:romeo/orchard")) == ["0", "1", "2"]
    assert bodies(cluster.take("A:romeo/street")) == []
    at.up, at.arriving = False, True  # and if it does not come, it is as if there were no others
    say(cluster, "3", to="romeo@example.org/orchard")
    cluster.sweep(45)
    assert bodies(cluster.take("A:romeo/street")) == ["3"]


def test_nothing_is_left_of_users_who_are_gone() -> None:
    cluster = Cluster()
    before = {name: dict(node.nodes.subscriptions) for name, node in cluster.nodes.items()}
    for name in ("A:juliet/balcony", "A:juliet/a2", "B:juliet/chamber"):
        cluster.send(name, "<presence/>")
    for name in ("A:juliet/balcony", "B:juliet/chamber", "A:juliet/a2"):
        cluster.end(name)
    for name, node in cluster.nodes.items():
        left = {subject for subject, each in node.nodes.subscriptions.items() if each}
        assert left == {subject for subject, each in before[name].items() if each}
        assert not node.users._interests
        assert not node.users._abroad


# --- any order ------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.sampled_from("ABC")),
        st.tuples(st.just("come"), st.sampled_from("ABC")),
        st.tuples(st.just("go"), st.sampled_from("ABC")),
        st.tuples(st.just("cut"), st.sampled_from(["A,BC", "AB,C", "A,B,C"])),
        st.tuples(st.just("heal"), st.just("")),
        st.tuples(st.just("sweep"), st.just("")),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_no_message_is_lost(events: list[tuple[str, str]]) -> None:
    """Whatever comes, goes and is cut, in the end each message has got to the user, from each node in order."""
    cluster = Cluster("A", "B", "C")
    said: dict[str, list[str]] = {"A": [], "B": [], "C": []}
    got: list[str] = []
    comes = 0
    here: dict[str, str] = {}

    def collect() -> None:
        for node in cluster.nodes.values():
            node.commit()
        for name in cluster.clients:
            if "romeo" in name:
                got.extend(bodies(cluster.take(name)))

    for event, at in [*events, ("heal", ""), ("come", "B"), ("sweep", "")]:
        if event == "say":
            said[at].append(f"{at}{len(said[at])}")
            cluster.send(
                f"{at}:juliet/from{at}",
                f"<message to='romeo@example.org' type='chat'><body>{said[at][-1]}</body></message>",
            )
        elif event == "come" and at not in here:
            comes += 1
            here[at] = f"{at}:romeo/r{comes}"
            cluster.send(here[at], "<presence/>")
        elif event == "go" and at in here:
            collect()
            cluster.end(here.pop(at))
        elif event == "cut":
            cluster.heal()
            cluster.cut(*at.split(","))
        elif event == "heal":
            cluster.heal()
        elif event == "sweep":
            cluster.sweep(2)
        collect()
    for _ in range(80):
        cluster.sweep()
        collect()
    assert not cluster.faults
    for texts in said.values():
        assert set(texts) <= set(got)
    assert all(not node.store.users[ROMEO].offline for node in cluster.nodes.values())
    assert len(got) < 4 * sum(map(len, said.values())) + 1

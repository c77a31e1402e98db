"""Clients that want to know which nodes there are, and are told when they change."""

from tests.unit.service.test_queries import ask, condition_of
from tests.unit.service.world import World

WATCH = "<nodes xmlns='urn:megaphone:nodes:0'/>"


def test_without_a_cluster_there_are_none() -> None:
    assert condition_of(ask(World(), WATCH, to="example.org", type_="set")) == "service-unavailable"


def test_who_has_asked_is_told_until_its_end() -> None:
    world = World()
    (home,) = world.services
    home.nodes_changed(("a", "b & c"))
    world.play("""
        juliet/balcony >> <iq type='set' id='1' to='example.org'><nodes xmlns='urn:megaphone:nodes:0'/></iq>
        juliet/balcony << <iq type='result' id='1' to='juliet@example.org/balcony' from='example.org'>
            <nodes xmlns='urn:megaphone:nodes:0'><node name='a'/><node name='b &amp; c'/></nodes></iq>
        romeo/orchard binds
    """)
    home.nodes_changed(("a", "b & c"))
    home.nodes_changed(("a",))
    told = b"<message type='headline' from='example.org' to='juliet@example.org/balcony'>" + (
        b"<nodes xmlns='urn:megaphone:nodes:0'><node name='a'/></nodes></message>"
    )
    assert (world.take("juliet/balcony"), world.take("romeo/orchard")) == ([told], [])
    assert len(home.home.node_watchers) == 1
    world.play("juliet/balcony ends")
    assert not home.home.node_watchers
    home.nodes_changed(("a", "d"))
    assert world.take("juliet/balcony") == []

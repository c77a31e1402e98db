"""Network namespaces as hosts: three nodes and a NATS, cut in two, both sides write, and it heals."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversity.cluster_people import Chronicler, assert_each_in_order, enter_as
from tests.adversity.embedded_line import attribute
from tests.adversity.embedded_node import register_names
from tests.adversity.embedded_talker import kind_of, statuses
from tests.link.server import run
from tests.scenarios.histories import assert_whole_and_equal, become_equal, said_in
from tests.scenarios.lan import Lan, lan, needs_networks
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ROOMS
from tests.servers.nats import NATS

__all__ = ["lan"]

pytestmark = needs_networks

NAMES = ("a", "b", "c")
PEOPLE = {"a": "anna", "b": "bert", "c": "carl"}
RIVALS = {"a": "alva", "c": "cleo"}  # who want the same nick
NATS_HOST = "n"
WORKERS = 2
NICK = "Rosa"
BRIDGE = 1
RESUME_SECONDS = 3
LEASE_SECONDS = 2
LINES = 200


class Hosts:
    """A host for each node and one for NATS, all on one network."""

    def __init__(self, lan: Lan, directory: Path, authority: CertificateAuthority) -> None:
        self.lan = lan
        lan.add_bridge(BRIDGE)
        self.hosts = {name: lan.add_host(name, BRIDGE) for name in (*NAMES, NATS_HOST)}
        engine = self.hosts[NATS_HOST]
        address = engine.address(BRIDGE)
        self.nats = NATS(directory / "nats", host=address, prefix=engine.prefix, make_socket=engine.make_socket)
        self.cluster = Cluster(
            directory,
            authority,
            hosts=[(self.hosts[name].address(BRIDGE), self.hosts[name].prefix) for name in NAMES],
            nats_url=f"nats://{address}:{self.nats.settings.port}",
            register=False,
            workers=WORKERS,
            lease_seconds=LEASE_SECONDS,
            service={"resume_seconds": RESUME_SECONDS},
        )
        for node in self.cluster.nodes:
            register_names(node.data, [*PEOPLE.values(), *RIVALS.values()], 1.0)

    @property
    def data(self) -> list[Path]:
        """The directories of all nodes."""
        return [node.data for node in self.cluster.nodes]

    def pull(self, *names: str) -> None:
        """Pull the cables of these hosts."""
        for name in names:
            self.lan.pull(self.hosts[name], BRIDGE)

    def plug(self, *names: str) -> None:
        """Put them back."""
        for name in names:
            self.lan.plug(self.hosts[name], BRIDGE)

    async def login(self, name: str, user: str) -> Chronicler:
        """A session of a user of this node, from its own host."""
        node = self.cluster.node(name)
        return await Chronicler.login(user, node.plain, management=True, make_socket=self.hosts[name].make_socket)


@pytest.fixture
def hosts(lan: Lan, tmp_path: Path, authority: CertificateAuthority) -> Iterator[Hosts]:
    """Three nodes that see each other."""
    made = Hosts(lan, tmp_path, authority)
    made.nats.start()
    try:
        with made.cluster:
            yield made
    finally:
        made.nats.stop()


async def people_in(hosts: Hosts, room: str) -> dict[str, Chronicler]:
    """Somebody on each node, in a persistent room, each of whom sees all others."""
    people = {name: await hosts.login(name, user) for name, user in PEOPLE.items()}
    first = people["a"]
    await first.join(room)
    await first.configure(room, persistent=True)
    for name in ("b", "c"):
        await people[name].join(room)
    for one in people.values():
        for other in people.values():
            if one is not other:
                await one.hear_presence(f"{room}@{ROOMS}/{other.user}", None)
    return people


async def say_all(people: list[Chronicler], room: str) -> list[str]:
    """Everybody says lines; what was said."""
    said = []
    for _ in range(LINES):
        said += [each.say_next(room) for each in people]
        await asyncio.sleep(0.005)
    for each in people:
        await each.all_acknowledged()
    return said


@pytest.mark.parametrize("alone", [("c",), ("a", "b", "c")], ids=["one-node", "every-node"])
def test_a_cut_heals(hosts: Hosts, alone: tuple[str, ...]) -> None:
    """NATS is on the side of the others, if there are any; each side hears itself, and the end is the same for all."""
    room = "terrace"

    async def scene() -> None:
        people = await people_in(hosts, room)
        before = await say_all(list(people.values()), room)
        for each in people.values():
            await each.hear_all(room, before)
        hosts.pull(*alone)
        # each side sees the other one go, when its connections could not come back any more
        together = [name for name in NAMES if name not in alone]
        apart = [(name, other) for name in NAMES for other in NAMES if name != other and {name, other} & {*alone}]
        for name, other in apart:
            gone = await people[name].hear_presence(f"{room}@{ROOMS}/{PEOPLE[other]}", "unavailable")
            assert "333" in statuses(gone)
        meanwhile = {name: await say_all([people[name]], room) for name in NAMES}
        for name in NAMES:
            for other in together if name in together else [name]:
                await people[name].hear_all(room, meanwhile[other])
            heard = [text for text, _, _ in people[name].lines_heard(room)]
            beyond = [other for one, other in apart if one == name]
            assert not {text for other in beyond for text in meanwhile[other]} & set(heard)
        hosts.plug(*alone)
        for name, other in apart:
            await people[name].hear_presence(f"{room}@{ROOMS}/{PEOPLE[other]}", None)
        after = await say_all(list(people.values()), room)
        for each in people.values():
            await each.hear_all(room, after)
        everything = {*before, *after, *(line for lines in meanwhile.values() for line in lines)}
        await become_equal(hosts.data, f"{room}@{ROOMS}", len(everything))
        lines = said_in(assert_whole_and_equal(hosts.data, f"{room}@{ROOMS}"))
        assert set(lines) == everything
        assert len(lines) == len(everything)
        assert_each_in_order(lines)
        for each in people.values():
            heard_ids = [id_ for _, id_, _ in each.lines_heard(room)]
            assert len(heard_ids) == len(set(heard_ids))
            await each.close()

    run(scene())


def test_a_nick_that_both_sides_gave_away(hosts: Hosts) -> None:
    """Who entered first keeps it; the other one's node gives it another one, and says so to all (303, 210)."""
    room = "nicks"

    async def scene() -> None:
        people = await people_in(hosts, room)
        hosts.pull("c")
        await people["a"].hear_presence(f"{room}@{ROOMS}/{PEOPLE['c']}", "unavailable")
        first = await hosts.login("a", RIVALS["a"])
        await enter_as(first, room, NICK)
        second = await hosts.login("c", RIVALS["c"])
        await enter_as(second, room, NICK)
        hosts.plug("c")
        other_nick = f"{NICK} (c)"
        renamed = await second.hear_presence(f"{room}@{ROOMS}/{NICK}", "unavailable")
        assert statuses(renamed) >= {"110", "303"}
        own = await second.hear_presence(f"{room}@{ROOMS}/{other_nick}", None)
        assert statuses(own) >= {"110", "210"}
        for each in (people["a"], people["b"], people["c"], first):
            await each.hear_presence(f"{room}@{ROOMS}/{other_nick}", None)
        seen = await people["c"].hear(
            lambda each: (
                kind_of(each) == "presence"
                and attribute(each, "from") == f"{room}@{ROOMS}/{NICK}"
                and attribute(each, "type") == "unavailable"
            ),
            "the nick is given up",
        )
        assert "303" in statuses(seen)
        # from then on each nick is one person, on every node
        first.say(f"{room}@{ROOMS}", "I was here first", "groupchat")
        second.say(f"{room}@{ROOMS}", "then I am the other one", "groupchat")
        for each in (*people.values(), first, second):
            heard = await each.hear_message("I was here first")
            assert attribute(heard, "from") == f"{room}@{ROOMS}/{NICK}"
            heard = await each.hear_message("then I am the other one")
            assert attribute(heard, "from") == f"{room}@{ROOMS}/{other_nick}"
        assert not any(b"303" in each for each in first.elements)
        for each in (*people.values(), first, second):
            await each.close()

    run(scene())


def test_each_node_goes_on_while_nats_is_away(hosts: Hosts) -> None:
    """A NATS that nobody reaches costs nobody a connection, and nothing that is said meanwhile."""
    room = "quiet"

    async def scene() -> None:
        people = await people_in(hosts, room)
        hosts.pull("n")
        await asyncio.to_thread(hosts.cluster.until_nats, there=False)
        said = {name: await say_all([people[name]], room) for name in NAMES}
        hosts.plug("n")
        await become_equal(hosts.data, f"{room}@{ROOMS}", sum(map(len, said.values())))
        assert_whole_and_equal(hosts.data, f"{room}@{ROOMS}")
        for each in people.values():
            await each.ping()
            assert not each.lost
            await each.close()

    run(scene())

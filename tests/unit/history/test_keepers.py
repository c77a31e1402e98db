"""Who keeps a room."""

from collections import Counter
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from megaphone.history.entry import Origin
from megaphone.history.keepers import keepers, ranked
from megaphone.history.manifest import Manifest
from tests.unit.history.origins import ROOM

NODES = [Origin(sha256(bytes([number])).digest()) for number in range(12)]
sets_of_nodes = st.lists(st.sampled_from(NODES), unique=True)


@given(sets_of_nodes, st.integers(0, 5))
def test_all_agree(nodes: list[Origin], count: int) -> None:
    again = sorted(nodes + nodes)
    assert keepers(ROOM.id, nodes, count) == keepers(ROOM.id, again, count)
    assert len(keepers(ROOM.id, nodes, count)) == min(count, len(nodes))


@given(sets_of_nodes.filter(bool), st.data())
def test_who_goes_disturbs_only_its_own_rooms(nodes: list[Origin], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(nodes))
    before = ranked(ROOM.id, nodes)
    before.remove(gone)
    assert ranked(ROOM.id, [node for node in nodes if node != gone]) == before


def test_each_gets_its_share() -> None:
    shares = Counter(
        node for number in range(2400) for node in keepers(Manifest("muc", f"{number}@rooms").id, NODES, 3)
    )
    assert all(500 < shares[node] < 700 for node in NODES)  # 600 each

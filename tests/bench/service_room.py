"""A room of thousands: what a delivery costs, and how long a message takes until the last occupant has it."""

from functools import partial

from tests.bench.measure import cost
from tests.bench.report.figure import Figure
from tests.bench.service_compared import EJABBERD, Efficiency, Talk, talking

TARGETS, LEAST = {EJABBERD: 3.0}, 150_000.0
# Senders, and how many messages of each are under way.
WAYS = {"one sender": (1, 1), "8 senders": (8, 2)}
WARM_UP_MESSAGES = 4


def fill_room(talk: Talk, occupants: int) -> None:
    """The first client creates the room and lets it tell nobody of those who come after."""
    room = f"crowd@{talk.service.rooms}"
    talk.clients.enter(room, 1)
    talk.clients.hide_participants(room)
    talk.clients.enter(room, occupants - 1)


def measure_room(occupants: dict[str, int], rounds: int, messages: int) -> list[Figure]:
    """`messages` are sent in each round, the services of `occupants` in turn; entering is not measured."""
    ways = {what: Efficiency(what, "deliveries", TARGETS, least=LEAST, delays=("p99",)) for what in WAYS}
    with talking(occupants) as talks:
        for name, talk in talks.items():
            fill_room(talk, occupants[name])
            talk.clients.talk_in_room(1, 1, WARM_UP_MESSAGES)
        for _ in range(rounds):
            for what, efficiency in ways.items():
                for name, talk in talks.items():
                    efficiency.add(name, cost(talk.service, partial(talk.clients.talk_in_room, *WAYS[what], messages)))
    return [figure for efficiency in ways.values() for figure in efficiency.figures]

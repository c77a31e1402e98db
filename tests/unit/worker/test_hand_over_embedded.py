"""Workers of the embedded service are replaced while clients talk: nobody is cut off, nothing is lost or doubled."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.bus.homes import home_of
from megaphone.dispatch.counters import Slot
from tests.unit.worker.embedded_workers import Client, House, read_all
from tests.unit.worker.worker_under_test import until

OpenHouse = Callable[..., House]


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[OpenHouse]:
    made: list[House] = []

    def make(workers: int, **options: str) -> House:
        made.append(House(tmp_path, workers, **options))
        return made[-1]

    yield make
    for house in made:
        faults = house.faults()
        house.close()
        assert faults == []


def await_room(client: Client, room: str) -> None:
    """Read until the subject shows that the client has entered."""
    read_all(client, until=lambda: any(room.encode() in data and b"<subject" in data for data in client.got))


def test_sessions_go_on(open_house: OpenHouse) -> None:
    house = open_house(1)
    plain, managed = house.client("juliet/plain"), house.client("romeo/managed", managed=True)
    guest = house.client("")
    clients = (plain, managed, guest)
    for each in clients:
        each.stanza("<presence/>")
        each.await_("presence")
        each.got.clear()
    for round_ in range(3):
        for each in clients:
            for other in clients:
                if other is not each:
                    each.stanza(f"<message to='{other.jid}' type='chat'><body>{round_}</body></message>")
        assert house.hand_over(0) == {"type": "handed_over", "moved": 3, "ended": 0}
    read_all(*clients, until=lambda: all(len(each.numbers()) == 6 for each in clients))
    assert all(sorted(each.numbers()) == [0, 0, 1, 1, 2, 2] for each in clients)
    managed.ask()
    read_all(managed, until=lambda: managed.acked == managed.sent)
    assert house.count(Slot.SESSIONS) == 3
    for each in clients:
        each.close()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_messages_flow_through_upgrades(open_house: OpenHouse, workers: int) -> None:
    """Everybody talks to everybody, with and without XEP-0198, all the time; each word comes once and in order."""
    house = open_house(workers)
    clients = [
        house.client(f"{user}/r", via=number % workers, managed=number % 2 == 0)
        for number, user in enumerate(("juliet", "rosaline", "nurse", "laurence", "mercutio", "paris"))
    ]
    clients += [house.client("", via=number % workers) for number in range(2)]
    pairs = [(each, other) for each in clients for other in clients if each is not other]
    for each in clients:
        each.stanza("<presence/>")
    heard: dict[tuple[str, str], list[int]] = {(each.jid, other.jid): [] for each, other in pairs}
    said = 0

    def talk(rounds: int) -> None:
        nonlocal said
        for _ in range(rounds):
            for each, other in pairs:
                each.stanza(f"<message to='{other.jid}' type='chat'><body>{said}</body></message>")
            said += 1
            # no faster than they can follow
            enough = (said - 4) * (len(clients) - 1)
            read_all(*clients, until=lambda enough=enough: all(len(each.got) >= enough for each in clients))

    for _ in range(2):
        for index in range(workers):
            talk(3)
            successor, path = house.successor(index)
            house.begin(index, path)
            talk(10)
            before, house.running[index] = house.running[index], successor
            while True:
                talk(1)
                if before.process.poll() is not None:
                    break
            assert before.expect("handed_over")["ended"] == 0
            successor.expect("took_over")
    talk(3)
    for each in clients:
        if each.managed:
            each.ask()

    def all_there() -> bool:
        return all(len(each.numbers()) == said * (len(clients) - 1) for each in clients) and all(
            each.acked == each.sent for each in clients if each.managed
        )

    read_all(*clients, until=all_there)
    for each in clients:
        for data in each.got:
            if data.startswith(b"<message"):
                sender = data.partition(b"from='")[2].partition(b"'")[0].decode()
                heard[sender, each.jid].append(int(data.partition(b"<body>")[2].partition(b"<")[0]))
    assert all(numbers == list(range(said)) for numbers in heard.values())
    assert house.count(Slot.SESSIONS) == len(clients)
    for each in clients:
        each.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_rooms_go_on(open_house: OpenHouse, workers: int) -> None:
    house = open_house(workers)
    clients = [
        house.client(f"{user}/r", via=number % workers, managed=number % 2 == 0)
        for number, user in enumerate(("juliet", "rosaline", "tybalt", "laurence"))
    ]
    rooms = [f"room{number}@rooms.example.org" for number in range(4)]
    for room in rooms:
        for number, each in enumerate(clients):
            each.stanza(
                f"<presence to='{room}/{each.name[:-2]}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
            await_room(each, room)
            if number == 0:
                each.stanza(
                    f"<iq type='set' id='open' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                    "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
                )
                read_all(each, until=lambda each=each: any(b"id='open'" in data for data in each.got))
                each.got.clear()
    for each in clients:
        each.got.clear()
    said = 0

    def talk() -> None:
        nonlocal said
        for each in clients:
            for room in rooms:
                each.stanza(f"<message to='{room}' type='groupchat'><body>{said}</body></message>")
        said += 1

    for index in range(workers):
        talk()
        house.hand_over(index)
        talk()
    house.hand_over(0)
    read_all(*clients, until=lambda: all(len(each.numbers()) == said * 4 * 4 for each in clients))
    orders = []
    for each in clients:
        order = {
            room: [
                (data.partition(b"from='")[2].partition(b"'")[0], data.partition(b"<body>")[2].partition(b"<")[0])
                for data in each.got
                if data.startswith(b"<message") and room.encode() in data
            ]
            for room in rooms
        }
        orders.append(order)
    assert all(order == orders[0] for order in orders)  # a room has one order for all
    # the room knows who is there, and the history what was said
    late = house.client("paris/r")
    late.stanza(f"<presence to='{rooms[0]}/late'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    read_all(late, until=lambda: any(b"<subject" in data for data in late.got))
    assert len([data for data in late.got if data.startswith(b"<presence")]) == 5
    assert late.numbers()[-4:] == [said - 1] * 4
    # and who leaves is missed, though the home of the room, or of the client, is another process by now
    for each in clients:
        each.got.clear()
    clients[3].goodbye()
    read_all(
        *clients[:3],
        until=lambda: all(
            sum(b"type='unavailable'" in data and b"/laurence'" in data for data in each.got) == 4
            for each in clients[:3]
        ),
    )
    assert house.count(Slot.OCCUPANTS) >= 0
    for each in (*clients, late):
        each.close()


def test_carbons_inactive_clients_and_block_lists_go_on(open_house: OpenHouse) -> None:
    house = open_house(1)
    first, second = house.client("juliet/first"), house.client("juliet/second", managed=True)
    romeo = house.client("romeo/r")
    for each in (first, second, romeo):
        each.stanza("<presence/>")
        each.await_("presence")
    second.stanza("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
    item = "<item jid='tybalt@example.org'/>"
    second.stanza(f"<iq type='set' id='k'><block xmlns='urn:xmpp:blocking'>{item}</block></iq>")
    read_all(second, until=lambda: any(b"id='k'" in data for data in second.got))
    second.say(b"<inactive xmlns='urn:xmpp:csi:0'/>")
    romeo.stanza(f"<presence to='{second.jid}'><show>away</show></presence>")
    romeo.stanza("<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
    romeo.await_("iq")
    house.hand_over(0)
    second.got.clear()
    romeo.stanza(f"<message to='{first.jid}' type='chat'><body>1</body></message>")
    read_all(second, until=lambda: second.numbers() == [1])
    assert b"<show>away" in second.got[0]  # what was held comes before what cannot wait
    assert b"urn:xmpp:carbons:2" in second.got[1]
    tybalt = house.client("tybalt/t")
    tybalt.stanza(f"<message to='{first.jid}' type='chat' id='x'><body>2</body></message>")
    tybalt.stanza("<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
    tybalt.await_("iq")
    assert any(b"service-unavailable" in data for data in tybalt.got)
    for each in (first, second, romeo, tybalt):
        each.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_session_is_resumed_across_an_upgrade(open_house: OpenHouse, workers: int) -> None:
    house = open_house(workers)
    romeo = house.client("romeo/r", managed=True)
    juliet = house.client("rosaline/j", managed=True)
    for each in (romeo, juliet):
        each.stanza("<presence/>")
        each.await_("presence")
    juliet.cut()
    for number in range(5):
        romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>{number}</body></message>")
    romeo.ask()
    read_all(romeo, until=lambda: romeo.acked == romeo.sent)
    for index in range(workers):
        house.hand_over(index)
    until(lambda: house.count(Slot.SESSIONS_WAITING) == 1, "the session waits")
    for number in range(5, 8):
        romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>{number}</body></message>")
    romeo.ask()
    read_all(romeo, until=lambda: romeo.acked == romeo.sent)
    again = house.client("rosaline/j", managed=True, via=workers - 1, resume=(juliet.resumption, juliet.handled))
    read_all(again, until=lambda: len(again.numbers()) == 8)
    assert again.numbers() == list(range(8))
    assert house.count(Slot.SESSIONS_WAITING) == 0
    # a session that is over is remembered by the successor, too
    again.goodbye()
    for index in range(workers):
        house.hand_over(index)
    late = house.client("rosaline/j", managed=True, resume=(juliet.resumption, 0))
    assert late.answer.startswith(b"<failed xmlns='urn:xmpp:sm:3' h='")
    for each in (romeo, again, late):
        each.close()


def test_offline_messages_survive(open_house: OpenHouse) -> None:
    house = open_house(2)
    romeo = house.client("romeo/r", managed=True)
    romeo.stanza("<presence/>")
    for number in range(4):
        romeo.stanza(f"<message to='rosaline@example.org' type='chat'><body>{number}</body></message>")
        house.hand_over(number % 2)
    romeo.ask()
    read_all(romeo, until=lambda: romeo.acked == romeo.sent)
    juliet = house.client("rosaline/j", managed=True)
    juliet.acknowledges = False
    juliet.stanza("<presence/>")
    read_all(juliet, until=lambda: len(juliet.numbers()) == 4)
    # on their way to a client: given, and neither lost nor given again
    for index in (0, 1):
        house.hand_over(index)
    juliet.say(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % juliet.handled)
    juliet.ask()
    read_all(juliet, until=lambda: juliet.acked == juliet.sent)
    assert juliet.numbers() == [0, 1, 2, 3]
    juliet.goodbye()
    again = house.client("rosaline/again")
    again.stanza("<presence/>")
    again.stanza("<iq type='get' id='p' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>")
    again.await_("iq")
    assert again.numbers() == []
    for each in (romeo, juliet, again):
        each.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_who_could_not_hand_over_goes_on(open_house: OpenHouse, workers: int) -> None:
    """The successor dies at any moment before it has taken over: nobody notices, and the next one can."""
    house = open_house(workers)
    clients = [
        house.client(f"{user}/r", via=number % workers, managed=number % 2 == 0)
        for number, user in enumerate(("juliet", "rosaline", "tybalt", "laurence"))
    ]
    room = "room@rooms.example.org"
    for number, each in enumerate(clients):
        each.stanza(f"<presence to='{room}/{number}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await_room(each, room)
        if number == 0:
            form = "<x xmlns='jabber:x:data' type='submit'/>"
            query = f"<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>"
            each.stanza(f"<iq type='set' id='open' to='{room}'>{query}</iq>")
            each.await_("iq")
    for each in clients:
        each.got.clear()
    said = failed = 0
    for attempt in range(12):
        index = attempt % workers
        successor, path = house.successor(index)
        house.begin(index, path)
        deadline = time.monotonic() + attempt * 0.004
        while time.monotonic() < deadline:
            for each in clients:
                each.stanza(f"<message to='{room}' type='groupchat'><body>{said}</body></message>")
            said += 1
            time.sleep(0.001)
        successor.process.send_signal(signal.SIGSTOP)  # whatever it is about to say, it says no more
        answers = {"took_over"} & {each["type"] for each in successor.heard_already()}
        if answers:
            successor.process.send_signal(signal.SIGCONT)
            house.running[index].expect("handed_over")
            house.running[index] = successor
            continue
        successor.kill()
        if house.running[index].hear_either("hand_over_failed", "handed_over")["type"] == "handed_over":
            break  # it had said TAKEN, and was killed before it could tell its supervisor: a crash, and no hand-over
        failed += 1
        for each in clients:
            each.stanza(f"<message to='{room}' type='groupchat'><body>{said}</body></message>")
        said += 1
        read_all(*clients, until=lambda wanted=said * 4: all(len(each.numbers()) == wanted for each in clients))
    else:
        house.hand_over(0)
        read_all(*clients, until=lambda wanted=said * 4: all(len(each.numbers()) == wanted for each in clients))
        for each in clients:
            assert sorted(each.numbers()) == sorted(list(range(said)) * 4)
    assert failed
    for each in clients:
        each.close()


def test_a_predecessor_that_dies_is_a_crash(open_house: OpenHouse) -> None:
    house = open_house(2)
    clients = [house.client(f"{user}/r", managed=True) for user in ("juliet", "rosaline", "tybalt", "laurence")]
    for each in clients:
        each.stanza("<presence/>")
        each.await_("presence")
    successor, path = house.successor(0)
    before = successor.descriptors()
    house.begin(0, path, per_second=0.1)  # it waits for twenty seconds when it has said both of them
    until(lambda: successor.descriptors() > before + 1, "the successor has got connections")
    house.running[0].kill()
    assert successor.process.wait(30) == 4
    house.running[0] = house.start(0)
    house.running[0].expect("ready")
    at_home_in_1 = [each for each in clients if home_of(each.jid.partition("/")[0], 2) == 1]
    assert 0 < len(at_home_in_1) < 4
    for each in clients:
        again = house.client(each.jid.partition("@")[0] + "/again", managed=True)
        again.stanza("<presence/>")
        again.await_("presence")
        again.close()
        each.close()


def test_nothing_is_handed_over_that_cannot_be_written(open_house: OpenHouse) -> None:
    """A store that is locked for longer than anybody waits: the worker keeps its service, and hands over later."""
    house = open_house(1)
    romeo, juliet = house.client("romeo/r", managed=True), house.client("juliet/j", managed=True)
    for each in (romeo, juliet):
        each.stanza("<presence/>")
        each.await_("presence")
    with sqlite3.connect(house.directory / "data" / "megaphone.sqlite3", isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")
        romeo.stanza("<message to='nurse@example.org' type='chat'><body>1</body></message>")
        romeo.ask()
        _, path = house.successor(0)
        house.begin(0, path)
        assert house.running[0].expect("hand_over_failed")["reason"] != ""
        lock.execute("ROLLBACK")
    lock.close()
    read_all(romeo, until=lambda: romeo.acked == romeo.sent)
    house.hand_over(0)
    romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>2</body></message>")
    read_all(juliet, until=lambda: juliet.numbers() == [2])
    nurse = house.client("nurse/n")
    nurse.stanza("<presence/>")
    read_all(nurse, until=lambda: nurse.numbers() == [1])
    for each in (romeo, juliet, nurse):
        each.close()


@pytest.mark.parametrize("record_layer", ["own", "openssl"])
def test_tls_goes_to_the_home_of_its_user(open_house: OpenHouse, record_layer: str) -> None:
    """Records of our own move with their socket; OpenSSL's stay where they are, and the bytes are relayed."""
    house = open_house(2, record_layer=record_layer)
    # each at the worker that is not its home
    clients = [house.client("juliet/r", via=1, tls=True, managed=True), house.client("rosaline/r", via=0, tls=True)]
    assert house.count(Slot.RELAYED_OPEN) == (0 if record_layer == "own" else 4)  # both ends are counted
    assert house.count(Slot.ADOPTED) == (2 if record_layer == "own" else 0)
    juliet, rosaline = clients
    for each, other in ((juliet, rosaline), (rosaline, juliet)):
        for number in range(50):
            each.stanza(f"<message to='{other.jid}' type='chat'><body>{number}</body></message>")
    read_all(*clients, until=lambda: all(len(each.numbers()) == 50 for each in clients))
    assert all(each.numbers() == list(range(50)) for each in clients)
    for each in clients:
        each.goodbye()
        each.close()


def test_tls_clients_do_not_notice_upgrades(open_house: OpenHouse) -> None:
    house = open_house(2)
    clients = [
        house.client(name, via=number % 2, tls=number % 3 > 0, managed=number % 2 == 0)
        for number, name in enumerate(("juliet/r", "rosaline/r", "nurse/r", "laurence/r", "paris/r", ""))
    ]
    said = 0
    for index in (0, 1, 0, 1):
        for _ in range(2):
            for each in clients:
                for other in clients:
                    each.stanza(f"<message to='{other.jid}' type='chat'><body>{said}</body></message>")
            said += 1
        assert house.hand_over(index)["ended"] == 0
    read_all(*clients, until=lambda: all(len(each.numbers()) == said * 6 for each in clients))
    for each in clients:
        assert sorted(each.numbers()) == sorted(list(range(said)) * 6)
        each.goodbye()
        each.close()


def test_a_relayed_client_keeps_its_session_when_its_home_is_replaced(open_house: OpenHouse) -> None:
    """Its socket cannot move; the other end of the relay can. When its own worker goes, the session waits for it."""
    house = open_house(2, record_layer="openssl")
    juliet = house.client("juliet/r", via=1, tls=True, managed=True)
    romeo = house.client("romeo/r", via=0)
    for each in (juliet, romeo):
        each.stanza("<presence/>")
        each.await_("presence")
    for number in range(4):
        romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>{number}</body></message>")
        juliet.stanza(f"<message to='{romeo.jid}' type='chat'><body>{number}</body></message>")
        assert house.hand_over(0)["ended"] == 0
    read_all(juliet, romeo, until=lambda: len(juliet.numbers()) == len(romeo.numbers()) == 4)
    assert juliet.numbers() == romeo.numbers() == [0, 1, 2, 3]
    assert house.count(Slot.RELAYED_OPEN) == 2
    assert house.hand_over(1)["ended"] == 1
    with pytest.raises(AssertionError, match="system-shutdown"):
        juliet.await_("nothing")
    until(lambda: house.count(Slot.SESSIONS_WAITING) == 1, "the session waits")
    assert house.count(Slot.RELAYED_OPEN) == 0
    romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>4</body></message>")
    again = house.client("juliet/r", via=1, tls=True, managed=True, resume=(juliet.resumption, juliet.handled))
    read_all(again, until=lambda: again.numbers() == [4])
    for each in (juliet, romeo, again):
        each.close()


def test_who_cannot_move_comes_back(open_house: OpenHouse) -> None:
    """TLS in OpenSSL: the client is told that the system goes down; its session waits at the successor or ends."""
    house = open_house(1, record_layer="openssl")
    juliet = house.client("juliet/r", tls=True, managed=True)
    nurse = house.client("nurse/r", tls=True)
    romeo = house.client("romeo/r")
    for each in (juliet, nurse, romeo):
        each.stanza("<presence/>")
        each.await_("presence")
    nurse.stanza(f"<presence to='{romeo.jid}'/>")
    romeo.await_("presence")
    romeo.got.clear()
    assert house.hand_over(0) == {"type": "handed_over", "moved": 1, "ended": 2}
    for each in (juliet, nurse):
        with pytest.raises(AssertionError, match="system-shutdown"):
            each.await_("nothing")
    romeo.await_("presence")
    assert b"type='unavailable'" in romeo.got[-1]
    romeo.stanza(f"<message to='{juliet.jid}' type='chat'><body>1</body></message>")
    romeo.stanza("<message to='nurse@example.org' type='chat'><body>2</body></message>")
    again = house.client("juliet/r", tls=True, managed=True, resume=(juliet.resumption, juliet.handled))
    read_all(again, until=lambda: again.numbers() == [1])
    nurse_again = house.client("nurse/r", tls=True)
    nurse_again.stanza("<presence/>")
    read_all(nurse_again, until=lambda: nurse_again.numbers() == [2])
    for each in (juliet, nurse, romeo, again, nurse_again):
        each.close()

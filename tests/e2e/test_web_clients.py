"""What people use in browsers and what programs use in Node: the web chat, strophe.js, @xmpp/client, unchanged.

They meet in rooms of the embedded service, and of Prosody and ejabberd behind links.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.edges import edge_in, one_of
from tests.scenarios.web_chat import WebChat
from tests.servers.chromium import Chromium, browsing
from tests.servers.embedded import Embedded
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, CAROL, ROOMS
from tests.servers.node import node
from tests.servers.process import LOOPBACK

SCRIPTS = Path(__file__).with_name("npm")
PHONE = (390, 800)
DESKTOP = (1280, 800)


def with_chat(edge: Edge) -> None:
    """The web chat in the TLS of the second listener."""
    edge.tables["listen"][1] |= {"tls": "both", "web": ["websocket", "bosh", "pages", "chat"]}
    edge.tables["chat"] = {"title": "Tea house", "join": [f"lobby@{ROOMS}"]}


def with_chat_elsewhere(edge: Edge) -> None:
    """The same, and one in a listener without TLS whose page gets no WebSocket."""
    with_chat(edge)
    edge.tables["listen"][2] |= {"web": ["websocket", "bosh", "chat"]}
    edge.tables["websocket"] = {"origins": [origin(edge)]}


by_itself = edge_in("by_itself", with_chat_elsewhere)
linked_to_prosody = edge_in("linked_to_prosody", with_chat, workers=1)
linked_to_ejabberd = edge_in("linked_to_ejabberd", with_chat, workers=1)
edge = one_of("by_itself", "linked_to_prosody", "linked_to_ejabberd")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with browsing(tmp_path_factory.mktemp("browser"), trusting=True) as started:
        yield started


def origin(edge: Edge) -> str:
    """Where the web chat is."""
    return f"https://{LOOPBACK}:{edge.direct.port}"


def test_two_people_chat_in_their_browsers(edge: Edge, browser: Chromium, tmp_path: Path) -> None:
    """One at a desk, one on a phone; whatever they ask for, they ask for it here."""
    pages = [browser.new_page(), browser.new_page()]
    try:
        for page, (width, height) in zip(pages, (DESKTOP, PHONE), strict=True):
            page.resize(width, height, mobile=(width, height) == PHONE)
        alice, carol = (WebChat(page, origin(edge)) for page in pages)
        alice.log_in(ALICE)
        carol.log_in(CAROL)
        link = f"{origin(edge)}/{'5a' * 32}"
        alice.say(f"Hello Carol, tea? <b>Look</b> at {link}")
        carol.hears("tea? <b>Look</b>")
        assert carol.links() == [link]
        carol.say("Gladly \U0001fad6")
        alice.hears("Gladly \U0001fad6")
        for number, person in enumerate((alice, carol)):
            person.page.photograph(tmp_path / f"{number}.png")
            assert person.strangers() == set()
            assert person.complaints() == []
        assert edge.metric("megaphone_websocket_connections") == 2
    finally:
        for page in pages:
            page.close()


def test_somebody_chats_where_no_websocket_gets_through(by_itself: Embedded, browser: Chromium) -> None:
    """Over BOSH instead, and without TLS: browsers allow that for the machine they run on."""
    page = browser.new_page()
    try:
        person = WebChat(page, f"http://{LOOPBACK}:{by_itself.plain.port}")
        person.log_in(ALICE)
        person.say("Is anybody here?")
        person.hears("Is anybody here?")
        (refused,) = person.complaints()
        assert "403" in refused
        assert any("/http-bind" in each for each in page.requests())
    finally:
        page.close()


def test_a_page_is_shown_to_a_room(by_itself: Edge, browser: Chromium) -> None:
    """Its author says where it is; who clicks holds it, and the next one has it from there."""
    shown = "(document.querySelector('#frame')?.srcdoc || '').includes('The kettle is on')"
    author, *others = [browser.new_page() for _ in range(4)]
    try:
        author.open(f"{origin(by_itself)}/")
        author.wait("document.querySelector('#state')?.textContent === 'connected'")
        author.fill("#content", "The kettle is on")
        author.click("#publish")
        address = str(author.wait("/^\\/[0-9a-f]{64}$/.test(location.pathname) && location.href"))
        alice, carol = (WebChat(page, origin(by_itself)) for page in others[:2])
        alice.log_in(ALICE)
        carol.log_in(CAROL)
        alice.say(f"Look: {address}")
        carol.hears(address)
        author.run("history.replaceState({}, '', '#author')")  # so that its address is not that of the window to come
        carol.page.click(f"converse-muc .chat-msg__text a[href='{address}']")
        window = browser.page_at(address)
        window.wait(shown)
        author.close()
        others[2].open(address)
        others[2].wait(shown)
        window.close()
    finally:
        for page in others:
            page.close()


def in_node(directory: Path, library: str, room: str, url: str) -> None:
    """Let two users of a library talk in a room, and compare what each of them has heard."""
    arguments = [url, f"{room}@{ROOMS}"]
    for account in (ALICE, CAROL):
        arguments += [account.jid, account.password]
    process = node(directory, SCRIPTS / f"{library}.js", *arguments, trusting=True)
    try:
        assert process.wait(60.0) == 0, process.log_tail()
    finally:
        process.stop()
    heard = json.loads(process.log_tail(1))
    said = [["one", "Hello, \U0001f44b two"], ["two", "I hear you <& more>"]]
    assert sorted(heard) == sorted([who, *each] for who in ("one", "two") for each in said)


def websocket(edge: Edge) -> str:
    """The address for RFC 7395."""
    return f"wss://{LOOPBACK}:{edge.direct.port}/xmpp-websocket"


def test_strophe(edge: Edge, tmp_path: Path) -> None:
    in_node(tmp_path, "strophe", "strophe", websocket(edge))


def test_strophe_over_bosh(edge: Edge, tmp_path: Path) -> None:
    in_node(tmp_path, "strophe", "bosh", f"{origin(edge)}/http-bind")


def test_xmpp_client(by_itself: Edge, tmp_path: Path) -> None:
    """Of one server: its SCRAM takes seconds."""
    in_node(tmp_path, "xmpp_client", "client", websocket(by_itself))

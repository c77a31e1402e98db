"""A client and a server around one BOSH session, for tests: bodies in, what comes out by request and by stream."""

from xml.etree import ElementTree as ET

from megaphone.stream.bosh import Session
from megaphone.stream.bosh_body import read_body
from megaphone.stream.bosh_terms import BoshLimits

HTTPBIND = "{http://jabber.org/protocol/httpbind}"
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='example.org' id='stream-id' version='1.0' xml:lang='en'>"
)
FEATURES = b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
FIRST = "wait='60' hold='1' ver='1.6' to='example.org' xml:lang='en' ack='1'"


def body(rid: int, attributes: str = "", inner: str = "") -> bytes:
    return (
        f"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='{rid}' {attributes}>"
        f"{inner}</body>"
    ).encode()


class Play:
    """Time stands still until `at` moves it. `answers` has the last answer to each request, which is its body's rid."""

    def __init__(self, first: str = FIRST, limits: BoshLimits | None = None, *, features: bool = True) -> None:
        self.now = 0.0
        self.numbers = 0
        self.rid_of: dict[int, int] = {}
        self.answers: dict[int, ET.Element] = {}
        self.answered: list[int] = []  # rids, in order
        self.given_up: list[int] = []  # requests that came again
        self.stream = b""
        self.limits = limits or BoshLimits()
        creation = read_body(body(1, first))
        self.session = Session("sid", creation, self._number(1), self.limits, self.now)
        self.look()
        if features:
            self.server(HEADER + FEATURES)
            assert 1 in self.answers

    def _number(self, rid: int) -> int:
        self.numbers += 1
        self.rid_of[self.numbers] = rid
        return self.numbers

    def look(self) -> None:
        self.stream += self.session.take_stream()
        for request, text in self.session.take_answers():
            rid = self.rid_of.pop(request)  # each is answered once
            answer = ET.fromstring(text)
            assert answer.tag == f"{HTTPBIND}body"
            if answer.get("type") == "error":
                self.given_up.append(request)
                continue
            self.answers[rid] = answer
            self.answered.append(rid)

    def send(self, rid: int, attributes: str = "", inner: str = "") -> int:
        """The client's request; its number."""
        number = self._number(rid)
        self.session.take_request(read_body(body(rid, attributes, inner)), number, self.now)
        self.look()
        return number

    def server(self, data: bytes) -> None:
        self.session.take_data(data, self.now)
        self.look()

    def hang_up(self) -> None:
        self.session.take_end(self.now)
        self.look()

    def gone(self, number: int) -> None:
        self.session.take_gone(number, self.now)
        self.look()

    def at(self, now: float) -> None:
        self.now = now
        self.session.take_time(now)
        self.look()

    def said(self, rid: int) -> list[str]:
        """The texts of the elements in the answer to `rid`."""
        return ["".join(element.itertext()) for element in self.answers[rid]]

    def condition(self, rid: int) -> str | None:
        """How the answer to `rid` ends the session; AssertionError if it does not."""
        assert self.answers[rid].get("type") == "terminate", ET.tostring(self.answers[rid])
        return self.answers[rid].get("condition")

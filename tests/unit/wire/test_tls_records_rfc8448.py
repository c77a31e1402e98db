"""Known answers: "Simple 1-RTT Handshake" of RFC 8448, from the application traffic secrets to the alerts."""

import pytest

from megaphone.wire.tls_end import TLSEnd
from tests.unit.wire.tls_model import AES_128, Direction, expand_label

CLIENT_SECRET = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
SERVER_SECRET = bytes.fromhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
CLIENT_KEY = bytes.fromhex("17422dda596ed5d9acd890e3c63f5051")
CLIENT_IV = bytes.fromhex("5b78923dee08579033e523d9")
SERVER_KEY = bytes.fromhex("9f02283b6c9c07efc26bb9f2ac92e356")
SERVER_IV = bytes.fromhex("cf782b88dd83549aadf1e984")
PAYLOAD = bytes(range(50))

# Records in the order in which they are sent.
TICKET = bytes.fromhex(
    "17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a"
    "015940252f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e0"
    "9c30ba1e62972ac46f75f7b981be63439b2999ce13064615139891d5e4c5b406f16e3fc181a77ca475840025db2f0a77"
    "f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74"
    "bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f"
)
CLIENT_DATA = bytes.fromhex(
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b"
    "62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"
)
SERVER_DATA = bytes.fromhex(
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8"
    "fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d"
)
CLIENT_ALERT = bytes.fromhex("1703030013c9872760655666b74d7ff1153efd6db6d0b0e3")
SERVER_ALERT = bytes.fromhex("1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9")


@pytest.fixture
def server() -> TLSEnd:
    """The server when it has sent its ticket, which OpenSSL does in our case."""
    return TLSEnd(AES_128, CLIENT_SECRET, SERVER_SECRET, outgoing_sequence=1)


@pytest.fixture
def client() -> TLSEnd:
    return TLSEnd(AES_128, SERVER_SECRET, CLIENT_SECRET, is_client=True)


def test_keys_and_ivs(server: TLSEnd, client: TLSEnd) -> None:
    assert server.incoming == (CLIENT_SECRET, CLIENT_KEY, CLIENT_IV, 0)
    assert server.outgoing == (SERVER_SECRET, SERVER_KEY, SERVER_IV, 1)
    assert client.incoming == (SERVER_SECRET, SERVER_KEY, SERVER_IV, 0)
    assert client.outgoing == (CLIENT_SECRET, CLIENT_KEY, CLIENT_IV, 0)


def test_the_client_says_what_it_says_there(client: TLSEnd) -> None:
    assert client.seal(PAYLOAD) == CLIENT_DATA
    assert client.close() == CLIENT_ALERT


def test_the_server_says_what_it_says_there(server: TLSEnd) -> None:
    assert server.seal(PAYLOAD) == SERVER_DATA
    assert server.close() == SERVER_ALERT


def test_the_server_hears_the_client(server: TLSEnd) -> None:
    assert server.open(CLIENT_DATA) == (PAYLOAD, "")
    assert server.open(CLIENT_ALERT) == (b"", "closed")
    assert server.incoming[3] == 2


def test_the_client_hears_the_server(client: TLSEnd) -> None:
    assert client.open(TICKET + SERVER_DATA + SERVER_ALERT) == (PAYLOAD, "closed")
    assert client.incoming[3] == 3


def test_the_model_says_the_same() -> None:
    direction = Direction(AES_128, CLIENT_SECRET)
    assert (direction.key, direction.iv) == (CLIENT_KEY, CLIENT_IV)
    assert direction.seal(23, PAYLOAD) == CLIENT_DATA
    assert direction.seal(21, b"\1\0") == CLIENT_ALERT
    direction = Direction(AES_128, SERVER_SECRET)
    kind, content = direction.open(TICKET)
    assert (kind, content[0], len(content)) == (22, 4, 205)
    assert direction.open(SERVER_DATA) == (23, PAYLOAD)


def test_the_next_generation_of_keys_is_the_one_of_the_model(client: TLSEnd) -> None:
    client.update()
    secret = expand_label(AES_128, CLIENT_SECRET, b"traffic upd", 32)
    key, iv = (expand_label(AES_128, secret, label, length) for label, length in [(b"key", 16), (b"iv", 12)])
    assert client.outgoing == (secret, key, iv, 0)

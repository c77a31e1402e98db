"""The table of the web chat: rooms with whole addresses, a domain that is served, and a way in beside it."""

import pytest

from megaphone.config.load import parse
from megaphone.config.rules import SMALLEST_CONFIG, SMALLEST_SERVICE
from megaphone.config.schema import Chat, Config
from megaphone.errors import ConfigError

FILE = "/etc/megaphone/megaphone.toml"


def read(chat: str, base: str = SMALLEST_SERVICE, web: str = '"websocket", "chat"') -> Config:
    return parse(base.replace('tls = "none"\n', f'tls = "none"\nweb = [{web}]\n') + chat, FILE)


def test_without_keys_it_is_for_what_is_served() -> None:
    assert read("").chat == Chat(domain="localhost", rooms="conference.localhost")
    assert read("", SMALLEST_CONFIG).chat == Chat(domain="localhost")


def test_rooms_get_whole_addresses() -> None:
    joined = read('[chat]\njoin = ["Lobby", "tea@conference.localhost"]\n[rooms]\ndomain = "talk.example"').chat.join
    assert joined == ("lobby@talk.example", "tea@conference.localhost")
    fronted = read('[chat]\nrooms = "Rooms.Example"\njoin = ["lobby"]', SMALLEST_CONFIG).chat
    assert (fronted.rooms, fronted.join) == ("rooms.example", ("lobby@rooms.example",))


@pytest.mark.parametrize(
    ("chat", "base", "key", "reason"),
    [
        ('domain = "other.example"', SMALLEST_SERVICE, "chat.domain", 'no [[domain]] has the name "other.example"'),
        ('domain = "a b"', SMALLEST_SERVICE, "chat.domain", "'a b'"),
        ('rooms = "r.example"', SMALLEST_SERVICE, "chat.rooms", "the rooms of its own are at rooms.domain"),
        ('rooms = "r example"', SMALLEST_CONFIG, "chat.rooms", "'r example'"),
        ('join = ["lobby"]', SMALLEST_CONFIG, "chat.join[0]", '"lobby" is no address of a room, and chat.rooms'),
        ('join = ["a", "a b"]', SMALLEST_SERVICE, "chat.join[1]", "'a b'"),
        ('join = ["a@b/c"]', SMALLEST_SERVICE, "chat.join[0]", "must be the name or the address of a room"),
        (f"join = {['a'] * 21}", SMALLEST_SERVICE, "chat.join", "has 21 entries; at most 20"),
        ("guests = true", SMALLEST_SERVICE, "chat.guests", "needs anonymous = true in [service]"),
        ('title = ""', SMALLEST_SERVICE, "chat.title", "must be 1 to 100 printable"),
        ('uploads = ["https://u.example/x"]', SMALLEST_CONFIG, "chat.uploads[0]", 'must be "https://" and a host'),
        ('uploads = ["https://u.example; script-src *"]', SMALLEST_CONFIG, "chat.uploads[0]", 'must be "https://"'),
    ],
)
def test_what_cannot_be(chat: str, base: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"[chat]\n{chat}\n", base)
    assert caught.value.key == key
    assert reason in caught.value.reason


def test_it_needs_a_way_in_on_its_own_listener() -> None:
    with pytest.raises(ConfigError) as caught:
        read("", web='"chat", "host-meta"')
    assert caught.value.key == "listen[0].web"
    assert '"chat" needs "websocket" or "bosh" beside it' in caught.value.reason
    assert read("", web='"chat", "bosh"').chat == Chat(domain="localhost", rooms="conference.localhost")

"""The channel's lines: both directions as literal text, pieces of any size, and what is no message."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.supervisor import channel


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            channel.Start(
                *(0, 4, "/etc/megaphone.toml", "[node]", 7, 8, [(0, 9), (1, 10)], ["00ff"]),
                bus_directory="/tmp/bus",
                bus_fds=(11, 12),
            ),
            {
                "type": "start",
                "index": 0,
                "workers": 4,
                "config_path": "/etc/megaphone.toml",
                "config_text": "[node]",
                "board_fd": 7,
                "sketch_fd": 8,
                "listeners": [[0, 9], [1, 10]],
                "ticket_keys": ["00ff"],
                "bus_directory": "/tmp/bus",
                "bus_fds": [11, 12],
                "take_over_fd": -1,
            },
        ),
        (channel.Reload("[node]\n"), {"type": "reload", "config_text": "[node]\n"}),
        (channel.TicketKeys(["aa", "bb"]), {"type": "ticket_keys", "keys": ["aa", "bb"]}),
        (
            channel.ListConnections(3, None, "a@b", "closing", 10),
            {"type": "connections", "id": 3, "address": None, "jid": "a@b", "state": "closing", "limit": 10},
        ),
        (channel.ListLinks(5), {"type": "links", "id": 5}),
        (
            channel.Kick(4, None, "192.0.2.1", None),
            {
                "type": "kick",
                "id": 4,
                "connection": None,
                "address": "192.0.2.1",
                "jid": None,
                "condition": "policy-violation",
            },
        ),
        (
            channel.Drain(250.0, 60.0, replaced=True),
            {"type": "drain", "connections_per_second": 250.0, "deadline_seconds": 60.0, "replaced": True},
        ),
        (
            channel.HandOver("/tmp/bus/0.hand-over", 5000.0, 120.0),
            {
                "type": "hand_over",
                "path": "/tmp/bus/0.hand-over",
                "connections_per_second": 5000.0,
                "deadline_seconds": 120.0,
            },
        ),
    ],
)
def test_to_the_worker(message: channel.ToWorker, line: dict) -> None:
    encoded = channel.encode(message)
    assert encoded.endswith(b"\n")
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded) == line


LINK = (0, "first", None, "edge/0/first/1", "broken", 1.5, 2, 3, 4, 5, 6, 7, None, 8, 9, 10, "Connection refused")
MESSAGES = [
    ('{"type":"ready"}', channel.Ready()),
    ('{"type":"fatal","reason":"no key"}', channel.Fatal("no key")),
    ('{"type":"reloaded"}', channel.Reloaded()),
    ('{"type":"reload_failed","reason":"\\u00e9"}', channel.ReloadFailed("\u00e9")),
    ('{"type":"reply","id":1,"result":3}', channel.Reply(1, 3)),
    (
        '{"type":"reply","id":2,"result":[{"id":"0a","worker":0,"state":"closing","address":"::1","port":1,"jid":null}]}',
        channel.Reply(2, [channel.ConnectionRow("0a", 0, "closing", "::1", 1)]),
    ),
    (
        '{"type":"link_list","id":3,"links":[{"worker":0,"upstream":"first","peer":null,"name":"edge/0/first/1",'
        '"state":"broken","since_seconds":1.5,"streams":2,"waiting":3,"frames_in":4,"frames_out":5,"bytes_in":6,'
        '"bytes_out":7,"round_trip_seconds":null,"kept_bytes":8,"unsent_bytes":9,"reattached":10,'
        '"trouble":"Connection refused"}]}',
        channel.LinkList(3, [channel.LinkRow(*LINK)]),
    ),
    ('{"type":"drained","closed":4,"cut":1}', channel.Drained(4, 1)),
    ('{"type":"took_over","moved":5}', channel.TookOver(5)),
    ('{"type":"handed_over","moved":5,"ended":1}', channel.HandedOver(5, 1)),
    ('{"type":"hand_over_failed","reason":"the successor has gone"}', channel.HandOverFailed("the successor has gone")),
    ('{"type":"ready","and":"something newer"}', channel.Ready()),
]


@pytest.mark.parametrize(("line", "message"), MESSAGES)
def test_from_the_worker(line: str, message: channel.FromWorker) -> None:
    assert channel.Decoder().receive_data(line.encode() + b"\n") == [message]


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.data())
def test_pieces_of_any_size_give_the_same_messages(
    sent: list[tuple[str, channel.FromWorker]], data: st.DataObject
) -> None:
    stream = b"".join(line.encode() + b"\n" for line, _ in sent)
    decoder, received = channel.Decoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += decoder.receive_data(stream[:size])
        stream = stream[size:]
    assert received == [message for _, message in sent]


@pytest.mark.parametrize(
    "line",
    [b"hello", b"", b"[]", b"{}", b'{"type":7}', b'{"type":"reply","id":"x","result":1}', b"\xff", b'"\xff"'],
)
def test_what_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(channel.ChannelError, match="not a message"):
        channel.Decoder().receive_data(line + b"\n")


def test_what_another_version_says_is_ignored() -> None:
    lines = b'{"type":"dance","steps":3}\n{"type":"took_over","moved":7,"in_seconds":0.5}\n'
    assert channel.Decoder().receive_data(lines) == [channel.TookOver(7)]


def test_a_line_that_does_not_end_is_an_error_and_not_a_growing_buffer() -> None:
    decoder, piece = channel.Decoder(), b"x" * (1 << 20)
    for _ in range(channel.LINE_LIMIT_BYTES // len(piece)):
        assert decoder.receive_data(piece) == []
    with pytest.raises(channel.ChannelError, match="longer than"):
        decoder.receive_data(b"x")


def test_a_message_that_would_not_fit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="does not fit the channel"):
        channel.encode(channel.Reload("x" * channel.LINE_LIMIT_BYTES))

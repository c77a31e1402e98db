"""What the keys must be towards each other."""

import json
from collections.abc import Mapping

import pytest

from megaphone.config.load import parse
from megaphone.config.rules import UPSTREAMS_LIMIT
from megaphone.config.schema import Config
from megaphone.dispatch.counters import BOARD_BYTES, Slot
from megaphone.errors import ConfigError

TABLES = {
    "listen": '[[listen]]\naddress = "127.0.0.1:5222"\ntls = "none"\n',
    "domain": '[[domain]]\nname = "example.org"\nupstreams = ["server"]\n',
    "upstream": '[[upstream]]\nname = "server"\naddress = "127.0.0.1:5232"\n',
}
CERTIFICATE = '[[certificate]]\nchain = "a.crt"\nkey = "a.key"\n'


def written(changed: Mapping[str, str], more: str = "") -> str:
    """The smallest configuration with some tables written otherwise, and more after it."""
    return "\n".join([*({**TABLES, **changed}).values(), more])


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "megaphone.toml")
    return caught.value.key, caught.value.reason


def upstream(address: str, more: str = "") -> dict[str, str]:
    return {"upstream": f'[[upstream]]\nname = "server"\naddress = "{address}"\n{more}\n'}


def listen(address: str, more: str = 'tls = "none"') -> dict[str, str]:
    return {"listen": f'[[listen]]\naddress = "{address}"\n{more}\n'}


def with_upstream(keys: Mapping[str, object]) -> str:
    """A configuration whose upstream has these keys."""
    return written({"upstream": "[[upstream]]\n" + "\n".join(f"{key} = {json.dumps(keys[key])}" for key in keys)})


def test_the_tables_of_these_tests_are_good() -> None:
    assert isinstance(parse(written({}), "megaphone.toml"), Config)


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        (written(listen("localhost")), "listen[0].address", "no port"),
        (written(listen("::1:5222")), "listen[0].address", '"[::1]:5222"'),
        (written(listen("unix:/run/x")), "listen[0].address", "over TCP"),
        (written({}, TABLES["listen"]), "listen[1].address", "127.0.0.1:5222 is also the address of listen[0]"),
        (written(listen("[::0]:1"), '[[listen]]\naddress = "[0::0]:1"\ntls = "none"'), "listen[1].address", "[::]:1"),
        (written(listen("*:5222", "")), "listen[0].tls", '"starttls" needs a [[certificate]]'),
        (written(listen("*:5223", 'tls = "direct"')), "listen[0].tls", '"direct" needs a [[certificate]]'),
        (written(listen("*:1", 'tls = "none"\nstarttls = "optional"')), "listen[0].starttls", "no meaning"),
        (written(listen("*:1", 'tls = "none"\nweb = ["bsoh"]')), "listen[0].web[0]", 'did you mean "bosh"?'),
        (written(listen("*:1", 'tls = "none"\nweb = ["bosh", "bosh"]')), "listen[0].web[1]", '"bosh" is there twice'),
        (written(listen("*:1", 'tls = "none"\nweb = "bosh"')), "listen[0].web", "must be a list"),
        (written({}, '[web]\npublic_url = "https://a.example/chat"'), "web.public_url", "a host without a path"),
        (written({}, '[web]\npublic_url = "wss://a.example"'), "web.public_url", 'must be "https://" or "http://"'),
        (written({}, "[web]\nidle_seconds = 0"), "web.idle_seconds", "above 0"),
        (
            written(listen("*:1", 'tls = "none"\nproxy_protocol_from = ["10.0.0.0/8", "10.0.0.1/8"]')),
            "listen[0].proxy_protocol_from[1]",
            'write "10.0.0.0/8"',
        ),
        (written({}, '[limits]\ntrusted_networks = ["here"]'), "limits.trusted_networks[0]", "neither"),
        (written(upstream("127.0.0.1")), "upstream[0].address", "no port"),
        (written(upstream("*:5222")), "upstream[0].address", '"127.0.0.1:5222"'),
        (written(upstream("a:0")), "upstream[0].address", "port 0"),
        (written(upstream("unix:x")), "upstream[0].address", "absolute"),
        (
            written(upstream("unix:/x", 'source_addresses = ["127.0.0.2"]')),
            "upstream[0].source_addresses",
            "Unix socket",
        ),
        (written(upstream("a:1", 'source_addresses = ["127.0.0.2", "::1"]')), "upstream[0].source_addresses", "mixed"),
        (written(upstream("[::1]:1", 'source_addresses = ["127.0.0.2"]')), "upstream[0].source_addresses", "family"),
        (written(upstream("127.0.0.1:1", 'source_addresses = ["::1"]')), "upstream[0].source_addresses", "family"),
        (
            written(upstream("a:1", 'source_addresses = ["10.0.0.0/8"]')),
            "upstream[0].source_addresses",
            "more than 4096",
        ),
        (written({}, TABLES["upstream"]), "upstream[1].name", '"server" is also the name of upstream[0]'),
        (written({}, '[[upstream]]\nname = ""\naddress = "a:1"'), "upstream[1].name", "printable"),
        (written({}, '[[upstream]]\nname = "a\\n"\naddress = "a:1"'), "upstream[1].name", "printable"),
        (written({"domain": '[[domain]]\nname = "a b"\nupstreams = ["server"]'}), "domain[0].name", "'a b'"),
        (written({}, TABLES["domain"].replace("e.org", "E.org.")), "domain[1].name", '"example.org" is also the name'),
        (written({"domain": '[[domain]]\nname = "a"\nupstreams = []'}), "domain[0].upstreams", "is empty"),
        (
            written({"domain": '[[domain]]\nname = "a"\nupstreams = ["serve"]'}),
            "domain[0].upstreams[0]",
            'there is no upstream "serve"; did you mean "server"?',
        ),
        (
            written({"domain": '[[domain]]\nname = "a"\nupstreams = ["qqq"]'}),
            "domain[0].upstreams[0]",
            "there is server",
        ),
        (
            written({"domain": '[[domain]]\nname = "a"\nupstreams = ["server", "server"]'}),
            "domain[0].upstreams[1]",
            "twice",
        ),
        (written({}, '[[certificate]]\nchain = ""\nkey = "k"'), "certificate[0].chain", "PEM file"),
        (written({}, CERTIFICATE + 'names = ["*.a", "*"]'), "certificate[0].names[1]", "label"),
        (
            written({}, "[restart]\nbackoff_first_seconds = 9"),
            "restart.backoff_first_seconds",
            "9.0 is more than backoff_max_seconds, 5.0",
        ),
        (written({}, '[drain]\nsee_other_host = "::1"'), "drain.see_other_host", "brackets"),
        (written({}, '[drain]\nsee_other_host = "*"'), "drain.see_other_host", "names no host"),
        (written({}, '[drain]\nsee_other_host = "a b"'), "drain.see_other_host", "nor a host name"),
        (written({}, '[admin]\naddress = "9280"'), "admin.address", "no port"),
        (written({}, '[admin]\naddress = "unix:/run/x"'), "admin.address", '"socket" in [admin]'),
        (written({}, '[admin]\naddress = ""\ntoken_file = "x"'), "admin.token_file", 'no meaning with address = ""'),
        (written({}, '[admin]\ntoken_file = "x\\u0000"'), "admin.token_file", "must be the path of a file"),
        (written({}, '[admin]\nsocket = "admin.sock"'), "admin.socket", "absolute"),
        (written({}, '[admin]\nsocket = ""'), "admin.socket", "absolute"),
        (written({}, f'[admin]\nsocket = "/{"a" * 107}"'), "admin.socket", "107 bytes"),
    ],
)
def test_rules(text: str, key: str, reason: str) -> None:
    found_key, found_reason = refusal(text)
    assert found_key == key
    assert reason in found_reason


@pytest.mark.parametrize(
    "text",
    [
        written(listen("127.0.0.1:0"), '[[listen]]\naddress = "127.0.0.1:0"\ntls = "none"'),
        written(listen("*:5222", 'starttls = "optional"'), CERTIFICATE),
        written(upstream("server.internal:5222", 'source_addresses = ["2001:db8::1"]')),
        written(upstream("[::1]:5222", 'source_addresses = ["2001:db8::1-2001:db8::9"]')),
        written({}, '[admin]\naddress = ""'),
        written(listen("*:1", 'tls = "none"\nweb = ["websocket", "bosh", "host-meta", "pages", "chat"]')),
        written({}, '[web]\npublic_url = "https://[2001:db8::1]:8443"'),
        written({}, '[[upstream]]\nname = "spare"\naddress = "a:1"'),
    ],
)
def test_allowed(text: str) -> None:
    assert isinstance(parse(text, "megaphone.toml"), Config)


def test_upstreams_fit_the_counter_board() -> None:
    assert UPSTREAMS_LIMIT * 16 == Slot.ADMISSION_BLOCKS - Slot.UPSTREAM_BLOCKS
    assert UPSTREAMS_LIMIT * 16 * 16 == BOARD_BYTES // 8 - Slot.LINK_BLOCKS
    more = "".join(f'[[upstream]]\nname = "u{number}"\naddress = "a:1"\n' for number in range(UPSTREAMS_LIMIT))
    assert refusal(written({}, more)) == ("upstream", "there are 65; at most 64 are possible")


LINK = {
    "name": "server",
    "address": "127.0.0.1:5300",
    "mode": "link",
    "secret_file": "link.secret",
}


@pytest.mark.parametrize(
    ("changes", "key", "reason"),
    [
        ({"secret_file": ""}, "secret_file", 'must be the path of a file with the secret; mode = "link" needs one'),
        ({"proxy_protocol": False}, "proxy_protocol", 'has no meaning with mode = "link"'),
        ({"source_addresses": ["127.0.0.1"]}, "source_addresses", 'has no meaning with mode = "link"'),
        ({"mode": "direct"}, "secret_file", 'has no meaning with mode = "direct"'),
        ({"links": 17}, "links", "must be from 1 to 16, not 17"),
        ({"opening_streams": 0}, "opening_streams", "must be from 1 to 65536, not 0"),
        ({"ca": "a", "key": "b"}, "certificate", 'is missing: with "ca" it is mutual TLS, which needs all three'),
        ({"server_name": "a.example"}, "server_name", 'has no meaning without "ca", "certificate" and "key"'),
        (
            {"ca": "a", "key": "b", "certificate": "c", "server_name": "a b"},
            "server_name",
            '"a b" is neither an IP address nor a host name',
        ),
        (
            {"ca": "a", "key": "b", "certificate": "c", "address": "unix:/run/x"},
            "server_name",
            "is missing: the name in the server's certificate, for a Unix socket",
        ),
        (
            {"address": "server.example:5300"},
            "address",
            'a link to server.example:5300 crosses a network, so it needs TLS: give "ca", "certificate" and "key"',
        ),
    ],
)
def test_links_are_checked(changes: dict[str, object], key: str, reason: str) -> None:
    table = {name: value for name, value in (LINK | changes).items() if value != ""}
    assert refusal(with_upstream(table)) == (f"upstream[0].{key}", reason)


def test_paths_of_a_link_start_at_the_file() -> None:
    tls = {"address": "[2001:db8::1]:5300", "ca": "ca.pem", "certificate": "/c.pem", "key": "k.pem"}
    upstream = parse(with_upstream(LINK | tls), "/etc/megaphone/megaphone.toml").upstream[0]
    assert (upstream.secret_file, upstream.ca) == ("/etc/megaphone/link.secret", "/etc/megaphone/ca.pem")
    assert (upstream.certificate, upstream.key) == ("/c.pem", "/etc/megaphone/k.pem")


@pytest.mark.parametrize("address", ["127.8.8.8:1", "[::1]:1", "localhost:1", "unix:/run/link.sock"])
def test_links_that_stay_on_this_machine_need_no_tls(address: str) -> None:
    assert parse(with_upstream(LINK | {"address": address}), "a.toml").upstream[0].ca == ""

"""Mistakes of operators: a configuration, a command, and exactly what is printed to standard error."""

from dataclasses import dataclass

from megaphone.config.hub import SMALLEST_HUB
from megaphone.config.rules import smallest_configurations

# The configuration that every row changes. $NAMES stand for what differs from run to run.
GOOD = """\
[node]
max_connections = 100

[[listen]]
address = "127.0.0.1:$PORT"

[[certificate]]
chain = "$CHAIN"
key = "$KEY"

[[domain]]
name = "example.test"
upstreams = ["server"]

[[upstream]]
name = "server"
address = "127.0.0.1:$SERVER_PORT"
proxy_protocol = false

[admin]
address = "$ADMIN"
socket = "$SOCKET"
"""

# The same for a hub.
GOOD_HUB = """\
[hub]
address = "127.0.0.1:$PORT"
secret_file = "$SECRET"
domain = "example.test"
max_connections = 100

[[upstream]]
name = "server"
address = "127.0.0.1:$SERVER_PORT"
proxy_protocol = false

[admin]
address = "$ADMIN"
socket = "$SOCKET"
"""

HOW_TO_SERVE = (
    "Save one, check it with `megaphone check -c FILE`, and run `megaphone serve -c FILE`. To try a chat service for "
    "this machine, run `megaphone serve` without -c."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake; the configuration is `base` with `old` replaced by `new` and `add` behind it."""

    what: str  # for people
    base: str = GOOD
    old: str = ""
    new: str = ""
    add: str = ""
    no_file: bool = False
    command: str = "check"
    error: str  # behind "megaphone: error: "
    shown: str = ""  # for people, where `error` is long
    code: int = 2


CONFIGURATION = (
    Mistake(
        what="A typo in a key",
        add="[limits]\nidle_secs = 5\n",
        error='$FILE: limits.idle_secs: there is no such key; did you mean "idle_seconds"?',
    ),
    Mistake(
        what="A typo in a table",
        old="[[upstream]]",
        new="[[upstreams]]",
        error='$FILE: upstreams: there is no such key; did you mean "upstream"?',
    ),
    Mistake(
        what="Single brackets",
        old="[[listen]]",
        new="[listen]",
        error="$FILE: listen: can be there several times: write it in double brackets, [[listen]]",
    ),
    Mistake(
        what="A wrong type",
        add='[limits]\nidle_seconds = "5"\n',
        error='$FILE: limits.idle_seconds: must be a number, not "5"',
    ),
    Mistake(
        what="A number out of range",
        add="[limits]\nstanza_bytes = 1000\n",
        error="$FILE: limits.stanza_bytes: must be from 10000 to 1000000000, not 1000",
    ),
    Mistake(
        what="A typo in a choice",
        old='$PORT"',
        new='$PORT"\ntls = "starttsl"',
        error='$FILE: listen[0].tls: must be "both", "direct", "none" or "starttls", not "starttsl"; '
        'did you mean "starttls"?',
    ),
    Mistake(
        what="The same twice in a list of choices",
        old='$PORT"',
        new='$PORT"\nweb = ["websocket", "host-meta", "websocket"]',
        error='$FILE: listen[0].web[2]: "websocket" is there twice',
    ),
    Mistake(
        what="A public address with a path",
        add='[web]\npublic_url = "https://example.org/chat"\n',
        error='$FILE: web.public_url: must be "https://" or "http://" and a host without a path: '
        '"https://chat.example.org"',
    ),
    Mistake(
        what="A certificate that is not there",
        old="$CHAIN",
        new="/nonexistent/example.crt",
        error="$FILE: certificate[0].chain: /nonexistent/example.crt: cannot be read: No such file or directory",
    ),
    Mistake(
        what="A file that is no certificate",
        old="$CHAIN",
        new="$FILE",
        error="$FILE: certificate[0].chain: $FILE: holds no certificate in PEM form",
    ),
    Mistake(
        what="A key of another certificate",
        old="$KEY",
        new="$OTHER_KEY",
        error="$FILE: certificate[0].key: $OTHER_KEY: is not the key of the certificate in $CHAIN",
    ),
    Mistake(
        what="TLS without a certificate",
        old='[[certificate]]\nchain = "$CHAIN"\nkey = "$KEY"\n',
        error='$FILE: listen[0].tls: "starttls" needs a [[certificate]] with "chain" and "key"; or set tls = "none"',
    ),
    Mistake(
        what="A Unix socket that is not there",
        old="127.0.0.1:$SERVER_PORT",
        new="unix:/nonexistent/c2s.sock",
        error="$FILE: upstream[0].address: cannot reach /nonexistent/c2s.sock: No such file or directory",
    ),
    Mistake(
        what="A Unix socket that is none",
        old="127.0.0.1:$SERVER_PORT",
        new="unix:$FILE",
        error="$FILE: upstream[0].address: cannot connect to $FILE: it is not a socket",
    ),
    Mistake(
        what="A domain with an unknown upstream",
        old='["server"]',
        new='["sever"]',
        error='$FILE: domain[0].upstreams[0]: there is no upstream "sever"; did you mean "server"?',
    ),
    Mistake(
        what="The same domain twice",
        add='[[domain]]\nname = "EXAMPLE.test"\nupstreams = ["server"]\n',
        error='$FILE: domain[1].name: "example.test" is also the name of domain[0]',
    ),
    Mistake(
        what="The same address twice",
        add='[[listen]]\naddress = "127.0.0.1:$PORT"\n',
        error="$FILE: listen[1].address: 127.0.0.1:$PORT is also the address of listen[0]",
    ),
    Mistake(
        what="An address without a port",
        old="127.0.0.1:$PORT",
        new="127.0.0.1",
        error='$FILE: listen[0].address: there is no port; write "HOST:PORT"',
    ),
    Mistake(
        what="A cipher list without a cipher",
        add='[tls]\nciphers = "NOPE"\n',
        error="$FILE: tls.ciphers: ciphers 'NOPE': no cipher match",
    ),
    Mistake(
        what="Links without a secret",
        old="proxy_protocol = false",
        new='mode = "link"',
        error='$FILE: upstream[0].secret_file: must be the path of a file with the secret; mode = "link" needs one',
    ),
    Mistake(
        what="A secret that is not there",
        old="proxy_protocol = false",
        new='mode = "link"\nsecret_file = "/nonexistent/link.secret"',
        error="$FILE: upstream[0].secret_file: /nonexistent/link.secret: cannot be read: No such file or directory",
    ),
    Mistake(
        what="A secret that everybody can read",
        old="proxy_protocol = false",
        new='mode = "link"\nsecret_file = "$OPEN_SECRET"',
        error="$FILE: upstream[0].secret_file: $OPEN_SECRET: can be read by every user of this machine; use chmod 640",
    ),
    Mistake(
        what="A secret that is too short",
        old="proxy_protocol = false",
        new='mode = "link"\nsecret_file = "$SHORT_SECRET"',
        error="$FILE: upstream[0].secret_file: $SHORT_SECRET: holds 15 bytes instead of 16 to 1024",
    ),
    Mistake(
        what="A link over a network without TLS",
        old='"127.0.0.1:$SERVER_PORT"\nproxy_protocol = false',
        new='"192.0.2.7:5300"\nmode = "link"\nsecret_file = "$SHORT_SECRET"',
        error="$FILE: upstream[0].address: a link to 192.0.2.7:5300 crosses a network, so it needs TLS: give "
        '"ca", "certificate" and "key"',
    ),
    Mistake(
        what="Half of mutual TLS",
        old="proxy_protocol = false",
        new='mode = "link"\nsecret_file = "$SHORT_SECRET"\nca = "$CHAIN"',
        error='$FILE: upstream[0].certificate: is missing: with "ca" it is mutual TLS, which needs all three',
    ),
    Mistake(
        what="PROXY protocol on a link",
        old="proxy_protocol = false",
        new='proxy_protocol = false\nmode = "link"\nsecret_file = "$SHORT_SECRET"',
        error='$FILE: upstream[0].proxy_protocol: has no meaning with mode = "link"',
    ),
    Mistake(
        what="Links in direct mode",
        old="proxy_protocol = false",
        new="proxy_protocol = false\nlinks = 4",
        error='$FILE: upstream[0].links: has no meaning with mode = "direct"',
    ),
    Mistake(
        what="A mistake in the TOML",
        add="[limits\n",
        error="$FILE: line 23, column 8: Expected ']' at the end of a table declaration",
    ),
    Mistake(
        what="An empty file",
        old=GOOD,
        error="$FILE: there is no [[listen]] and no [[domain]], so there is nothing to do. "
        + smallest_configurations(),
        shown="$FILE: there is no [[listen]] and no [[domain]], so there is nothing to do. "
        "The smallest configuration of a chat service: … and that of an edge in front of a server: …",
    ),
    Mistake(what="No file", no_file=True, error="$FILE: cannot be read: No such file or directory"),
    Mistake(
        what="No file",
        no_file=True,
        command="serve",
        error=f"$FILE: there is no configuration file. {smallest_configurations()}\n{HOW_TO_SERVE}",
        shown="$FILE: there is no configuration file. The smallest configuration of a chat service: … "
        f"and that of an edge in front of a server: … {HOW_TO_SERVE}",
    ),
)

HUB_INDENTED = "".join(f"    {line}\n" if line else "\n" for line in SMALLEST_HUB.splitlines())
HUB = (
    Mistake(
        what="A typo in a key",
        base=GOOD_HUB,
        old="[[upstream]]",
        new="grace_second = 10\n\n[[upstream]]",
        command="hub --check",
        error='$FILE: hub.grace_second: there is no such key; did you mean "grace_seconds"?',
    ),
    Mistake(
        what="A table of the edge's",
        base=GOOD_HUB,
        add='[[listen]]\naddress = "127.0.0.1:5222"\n',
        command="hub --check",
        error="$FILE: listen: there is no such key; a configuration has hub, upstream, health, restart, drain, admin, "
        "log",
    ),
    Mistake(
        what="The edge's configuration",
        command="hub --check",
        error=f"$FILE: there is no [hub]. The smallest configuration of a hub:\n\n{SMALLEST_HUB}",
        shown="$FILE: there is no [hub]. The smallest configuration of a hub: …",
    ),
    Mistake(
        what="A window that is too small",
        base=GOOD_HUB,
        old="[[upstream]]",
        new="window_bytes = 1000\n\n[[upstream]]",
        command="hub --check",
        error="$FILE: hub.window_bytes: must be from 4096 to 1048576, not 1000",
    ),
    Mistake(
        what="Links over a network without TLS",
        base=GOOD_HUB,
        old="127.0.0.1:$PORT",
        new="192.0.2.1:$PORT",
        command="hub --check",
        error="$FILE: hub.address: 192.0.2.1:$PORT can be reached from other machines, and whoever speaks on a link "
        "may claim any client: give certificate, key and client_ca for mutual TLS, or listen on 127.0.0.1, [::1] or a "
        "Unix socket",
    ),
    Mistake(
        what="Half of mutual TLS",
        base=GOOD_HUB,
        old="[[upstream]]",
        new='certificate = "$CHAIN"\nkey = "$KEY"\n\n[[upstream]]',
        command="hub --check",
        error="$FILE: hub.client_ca: is missing: mutual TLS needs certificate, key and client_ca",
    ),
    Mistake(
        what="A secret that is not there",
        base=GOOD_HUB,
        old="$SECRET",
        new="/nonexistent/link.secret",
        command="hub --check",
        error="$FILE: hub.secret_file: /nonexistent/link.secret: cannot be read: No such file or directory",
    ),
    Mistake(
        what="A secret that everybody can read",
        base=GOOD_HUB,
        old="$SECRET",
        new="$OPEN_SECRET",
        command="hub --check",
        error="$FILE: hub.secret_file: $OPEN_SECRET: can be read by every user of this machine; use chmod 640",
    ),
    Mistake(
        what="No server",
        base=GOOD_HUB,
        old='[[upstream]]\nname = "server"\naddress = "127.0.0.1:$SERVER_PORT"\nproxy_protocol = false\n',
        command="hub --check",
        error="$FILE: upstream: there is no [[upstream]], so the hub would have no server to connect to",
    ),
    Mistake(
        what="No file",
        no_file=True,
        command="hub",
        error="$FILE: there is no configuration file, and the hub needs one to know its secret and its server.\n"
        f"The smallest one:\n\n{HUB_INDENTED}\n"
        "Save it, check it with `megaphone hub --check -c FILE`, and run `megaphone hub -c FILE`.",
        shown="$FILE: there is no configuration file, and the hub needs one to know its secret and its server. "
        "The smallest one: … Save it, check it with `megaphone hub --check -c FILE`, and run `megaphone hub -c FILE`.",
    ),
    Mistake(
        what="A port that is taken",
        base=GOOD_HUB,
        old="$PORT",
        new="$TAKEN_PORT",
        command="hub",
        error="$FILE: hub.address: cannot listen on 127.0.0.1:$TAKEN_PORT: the address is already in use by another "
        "program (or another Megaphone)",
    ),
)

STARTING = (
    Mistake(
        what="A port that is taken",
        old="$PORT",
        new="$TAKEN_PORT",
        command="serve",
        error="$FILE: listen[0].address: cannot listen on 127.0.0.1:$TAKEN_PORT: the address is already in use by "
        "another program (or another Megaphone)",
    ),
    Mistake(
        what="An address of another machine",
        old="127.0.0.1:$PORT",
        new="192.0.2.1:$PORT",
        command="serve",
        error="$FILE: listen[0].address: cannot listen on 192.0.2.1:$PORT: this machine does not have that address",
    ),
    Mistake(
        what="The control socket of a Megaphone that runs",
        old="$SOCKET",
        new="$RUNNING_SOCKET",
        command="serve",
        error='$FILE: admin.socket: another Megaphone is running and answers on "$RUNNING_SOCKET"; stop it or set '
        "another path",
    ),
)

COMMANDS = (
    Mistake(
        what="A typo in a command",
        command="stauts",
        error="argument COMMAND: invalid choice: 'stauts' (choose from 'serve', 'check', 'status', 'top', "
        "'connections', 'links', 'kick', 'drain', 'reload', 'upgrade', 'probe', 'chat', 'hub', 'user', 'history', "
        "'cluster'); did you mean 'status'?",
    ),
    Mistake(
        what="Nothing runs",
        command="status",
        error="Megaphone is not running, or not on $SOCKET (use --socket or --config)",
        code=3,
    ),
    Mistake(
        what="Nobody to kick",
        command="kick --address 192.0.2.1 --socket $RUNNING_SOCKET",
        error="no connection matches",
        code=1,
    ),
    Mistake(
        what="A worker that is not there",
        command="drain --worker 7 --socket $RUNNING_SOCKET",
        error="worker 7 is not running",
        code=1,
    ),
)

REFUSED = "refused, the old configuration stays in force: "
RELOADS = (
    Mistake(
        what="A typo in a key",
        add="[limits]\nidle_secs = 5\n",
        command="reload",
        error=f'{REFUSED}$FILE: limits.idle_secs: there is no such key; did you mean "idle_seconds"?',
    ),
    Mistake(
        what="A certificate that is not there",
        old="$CHAIN",
        new="/nonexistent/example.crt",
        command="reload",
        error=f"{REFUSED}$FILE: certificate[0].chain: /nonexistent/example.crt: cannot be read: "
        "No such file or directory",
    ),
    Mistake(
        what="A change that needs a restart",
        old="127.0.0.1:$SERVER_PORT",
        new="127.0.0.1:1",
        command="reload",
        error=f"{REFUSED}$FILE: upstream[0].address: cannot change while running; restart Megaphone to change it",
    ),
)

"""The shape of the configuration: one frozen struct per TOML table, with defaults that suit a public server."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]  # at most a year, so that it fits the clock ticks of a connection


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One TOML table: immutable, and a key it does not know is an error."""


class Node(Table, frozen=True):
    """`[node]`: this machine's Megaphone."""

    workers: Annotated[int, Meta(ge=0, le=1023)] = 0  # 0 = one per core this process may run on
    max_connections: Annotated[int, Meta(ge=1, le=4_194_303)] = 100_000  # per worker; also bounds the registry


Web = Literal["websocket", "bosh", "host-meta", "pages", "chat"]


class Listen(Table, frozen=True):
    """`[[listen]]`: one address that clients connect to."""

    address: str  # "host:port", "[v6]:port"
    tls: Literal["starttls", "direct", "both", "none"] = "starttls"  # both: the first byte tells
    starttls: Literal["required", "optional"] = "required"
    web: tuple[Web, ...] = ()  # what HTTP requests may ask for there, beside XMPP over TCP
    proxy_protocol_from: tuple[str, ...] = ()  # networks whose connections must begin with a PROXY v1 or v2 header
    backlog: Annotated[int, Meta(ge=1, le=65_535)] = 4096


class WebSocket(Table, frozen=True):
    """`[websocket]`: XMPP over WebSocket (RFC 7395), where `web` has "websocket"; in part for all HTTP."""

    path: str = "/xmpp-websocket"
    origins: tuple[str, ...] = ("*",)  # from which browsers may connect, such as "https://chat.example.org"; "*" = all
    forwarded_from: tuple[str, ...] = ()  # networks of HTTP proxies that say who their clients are ...
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"  # ... in this field, and in no other
    request_bytes: Annotated[int, Meta(ge=512, le=65_536)] = 8192  # of the HTTP request that asks for the upgrade
    ping_seconds: Seconds = 45.0  # of silence, after which the edge pings a client


class WebTable(Table, frozen=True):
    """`[web]`: what all HTTP on listeners with `web` shares."""

    public_url: str = ""  # where browsers reach it, such as "https://chat.example.org"; "" = as the request says
    request_seconds: Seconds = 30.0  # for the head of a request, and again for its body
    idle_seconds: Seconds = 75.0  # between two requests of one connection


class Bosh(Table, frozen=True):
    """`[bosh]`: XMPP in HTTP requests (XEP-0124, XEP-0206), on every listener whose `web` has "bosh"."""

    path: str = "/http-bind"
    wait_seconds: Annotated[int, Meta(ge=1, le=600)] = 60  # that a request is held at most
    requests: Annotated[int, Meta(ge=2, le=10)] = 2  # of one session at once; one less is held
    inactivity_seconds: Annotated[int, Meta(ge=5, le=3600)] = 60  # without a request, after which a session ends
    polling_seconds: Annotated[int, Meta(ge=0, le=60)] = 2  # between two empty requests of who does not wait
    pause_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 120  # that a client may announce to be away
    body_bytes: Annotated[int, Meta(ge=10_000, le=1_000_000)] = 524_288  # of one request
    sessions: Positive = 10_000  # of one worker
    wrong_sids_per_address: Positive = 100  # that cost nothing; from then on the address has to wait
    see_other_uri: str = ""  # where a drain sends clients; "" = nowhere


class Certificate(Table, frozen=True):
    """`[[certificate]]`: a chain and its key; the SNI names come from the certificate unless given here."""

    chain: str  # PEM file, leaf first; a relative path starts at the configuration file's directory
    key: str  # PEM file, not encrypted
    names: tuple[str, ...] = ()


class Tls(Table, frozen=True):
    """`[tls]`: what all listeners share."""

    minimum_version: Literal["1.2", "1.3"] = "1.2"
    ciphers: str = "ECDHE+AESGCM:ECDHE+CHACHA20"  # TLS 1.2 only; the TLS 1.3 suites are OpenSSL's default
    groups: str = "X25519:P-256:P-384"
    session_tickets: bool = True
    ticket_rotation_seconds: Seconds = 14_400.0
    record_layer: Literal["own", "openssl"] = "own"  # after a TLS 1.3 handshake; TLS 1.2 stays in OpenSSL


class Domain(Table, frozen=True):
    """`[[domain]]`: an XMPP domain and the upstreams that serve it."""

    name: str
    upstreams: tuple[str, ...] = ()  # none: the embedded service


class Upstream(Table, frozen=True):
    """`[[upstream]]`: one server address behind the edge."""

    name: str
    address: str  # "host:port", "[v6]:port" or "unix:/path"
    mode: Literal["direct", "link"] = "direct"
    proxy_protocol: bool = True  # direct: PROXY v2 before the first bytes
    max_connections: Positive = 1_000_000  # of the whole node, shared evenly by its workers
    source_addresses: tuple[str, ...] = ()  # direct: addresses or networks to connect from, used in turn
    links: Annotated[int, Meta(ge=1, le=16)] = 2  # link, like all that follow: sockets of each worker
    secret_file: str = ""  # that both sides know; a relative path starts at the configuration file's directory
    opening_streams: Annotated[int, Meta(ge=1, le=65_536)] = 64  # of a worker, not answered by the server yet
    ca: str = ""  # PEM file of the authorities for the server's certificate; with the next three: mutual TLS
    certificate: str = ""  # PEM file, leaf first
    key: str = ""
    server_name: str = ""  # that the server's certificate must be for; "": the host of `address`


class Service(Table, frozen=True):
    """`[service]`: the embedded service, which serves the domain when there is no upstream."""

    data: str = "/var/lib/megaphone"  # directory; a relative path starts at the configuration file's directory
    anonymous: bool = False  # SASL ANONYMOUS (XEP-0175)
    plain_without_tls: bool = False
    scram_iterations: Annotated[int, Meta(ge=4096, le=10_000_000)] = 10_000  # RFC 7677 section 4 asks for 4,096
    failed_logins_per_address: Positive = 20  # that cost nothing; from then on it has to wait
    failed_logins_per_account: Positive = 8
    sessions_per_user: Annotated[int, Meta(ge=1, le=1000)] = 10
    resource_conflict: Literal["replace", "reject", "rename"] = "replace"
    resume_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 300  # XEP-0198; 0 = no resumption
    resume_stanzas: Positive = 1000  # sent and not acknowledged, of one session
    resume_bytes: Positive = 1_048_576
    offline_messages: Annotated[int, Meta(ge=0, le=1_000_000)] = 1000  # of one user
    offline_bytes: Positive = 4_194_304  # of one user
    roster_items: Annotated[int, Meta(ge=1, le=100_000)] = 2000  # of one user


class TokenKey(Table, frozen=True):
    """`[[token_key]]`: a key that login tokens are signed with."""

    id: str
    secret_file: str  # a relative path starts at the configuration file's directory


class Rooms(Table, frozen=True):
    """`[rooms]`: the chat rooms of the embedded service (XEP-0045)."""

    domain: str = ""  # "" = "conference." before the service's domain
    create: Literal["anyone", "accounts", "nobody"] = "accounts"
    max_rooms: Positive = 100_000  # of one worker
    max_rooms_per_user: Positive = 100  # that one user has created
    max_occupants: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000  # of one room
    history_messages: Annotated[int, Meta(ge=0, le=200)] = 20  # that a room shows to who joins
    kept_messages: Positive = 10_000  # of one persistent room, on disk


class Archive(Table, frozen=True):
    """`[archive]`: what is kept of what people say, and how it is read (XEP-0313)."""

    users: bool = False  # archives of users; every message between two of them is written to disk then
    kept_messages: Positive = 10_000  # of one user, on disk
    days: Annotated[int, Meta(ge=0, le=36_500)] = 0  # that what users and persistent rooms said is kept; 0 = no limit
    page_messages: Annotated[int, Meta(ge=1, le=1000)] = 100  # in one answer


class Cluster(Table, frozen=True):
    """`[cluster]`: the other nodes that serve the same domain, and the NATS over which they speak to each other."""

    servers: tuple[str, ...]  # "nats://host:port" or "tls://host:port" of NATS
    name: str = "megaphone"  # of the cluster; several may share one NATS
    node_name: str = ""  # what people see of this node; "" = its host name
    user: str = ""  # with password_file; or token_file; or nkey_file
    password_file: str = ""  # like all that follow: a relative path starts at the configuration file's directory
    token_file: str = ""
    nkey_file: str = ""  # a user's seed (SU...)
    ca: str = ""  # PEM file of the authorities for NATS's certificate; "" = the system's
    certificate: str = ""  # PEM file, leaf first; with key: what we show to NATS
    key: str = ""
    lease_seconds: Annotated[int, Meta(ge=2, le=3600)] = 10  # without a word for so long, a node has left
    keepers: Annotated[int, Meta(ge=1, le=64)] = 3  # nodes that keep a room's history, whoever is in it


class Pages(Table, frozen=True):
    """`[pages]`: ephemeral pages, on every listener whose `web` has "pages". Limits are each worker's."""

    origins: tuple[str, ...] = ()  # of pages that may connect beside our own, such as "https://example.org"; "*" = all
    page_bytes: Annotated[int, Meta(ge=1024, le=1_000_000)] = 262_144  # of one page
    max_pages: Annotated[int, Meta(ge=1, le=4096)] = 4096
    max_visitors: Positive = 20_000  # open windows
    max_viewers: Positive = 10_000  # of one page
    topics_per_connection: Annotated[int, Meta(ge=3, le=64)] = 16
    messages_per_second: Seconds = 50.0  # of one window, like the next two; eight seconds' worth may come at once
    joins_per_second: Seconds = 5.0
    requests_per_second: Seconds = 5.0
    joins_per_second_per_address: Seconds = 200.0
    requests_per_second_per_address: Seconds = 200.0


class Chat(Table, frozen=True):
    """`[chat]`: the web chat at /chat, on every listener whose `web` has "chat"."""

    title: str = "Chat"  # what the page calls itself
    domain: str = ""  # whose users need not say it; "" = the first [[domain]]
    rooms: str = ""  # domain of rooms that people enter by their name; "" = that of [rooms], or what the server says
    join: tuple[str, ...] = ()  # rooms that everybody enters: "lobby" or an address
    guests: bool = False  # visitors come in without an account (XEP-0175) and nobody else does
    uploads: tuple[str, ...] = ()  # origins where a server behind keeps people's files


class Health(Table, frozen=True):
    """`[health]`: the XMPP-level check of every upstream."""

    interval_seconds: Seconds = 5.0
    timeout_seconds: Seconds = 4.0
    rise: Positive = 1  # checks that must succeed in a row to be healthy again
    fall: Positive = 2  # checks that must fail in a row to be taken out


class Limits(Table, frozen=True):
    """`[limits]`: what one client, one address and all clients together may use."""

    preauth_seconds: Seconds = 30.0
    preauth_bytes: Positive = 65_536
    stanza_bytes: Annotated[int, Meta(ge=10_000, le=1_000_000_000)] = 262_144  # RFC 6120 section 13.12 asks for 10,000
    element_depth: Annotated[int, Meta(ge=2, le=255)] = 64
    element_attributes: Annotated[int, Meta(ge=4, le=255)] = 64
    connections_per_address: Positive = 200
    connections_per_prefix: Positive = 1000  # IPv4 /24, IPv6 /64
    accepts_per_second_per_address: Positive = 50
    accepts_per_second: Positive = 2000  # of the whole node
    stanzas_per_second: Positive = 200
    stanzas_burst: Positive = 1000
    bytes_per_second: Positive = 262_144
    bytes_burst: Positive = 1_048_576
    over_rate: Literal["throttle", "close"] = "throttle"
    idle_seconds: Seconds = 3600.0
    mailbox_bytes: Positive = 262_144  # queued towards a client (or a server) before its peer is made to wait
    slow_consumer_seconds: Seconds = 60.0
    connect_seconds: Seconds = 5.0  # for one upstream attempt
    close_seconds: Seconds = 3.0  # how long a closing connection may take to read our last bytes
    trusted_networks: tuple[str, ...] = ()  # exempt from the per-address and per-prefix limits


class Restart(Table, frozen=True):
    """`[restart]`: the restart intensity of workers and how a hang is noticed."""

    intensity: Positive = 10  # at most this many restarts ...
    period_seconds: Seconds = 60.0  # ... in this time, then the supervisor gives up
    backoff_first_seconds: Seconds = 0.05
    backoff_max_seconds: Seconds = 5.0
    heartbeat_timeout_seconds: Seconds = 5.0
    start_timeout_seconds: Seconds = 30.0


class Upgrade(Table, frozen=True):
    """`[upgrade]`: how a worker hands its connections over to its successor."""

    connections_per_second: Positive = 10_000  # of the worker that hands over; one does so at a time
    deadline_seconds: Seconds = 120.0  # then the worker goes on, and the upgrade stops


class Drain(Table, frozen=True):
    """`[drain]`: the orderly end."""

    connections_per_second: Positive = 1000  # of the whole node
    deadline_seconds: Seconds = 60.0
    see_other_host: str = ""  # "host", "host:port", "[v6]:port": where clients are sent; "" = nowhere


class Admin(Table, frozen=True):
    """`[admin]`: where operators and Prometheus look."""

    address: str = "127.0.0.1:9280"  # /metrics, /health and the dashboard; "" switches it off
    socket: str = "/run/megaphone/admin.sock"  # control socket, mode 0600
    token_file: str = ""  # whoever shows the token in it may see and end connections; "" = nobody may there


class Log(Table, frozen=True):
    """`[log]`: structured log on standard error."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"
    connections: bool = True  # one line per ended connection


class Config(Table, frozen=True):
    """The whole file."""

    node: Node = Node()
    listen: tuple[Listen, ...] = ()
    websocket: WebSocket = WebSocket()
    web: WebTable = WebTable()
    bosh: Bosh = Bosh()
    certificate: tuple[Certificate, ...] = ()
    tls: Tls = Tls()
    domain: tuple[Domain, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    service: Service = Service()
    token_key: tuple[TokenKey, ...] = ()
    rooms: Rooms = Rooms()
    archive: Archive = Archive()
    cluster: Cluster | None = None
    pages: Pages = Pages()
    chat: Chat = Chat()
    health: Health = Health()
    limits: Limits = Limits()
    restart: Restart = Restart()
    drain: Drain = Drain()
    upgrade: Upgrade = Upgrade()
    admin: Admin = Admin()
    log: Log = Log()

    @property
    def embedded(self) -> bool:
        """Whether the domain is served by Megaphone itself: there is no upstream."""
        return not self.upstream

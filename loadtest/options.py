"""The load test's own options, on Locust's command line and in its web page's form, and what they mean together."""

import argparse
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import urlsplit

from locust.argument_parser import LocustArgumentParser

from loadtest import profiles
from loadtest.profiles import Profile
from loadtest.swarm import Accounts, Mechanism, Security, SwarmError, Target

AUTO = "auto"
PORTS = {"xmpp": 5222, "xmpps": 5223}
DEFAULT_PROFILE = "idle"


class UsageError(Exception):
    """Options that do not make a test; the message is for the tester."""


def add_options(parser: LocustArgumentParser) -> None:
    """Add ours to Locust's; its own `--profile` and `--host` get the meaning they have here."""
    for action in parser._actions:
        if action.dest == "profile":
            action.type = _profile_name
            action.help = f"The scenario: a file of TOML, or one of {', '.join(profiles.names())}"
        elif action.dest == "host":
            action.type = _host
            action.help = "The server: xmpp://host:5222, or xmpps://host:5223 for direct TLS"
    group = parser.add_argument_group("XMPP load test")

    def add(name: str, *, shown: bool = True, secret: bool = False, **settings: Any) -> None:
        """`shown` on the web page; a group's `add_argument` does not know Locust's additions to it."""
        action: Any = group.add_argument(name, **settings)
        action.include_in_web_ui, action.is_secret = shown, secret
        action.is_required = action.is_multiple = False

    add("--domain", default="", help="The server's domain; if not given, the host's name")
    add("--rooms-domain", default="", help="Where rooms are; if not given, conference.DOMAIN")
    security, mechanisms = [AUTO, *get_args(Security)], [AUTO, *get_args(Mechanism)]
    add("--security", choices=security, default=AUTO, help="auto: starttls, or tls if the host is xmpps://")
    add("--mechanism", choices=mechanisms, default=AUTO, help="auto: SCRAM-SHA-1 with accounts, ANONYMOUS without")
    add("--accounts", default="", help="A file of lines `jid password`, or user{n}: made names, all with --password")
    add("--password", default="", env_var="LOADTEST_PASSWORD", secret=True, help="The password of made names")
    add("--ca", default="", help="PEM file of the authorities to trust; if not given, the system's")
    add("--insecure", action="store_true", help="Accept any certificate")
    add("--source-addresses", default="", help="Connect from these addresses and networks: 127.0.1.0/28,127.0.3.1")
    add("--sessions-per-user", type=int, default=0, help="How many sessions a User owns; 0: as the profile says")
    add("--time-scale", type=float, default=1.0, help="Factor for the profile's hold: 0.01 makes a day 15 minutes")
    add("--set", dest="overrides", default="", help="Other values for keys of the profile: chat_seconds=5 per_user=9")
    # Not on the web page: whoever reaches that may not run commands here.
    add("--disturb", default="", metavar="COMMAND", shown=False, help="What profiles that disturb run in their middle")
    add("--disturb-pid", type=int, default=0, metavar="PID", shown=False, help="Or: the process they kill (SIGKILL)")


@dataclass(frozen=True, slots=True)
class Plan:
    """A test as all its processes need it: what is tested and how."""

    profile: Profile
    target: Target
    rooms_domain: str
    mechanism: Mechanism
    accounts: str
    password: str
    run: str
    """A random name of the run, for names of rooms."""
    disturb: str
    disturb_pid: int

    def accounts_of(self, flock: int, flocks: int) -> Accounts:
        """The accounts of flock number `flock` (from 0) of `flocks`; a later one shares those of another."""
        if self.mechanism == "ANONYMOUS":
            return Accounts.anonymous()
        if self.accounts.endswith("{n}"):
            count = self.profile.sessions.per_user
            prefix = self.accounts.removesuffix("{n}")
            return Accounts.generated(count, self.password, self.mechanism, prefix=prefix, first=flock % flocks * count)
        return Accounts.from_file(self.accounts, self.mechanism, part=flock % flocks, parts=flocks)


def plan_tables(options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a plan that is not among the options a worker gets anyway: plain data, to be added to them."""
    try:
        found = profiles.tables(options["profile"] or DEFAULT_PROFILE, options["overrides"])
        if per_user := options["sessions_per_user"]:
            found.setdefault("sessions", {})["per_user"] = per_user
        profile = profiles.build(found, options["profile"] or DEFAULT_PROFILE)
        scale = options["time_scale"]
        if not 0 < scale <= 1_000:
            raise UsageError(f"--time-scale is more than 0, at most 1000, not {scale:g}")
        timing = found.setdefault("timing", {})
        timing["hold_seconds"] = max(1.0, options.get("hold_seconds") or profile.timing.hold_seconds * scale)
    except profiles.ProfileError as error:
        raise UsageError(str(error)) from None
    return {"profile_tables": found, "run": secrets.token_hex(4)}


def plan(options: Mapping[str, Any], host: str | None) -> Plan:
    """What the options say, `plan_tables` among them; UsageError if it is not a test."""
    if not host:
        raise UsageError("which server? --host xmpp://host:5222")
    name, port, scheme = parse_host(host)
    profile = profiles.build(options["profile_tables"], str(options["profile"] or DEFAULT_PROFILE))
    domain = options["domain"] or _domain_of(name)
    accounts = options["accounts"]
    mechanism = options["mechanism"]
    if mechanism == AUTO:
        mechanism = "SCRAM-SHA-1" if accounts else "ANONYMOUS"
    if (mechanism == "ANONYMOUS") == bool(accounts):
        raise UsageError(f"--mechanism {mechanism} logs in {'without' if accounts else 'with'} --accounts")
    security = options["security"]
    if security == AUTO:
        security = "tls" if scheme == "xmpps" else "starttls"
    if profile.disturbance and not (options["disturb"] or options["disturb_pid"]):
        raise UsageError(
            f"profile {options['profile']} disturbs the server: say how with --disturb 'COMMAND' or --disturb-pid PID"
        )
    try:
        made = Plan(
            profile=profile,
            target=Target(
                host=name,
                ports=(port,),
                domain=domain,
                security=security,
                ca_file=options["ca"] or None,
                verify=not options["insecure"],
                source_addresses=tuple(each.strip() for each in options["source_addresses"].split(",") if each.strip()),
            ),
            rooms_domain=options["rooms_domain"] or f"conference.{domain}",
            mechanism=mechanism,
            accounts=accounts,
            password=options["password"],
            run=options["run"],
            disturb=options["disturb"],
            disturb_pid=options["disturb_pid"],
        )
        made.target.addresses()
        made.target.sources()
        made.accounts_of(0, 1)
    except SwarmError as error:
        raise UsageError(str(error)) from None
    return made


def parse_host(text: str) -> tuple[str, int, str]:
    """Host, port and scheme of `xmpp://host:port` or `xmpps://host:port`."""
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = 0
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or extra:
        raise UsageError(f"--host is xmpp://host:port or xmpps://host:port, not {text!r}")
    return parts.hostname, port or PORTS[parts.scheme], parts.scheme


def _domain_of(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_loopback:
        return "localhost"
    raise UsageError(f"which domain has the server at {host}? --domain example.org")


def _profile_name(text: str) -> str:
    try:
        profiles.load(text)
    except profiles.ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _host(text: str) -> str:
    try:
        parse_host(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--host is ")) from None
    return text

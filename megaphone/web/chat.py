"""The web chat at /chat: a page, its settings, and Converse.js, none of which asks anything of anybody but us."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec

from megaphone.web.exchange import Exchange
from megaphone.web.routes import Route
from megaphone.web.static import File, answer_file, file_of, file_route, file_routes, read_directory, read_file

PAGE: Final = "/chat"
FOR_EVER: Final = b"public, max-age=31536000, immutable"  # another version of Converse.js has other paths
_READS = frozenset({"GET"})
_PORT = re.compile(r":[0-9]+$")
_HOST = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
# OMEMO would load a library that is not served here, and its keys need a server with PEP; accounts are the operator's.
_LEFT_OUT = ("converse-omemo", "converse-omemo-views", "converse-register", "converse-push")


class ChatSettings(msgspec.Struct, frozen=True):
    """What this server's web chat is like."""

    title: str
    domains: tuple[str, ...]
    """Whose users log in; the first one without saying so."""
    rooms_domain: str = ""
    """Where rooms are made; "": the client asks the server."""
    join: tuple[str, ...] = ()
    """Rooms that everybody enters at the start."""
    guests: bool = False
    """Whether visitors come in without an account (SASL ANONYMOUS) instead of logging in."""
    uploads: tuple[str, ...] = ()
    """Origins of files that people show each other (XEP-0363)."""
    websocket_path: str = ""
    """"": there is none on this listener."""
    bosh_path: str = ""


def chat_routes(settings: ChatSettings) -> Iterator[Route]:
    """Return the routes of the page and of all that it loads."""
    converse = read_directory(files("megaphone.web").joinpath("files", "converse"))  # less than 2 MB, compressed
    version = json.loads(converse["manifest.json"].body)["version"]
    assets = f"{PAGE}/{version}/"
    ours = files("megaphone.web").joinpath("files", "chat")
    text = ours.joinpath("chat.html").read_text("utf-8").format(title=html.escape(settings.title), assets=assets)
    page = file_of(text.encode(), "chat.html")

    def take_page(exchange: Exchange) -> None:
        policy = content_security_policy(settings.uploads, exchange.request.host)
        answer_file(exchange, page, [(b"Content-Security-Policy", policy.encode("ascii"))])

    yield Route(PAGE, _READS, take_page)
    yield Route(f"{PAGE}/", _READS, take_page)
    yield file_route(f"{PAGE}/settings.json", settings_file(settings, assets, version))
    for name in ("chat.js", "chat.css"):
        yield file_route(f"{PAGE}/{name}", read_file(ours.joinpath(name)))
    yield from file_routes(assets, converse, cache=FOR_EVER)


def settings_file(settings: ChatSettings, assets: str, version: str) -> File:
    """Return settings.json: where Converse.js is, how it reaches us, and what it is to be like."""
    described = {
        "assets": assets,
        "version": version,
        "websocket": settings.websocket_path or None,
        "bosh": settings.bosh_path or None,
        "converse": converse_settings(settings, assets),
    }
    return file_of(json.dumps(described, ensure_ascii=False, indent=1).encode(), "settings.json")


def converse_settings(settings: ChatSettings, assets: str) -> dict[str, Any]:
    """Return the settings of Converse.js by their names (https://conversejs.org/docs/configuration)."""
    upload_hosts = [_PORT.sub("", origin.partition("://")[2]) for origin in settings.uploads]
    domain = settings.domains[0]
    chosen: dict[str, Any] = {
        "assets_path": assets.rstrip("/"),
        "notification_icon": f"{assets}images/logo/conversejs-filled.svg",
        "view_mode": "fullscreen",
        "authentication": "anonymous" if settings.guests else "login",
        "allow_registration": False,
        "auto_reconnect": True,
        "auto_join_rooms": list(settings.join),
        "muc_nickname_from_jid": not settings.guests,  # whose addresses are random: they choose a name
        "blacklisted_plugins": list(_LEFT_OUT),
        # Nobody else is asked for anything.
        "discover_connection_methods": False,
        "xmpp_providers_url": "",
        "autocomplete_providers_url": "",
        "muc_search_service": "",
        "play_sounds": False,
        "use_system_emojis": True,
        "embed_3rd_party_media_players": False,
        "fetch_url_headers": False,
        "render_media": upload_hosts or False,
        **{f"allowed_{kind}_domains": upload_hosts for kind in ("audio", "image", "video")},
    }
    if settings.guests:
        chosen["jid"] = domain
    elif len(settings.domains) == 1:
        chosen["locked_domain"] = domain
    else:
        chosen["default_domain"] = domain
    if settings.rooms_domain:
        chosen["muc_domain"] = settings.rooms_domain
    return chosen


def content_security_policy(uploads: tuple[str, ...], host: str) -> str:
    """Return what the page may do: run our scripts, and speak with us and where files are uploaded to.

    Converse.js sets styles of single elements, so styles may stand in the page. `host` is what the request says; older
    browsers do not count a WebSocket there as 'self'.
    """
    elsewhere = "".join(f" {each}" for each in uploads)
    sockets = f" wss://{host} ws://{host}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
        f"img-src 'self' data: blob:{elsewhere}; media-src 'self' blob:{elsewhere}; "
        f"connect-src 'self'{sockets}{elsewhere}; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )

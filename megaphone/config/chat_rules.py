"""What the keys of the web chat must be: a domain that is served, rooms with whole addresses, a way in."""

import re
from typing import NoReturn

from msgspec.structs import replace

from megaphone.config.schema import Config
from megaphone.errors import ConfigError
from megaphone.stream.domain import normalise_domain
from megaphone.stream.jid import JID

TITLE_LIMIT = 100
LIST_LIMIT = 20
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_WAYS_IN = ("websocket", "bosh")


def apply_chat_rules(config: Config, file: str) -> Config:
    """Return `config` with [chat] made whole; ConfigError for a broken rule. Those of other tables hold."""
    return _ChatRules(config, file).apply()


class _ChatRules:
    def __init__(self, config: Config, file: str) -> None:
        self.config = config
        self.table = config.chat
        self.file = file

    def refuse(self, key: str, reason: str) -> NoReturn:
        raise ConfigError(self.file, key, reason)

    def apply(self) -> Config:
        if not 1 <= len(self.table.title) <= TITLE_LIMIT or not self.table.title.isprintable():
            self.refuse("chat.title", f"must be 1 to {TITLE_LIMIT} printable characters")
        for name in ("join", "uploads"):
            if (length := len(getattr(self.table, name))) > LIST_LIMIT:
                self.refuse(f"chat.{name}", f"has {length} entries; at most {LIST_LIMIT} are possible")
        self.check_ways_in()
        self.check_uploads()
        if self.table.guests and self.config.embedded and not self.config.service.anonymous:
            self.refuse("chat.guests", "needs anonymous = true in [service]")
        rooms = self.rooms()
        join = tuple(self.room(*each, rooms) for each in enumerate(self.table.join))
        return replace(self.config, chat=replace(self.table, domain=self.domain(), rooms=rooms, join=join))

    def check_ways_in(self) -> None:
        """Refuse a listener whose chat could reach nobody: it speaks only with where it comes from."""
        for index, listen in enumerate(self.config.listen):
            if "chat" in listen.web and not set(_WAYS_IN) & set(listen.web):
                self.refuse(f"listen[{index}].web", '"chat" needs "websocket" or "bosh" beside it')

    def check_uploads(self) -> None:
        for index, origin in enumerate(self.table.uploads):
            if not _ORIGIN.fullmatch(origin):
                self.refuse(
                    f"chat.uploads[{index}]",
                    'must be "https://" and a host without a path, such as "https://upload.example.org"',
                )

    def domain(self) -> str:
        served = [each.name for each in self.config.domain]
        name = self.normalised("chat.domain", self.table.domain) if self.table.domain else served[0]
        if name not in served:
            self.refuse("chat.domain", f'no [[domain]] has the name "{name}"')
        return name

    def rooms(self) -> str:
        if self.config.embedded:
            if self.table.rooms:
                self.refuse("chat.rooms", "is for servers behind Megaphone; the rooms of its own are at rooms.domain")
            return self.config.rooms.domain
        return self.normalised("chat.rooms", self.table.rooms) if self.table.rooms else ""

    def room(self, index: int, text: str, rooms: str) -> str:
        key = f"chat.join[{index}]"
        if "@" not in text and not rooms:
            self.refuse(key, f'"{text}" is no address of a room, and chat.rooms does not say where rooms are')
        try:
            address = JID.parse(text if "@" in text else f"{text}@{rooms}")
        except ValueError as error:
            self.refuse(key, str(error))
        if not address.local or address.resource:
            self.refuse(key, 'must be the name or the address of a room, such as "lobby@conference.example.org"')
        return str(address)

    def normalised(self, key: str, text: str) -> str:
        try:
            return normalise_domain(text)
        except ValueError as error:
            self.refuse(key, str(error))

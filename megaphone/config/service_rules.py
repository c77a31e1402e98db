"""What the keys of the embedded service must be: there only without upstreams, one domain, paths and names whole."""

import os.path
import re
from typing import NoReturn

from msgspec.structs import replace

from megaphone.config.cluster_rules import cluster_rules
from megaphone.config.schema import Archive, Config, Rooms, Service, TokenKey
from megaphone.errors import ConfigError
from megaphone.sockets.endpoint import is_ip_address
from megaphone.stream.domain import normalise_domain

TOKEN_KEYS_LIMIT = 16
STANZA_BYTES_LIMIT = 2_097_152  # with what is added on the way it must fit into one frame between workers (bus.local)
ROOMS_LABEL = "conference"


def apply_service_rules(config: Config, file: str) -> Config:
    """Return `config` with the tables of the embedded service made whole; ConfigError for a broken rule."""
    rules = _ServiceRules(config, file)
    if not config.embedded:
        rules.check_nothing_given()
        return config
    return rules.apply()


class _ServiceRules:
    def __init__(self, config: Config, file: str) -> None:
        self.config = config
        self.file = file

    def refuse(self, key: str, reason: str) -> NoReturn:
        raise ConfigError(self.file, key, reason)

    def check_nothing_given(self) -> None:
        """Refuse keys of the embedded service where the servers behind Megaphone do its work."""
        reason = "is for the embedded service, which there is only without any [[upstream]]"
        for name, default in (("service", Service()), ("rooms", Rooms()), ("archive", Archive())):
            given = getattr(self.config, name)
            for field in default.__struct_fields__:
                if getattr(given, field) != getattr(default, field):
                    self.refuse(f"{name}.{field}", reason)
        for name in ("token_key", "cluster"):
            if getattr(self.config, name):
                self.refuse(name, reason)

    def apply(self) -> Config:
        if len(self.config.domain) > 1:
            self.refuse("domain[1]", "Megaphone serves one domain itself; for others name the [[upstream]]s behind it")
        data = self.config.service.data
        if not data or "\0" in data:
            self.refuse("service.data", "must be the path of a directory")
        if self.config.limits.stanza_bytes > STANZA_BYTES_LIMIT:
            self.refuse("limits.stanza_bytes", f"the embedded service passes on at most {STANZA_BYTES_LIMIT} at once")
        keys = tuple(self.token_key(*each) for each in enumerate(self.config.token_key))
        if len(keys) > TOKEN_KEYS_LIMIT:
            self.refuse("token_key", f"there are {len(keys)}; at most {TOKEN_KEYS_LIMIT} are possible")
        return replace(
            self.config,
            service=replace(self.config.service, data=self.whole(data)),
            token_key=keys,
            cluster=None if self.config.cluster is None else cluster_rules(self.config.cluster, self.file),
            rooms=replace(self.config.rooms, domain=self.rooms_domain(self.config.domain[0].name)),
        )

    def whole(self, path: str) -> str:
        return os.path.join(os.path.dirname(self.file), path)

    def token_key(self, index: int, key: TokenKey) -> TokenKey:
        ids = [each.id for each in self.config.token_key]
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", key.id):
            self.refuse(f"token_key[{index}].id", "must be 1 to 32 letters, digits, hyphens or underscores")
        if (first := ids.index(key.id)) != index:
            self.refuse(f"token_key[{index}].id", f'"{key.id}" is also the id of token_key[{first}]')
        if not key.secret_file or "\0" in key.secret_file:
            self.refuse(f"token_key[{index}].secret_file", "must be the path of a file with the secret")
        return replace(key, secret_file=self.whole(key.secret_file))

    def rooms_domain(self, domain: str) -> str:
        given = self.config.rooms.domain
        if not given and is_ip_address(domain.strip("[]")):
            self.refuse("rooms.domain", f'must be given, because no name can be made from the address "{domain}"')
        try:
            name = normalise_domain(given or f"{ROOMS_LABEL}.{domain}")
        except ValueError as error:
            self.refuse("rooms.domain", str(error))
        if name == domain:
            self.refuse("rooms.domain", f'"{name}" is the domain of the users; rooms need one of their own')
        return name

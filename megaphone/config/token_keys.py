"""The keys that login tokens are signed with: small files that only their owner reads."""

from megaphone.config.schema import Config
from megaphone.config.secret_file import read_secret_file
from megaphone.errors import ConfigError
from megaphone.service.tokens import TokenKey

_LIMIT_BYTES = 4096


def read_token_keys(config: Config, file: str) -> tuple[TokenKey, ...]:
    """Return the keys in the order of the configuration, the first one signs; ConfigError if one cannot be used."""
    keys = []
    for index, table in enumerate(config.token_key):
        try:
            keys.append(TokenKey.from_file(table.id, _content(table.secret_file)))
        except ValueError as error:
            raise ConfigError(file, f"token_key[{index}].secret_file", f"{table.secret_file}: {error}") from None
    return tuple(keys)


def _content(path: str) -> bytes:
    content = read_secret_file(path, _LIMIT_BYTES + 1)
    if len(content) > _LIMIT_BYTES:
        raise ValueError(f"is larger than {_LIMIT_BYTES} bytes")
    return content

"""What the parts of the embedded service take from the configuration, at the start as on a reload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import megaphone
from megaphone.embedded.retention import RetentionSettings
from megaphone.rooms.ports import RoomConfig, RoomSettings
from megaphone.service.authenticator import LoginSettings
from megaphone.service.failed_logins import ACCOUNT_POLICY, ADDRESS_POLICY
from megaphone.service.settings import Settings
from megaphone.stream.resumption import SMLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.config.schema import Config
    from megaphone.service.tokens import TokenKey
    from megaphone.stream.jid import JID


def service_settings(config: Config, is_local_domain: Callable[[str], bool]) -> Settings:
    """Return what users and their sessions may do."""
    service = config.service
    return Settings(
        resource_conflict=service.resource_conflict,
        sessions_per_user=service.sessions_per_user,
        roster_items=service.roster_items,
        offline_messages_per_user=service.offline_messages,
        offline_bytes_per_user=service.offline_bytes,
        version=megaphone.__version__,
        components=((config.rooms.domain, "Rooms"),),
        is_local_domain=is_local_domain,
        archive=config.archive.users,
        archive_page=config.archive.page_messages,
    )


def room_settings(config: Config, secret: bytes, may_create: Callable[[JID], bool]) -> RoomSettings:
    """Return what rooms there may be, and how large."""
    rooms = config.rooms
    return RoomSettings(
        secret=secret,
        may_create=may_create,
        defaults=RoomConfig(history_length=rooms.history_messages),
        rooms_limit=rooms.max_rooms,
        rooms_per_user_limit=rooms.max_rooms_per_user,
        occupants_limit=rooms.max_occupants,
        page_limit=config.archive.page_messages,
    )


def login_settings(config: Config, token_keys: Sequence[TokenKey], anonymous_name: Callable[[], str]) -> LoginSettings:
    """Return how one may log in; `anonymous_name()` gives the local part of whoever has no account."""
    service = config.service
    return LoginSettings(
        tokens=tuple(token_keys),
        anonymous=anonymous_name if service.anonymous else None,
        plain_without_tls=service.plain_without_tls,
        iterations=service.scram_iterations,
        address_locks=replace(ADDRESS_POLICY, free_failures=service.failed_logins_per_address),
        account_locks=replace(ACCOUNT_POLICY, free_failures=service.failed_logins_per_account),
    )


def retention_settings(config: Config) -> RetentionSettings:
    """Return how long histories are kept."""
    return RetentionSettings(
        of_rooms=config.rooms.kept_messages, of_users=config.archive.kept_messages, days=config.archive.days
    )


def sm_limits(config: Config) -> SMLimits:
    """Return how much is kept for a client that may resume its stream (XEP-0198)."""
    return SMLimits(stanzas=config.service.resume_stanzas, bytes=config.service.resume_bytes)

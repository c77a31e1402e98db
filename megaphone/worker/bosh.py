"""Makes of `[bosh]` what its sessions are measured by, and the route of a listener."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from megaphone.stream.bosh_terms import BoshLimits
from megaphone.web.bosh import Bosh, BoshSettings
from megaphone.web.routes import Route

if TYPE_CHECKING:
    from megaphone.config.schema import Config


def bosh_settings(config: Config) -> BoshSettings:
    """Return what holds for the sessions of a worker."""
    table, limits = config.bosh, config.limits
    return BoshSettings(
        BoshLimits(
            wait=table.wait_seconds,
            requests=table.requests,
            inactivity=table.inactivity_seconds,
            polling=table.polling_seconds,
            pause=table.pause_seconds,
            outbox_bytes=limits.mailbox_bytes,
            see_other_uri=table.see_other_uri,
        ),
        sessions=table.sessions,
        wrong_sids=table.wrong_sids_per_address,
        depth=limits.element_depth,
        attributes=limits.element_attributes,
    )


def bosh_routes(bosh: Bosh, config: Config, listen: int) -> list[Route]:
    """Return where a listener takes requests of sessions."""
    take = partial(bosh.take, place=listen)
    table = config.bosh
    return [Route(table.path, frozenset({"POST"}), take, body_limit_bytes=table.body_bytes, cors=True)]

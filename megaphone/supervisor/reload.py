"""A reload of the configuration: check the file first, hand it to all workers or to none, say what happened.

The new text goes to one worker before the others: what that one refuses, none of them gets. Should a later one refuse
it all the same, those that took it are given the old text back.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from megaphone import log
from megaphone.config.load import check_environment, parse, read_text, restart_needed
from megaphone.config.schema import Config
from megaphone.errors import ConfigError
from megaphone.supervisor import certificate
from megaphone.supervisor.child import Child, State

if TYPE_CHECKING:
    from megaphone.supervisor.supervisor import Supervisor

RELOADED: Final = "reloaded"
RELOAD_SECONDS: Final = 10.0  # for one worker to take over a configuration

_log = log.get_logger("supervisor")

# What reads a new configuration: path and present one to the new one, its text and its warnings; or ConfigError.
Reader = Callable[[str, Config], tuple[Config, str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a reload."""

    reason: str = ""  # why it was refused; "" when the new configuration is in force
    workers: dict[int, str] = field(default_factory=dict)  # by index: "reloaded", or why not

    @property
    def accepted(self) -> bool:
        """Whether the node runs on the new configuration."""
        return not self.reason


def read_candidate(path: str, current: Config) -> tuple[Config, str, tuple[str, ...]]:
    """The configuration now in the file, its text and warnings; ConfigError when it cannot take `current`'s place."""
    text = read_text(path)
    candidate = parse(text, path)
    warnings = check_environment(candidate, path)
    if keys := restart_needed(current, candidate):
        raise ConfigError(path, ", ".join(keys), "cannot change while running; restart Megaphone to change it")
    return candidate, text, warnings


async def hand_out(children: Sequence[Child], *, new_text: str, old_text: str, timeout_seconds: float) -> Outcome:
    """Gives `new_text` to every worker; when one refuses, the others are back on `old_text` when this returns."""
    answers: dict[int, str] = {}

    async def give(child: Child, text: str) -> None:
        answers[child.index] = await child.conversation.reload(text, timeout_seconds=timeout_seconds) or RELOADED

    for wave in (children[:1], children[1:]):
        async with trio.open_nursery() as nursery:
            for child in wave:
                nursery.start_soon(give, child, new_text)
        refused = {index: answer for index, answer in answers.items() if answer != RELOADED}
        if refused:
            reasons = [f"worker {index}: {answer}" for index, answer in sorted(refused.items())]
            given = [child for child in children if child.index in answers]
            reasons += await _take_back(given, old_text, timeout_seconds)
            return Outcome("; ".join(reasons), refused)
    return Outcome("", answers)


async def _take_back(children: Sequence[Child], old_text: str, timeout_seconds: float) -> list[str]:
    """Restores the old configuration; also in a worker that did not answer, since it may have taken the new one."""
    failures: list[str] = []

    async def give(child: Child) -> None:
        reason = await child.conversation.reload(old_text, timeout_seconds=timeout_seconds)
        if reason is not None and child.conversation.config_text != old_text:
            failures.append(f"worker {child.index} could not be put back: {reason}")

    async with trio.open_nursery() as nursery:
        for child in children:
            nursery.start_soon(give, child)
    return failures


async def reload(supervisor: "Supervisor") -> Outcome:
    """Puts the file's present content in force in all workers, or in none and says why."""
    if supervisor.busy or supervisor.draining.is_set():
        return Outcome(f"{supervisor.busy} is already under way" if supervisor.busy else "the node is draining")
    supervisor.busy = "a reload"
    supervisor.notifier.reloading("reloading the configuration")
    try:
        outcome = await _reload(supervisor)
    finally:
        supervisor.busy = ""
        supervisor.notifier.ready(supervisor.summary())
    supervisor.holdings.last_reload = (time.time(), outcome)
    supervisor.holdings.reloads["accepted" if outcome.accepted else "refused"] += 1
    if outcome.accepted:
        _log.info("configuration reloaded", workers=len(outcome.workers))
    else:
        _log.error("reload refused, the old configuration stays in force", reason=outcome.reason)
    return outcome


async def _reload(supervisor: "Supervisor") -> Outcome:
    try:
        config, text, warnings = await trio.to_thread.run_sync(
            supervisor.role.read_candidate, supervisor.config_path, supervisor.config
        )
    except ConfigError as error:
        return Outcome(str(error))
    for warning in warnings:
        _log.warning("configuration", warning=warning)
    outcome = await hand_out(
        [seat.child for seat in supervisor.seats if seat.child is not None and seat.state is State.READY],
        new_text=text,
        old_text=supervisor.config_text,
        timeout_seconds=RELOAD_SECONDS,
    )
    if outcome.accepted:
        supervisor.config, supervisor.config_text = config, text
        supervisor.certificates = certificate.expiries(config.certificate)
        log.configure(config.log.format, config.log.level)
        for seat in supervisor.seats:
            if seat.index not in outcome.workers and seat.state is State.READY and seat.child is not None:
                await catch_up(supervisor, seat.child)
    return outcome


async def catch_up(supervisor: "Supervisor", child: Child) -> None:
    """Brings a worker that was starting during a reload to the configuration of its siblings."""
    reason = await child.conversation.reload(supervisor.config_text, timeout_seconds=RELOAD_SECONDS)
    if reason is not None:
        _log.error("worker refused what its siblings accepted, replacing it", worker=child.index, reason=reason)
        child.kill("config", f"killed: it refused the configuration its siblings accepted: {reason}")

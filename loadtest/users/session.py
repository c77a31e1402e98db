"""A Locust User that is one session: for small tests, and to be subclassed with tasks of one's own."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from locust import User, task
from locust.env import Environment

from loadtest.harvest import MESSAGE
from loadtest.profiles import Profile
from loadtest.run import run_of
from loadtest.swarm import SwarmError
from loadtest.users.client import Client, ClientError

THINK_SECONDS = 5.0
COUNTERS = ("wanted", "open", "logins", "lost", "chat_sent", "chat_received", "chat_bounced")


@dataclass(slots=True)
class Outcome:
    """How something measured ended; `failure` is `where:what`, or empty."""

    failure: str = ""


class SessionUser(User):
    """Logs in, then says something to itself now and then and waits until it arrives; comes back when it is lost."""

    @classmethod
    def sessions(cls, profile: Profile) -> int:
        """How many sessions one of these is."""
        return 1

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._run = run_of(environment)
        self._counters = dict.fromkeys(COUNTERS, 0)
        self._number = (0, 1)
        self.client: Client | None = None

    def wait_time(self) -> float:
        """Seconds to think: `activity.chat_seconds` on average."""
        return random.expovariate(1 / (self._run.plan.profile.activity.chat_seconds or THINK_SECONDS))

    def on_start(self) -> None:
        """Log in."""
        self._number = self._run.next_flock()
        self._count(wanted=1)
        self._login()

    def on_stop(self) -> None:
        """Leave."""
        if self.client:
            self.client.close()
        self._run.census.end(self)

    @task
    def say(self) -> None:
        """Send a message to oneself and wait for it; its time is the response time."""
        if self.client is None:
            self._login()
            return
        if self._run.quiet:
            return
        self._count(chat_sent=1)
        with self.measured(*MESSAGE) as outcome:
            self.client.say(self.client.jid, "Hark, what light through yonder window breaks?")
        if not outcome.failure:
            self._count(chat_received=1)
        elif self.client:
            self._count(chat_bounced=1)

    @contextmanager
    def measured(self, kind: str, name: str) -> Iterator["Outcome"]:
        """Tell Locust how long what is inside took, or with which ClientError it failed: this goes no further.

        A session that is found lost (`session:…`) is given up, and the next `say` logs in again.
        """
        outcome, start = Outcome(), time.perf_counter()
        try:
            yield outcome
        except ClientError as error:
            outcome.failure = str(error)
        self.environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=(time.perf_counter() - start) * 1e3,
            response_length=0,
            exception=outcome.failure or None,
        )
        if outcome.failure.startswith("session:"):
            self._lose()

    def _login(self) -> None:
        plan = self._run.plan
        try:
            accounts = plan.accounts_of(*self._number)
        except SwarmError as error:
            self._run.census.problem(str(error))
            return
        made = (f"{accounts.prefix}{accounts.first}", accounts.password)
        name, password = accounts.listed[0] if accounts.listed else made
        client = Client(plan.target, timeout_seconds=plan.profile.sessions.login_timeout_seconds)
        with self.measured("LOGIN", f"{plan.mechanism} over {plan.target.security}") as outcome:
            client.login(plan.mechanism, name, password)
        if outcome.failure:
            client.close()
        else:
            self.client = client
            self._count(open=1, logins=1)

    def _lose(self) -> None:
        if self.client:
            self.client.close()
            self.client = None
            self._count(open=-1, lost=1)

    def _count(self, **more: int) -> None:
        for name, count in more.items():
            self._counters[name] += count
        self._run.census.count(self, dict(self._counters))

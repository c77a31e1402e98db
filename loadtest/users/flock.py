"""A Locust User that owns hundreds or thousands of sessions, kept in compiled swarms.

Its greenlet waits until a swarm's epoll descriptor is readable or the swarm's next timer is due, as it would wait for
one socket, and lets the swarm handle what there is. Once a second it brings what happened into Locust's statistics.
"""

import time

import gevent
from gevent.socket import wait_read
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from loadtest.harvest import Harvest
from loadtest.options import Plan
from loadtest.profiles import Profile
from loadtest.run import Run, run_of
from loadtest.swarm import Accounts, Behaviour, KeepAlive, Settings, Swarm, SwarmError

HARVEST_SECONDS = 1.0
CLOSE_SECONDS = 10.0
ODD_BACK_SECONDS = 5.0  # at most, until an odd client comes back
SLOW_PER_TALKER = 10


class Flock:
    """A swarm, its place in the statistics, and the greenlet's way to drive it; `odd` clients are counted apart."""

    def __init__(self, run: Run, swarm: Swarm, login: str, *, odd: bool) -> None:
        self.swarm = swarm
        self._run = run
        self._harvest = Harvest(swarm, login, odd=odd)
        self._odd = odd
        self.counters: dict[str, int] = {}

    def serve(self, seconds: float) -> None:
        """Drive the swarm for so long, then report."""
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0:
            pause = self.swarm.turn()
            if pause <= 0:
                gevent.sleep(0)
                continue
            try:
                wait_read(self.swarm.fileno(), timeout=min(pause, rest))
            except TimeoutError:
                continue
        self.report()

    def report(self) -> None:
        """Bring what is new into the statistics and the census."""
        environment = self._run.environment
        self.counters = self._harvest.bring(environment.stats)
        prefix = "odd_" if self._odd else ""
        self._run.census.count(self, {prefix + name: value for name, value in self.counters.items()})

    def end(self) -> None:
        """Let all sessions leave in order, for at most 10 seconds, and reset the rest."""
        self.swarm.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < deadline:
            self.serve(0.05)
            if not any(self.counters.get(name) for name in ("open", "closing", "connecting", "waiting")):
                break
        self._run.census.end(self)
        self.swarm.free()


class FlockUser(User):
    """Owns `sessions.per_user` sessions of the profile, and odd clients beside them if it has some."""

    @classmethod
    def sessions(cls, profile: Profile) -> int:
        """How many sessions one of these has."""
        return profile.sessions.per_user

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._run = run_of(environment)
        self._flocks: list[Flock] = []
        self._leaving = 0.0
        self._hushed = False

    def on_start(self) -> None:
        """Make the swarms and let their sessions log in."""
        try:
            self._make()
        except SwarmError as error:
            self._run.census.problem(str(error))
            self._end()

    @task
    def drive(self) -> None:
        """One second of all sessions."""
        if not self._flocks:
            raise StopUser
        odd = [gevent.spawn(flock.serve, HARVEST_SECONDS) for flock in self._flocks[1:]]
        try:
            self._flocks[0].serve(HARVEST_SECONDS)
            gevent.joinall(odd, raise_error=True)
        finally:
            gevent.killall(odd)
        self._hush() if self._run.quiet else self._come_and_go()

    def on_stop(self) -> None:
        """Let all sessions leave."""
        self._end()

    def _make(self) -> None:
        plan = self._run.plan
        sessions, number = plan.profile.sessions, self._run.next_flock()
        login = f"{plan.mechanism} over {plan.target.security}"
        accounts = plan.accounts_of(*number)
        self._run.reserve(sessions.per_user)
        swarm = Swarm(plan.target, accounts, settings_of(plan.profile), limit=2 * sessions.per_user + 64)
        self._flocks.append(Flock(self._run, swarm, login, odd=False))
        swarm.open(sessions.per_user, at_once=sessions.logins_at_once, per_second=sessions.logins_per_second)
        self._run.join(swarm)
        if occupants := plan.profile.activity.room_occupants:
            names = [f"load-{plan.run}-{number[0]}-{room}" for room in range(sessions.per_user // occupants)]
            swarm.enter([f"{name}@{plan.rooms_domain}" for name in names], occupants)
        odd = plan.profile.odd
        kinds: dict[Behaviour, float] = {
            "slow": odd.slow_percent,
            "half-open": odd.half_open_percent,
            "silent": odd.silent_percent,
            "hostile": odd.hostile_percent,
        }
        counts = {kind: round(sessions.per_user * percent / 100) for kind, percent in kinds.items()}
        if any(counts.values()):
            self._make_odd(plan, accounts, login, counts)

    def _make_odd(self, plan: Plan, accounts: Accounts, login: str, kinds: dict[Behaviour, int]) -> None:
        odd, slow = plan.profile.odd, kinds["slow"]
        settings = Settings(
            reconnect=True,
            reconnect_limit_seconds=ODD_BACK_SECONDS,
            slow_bytes_per_second=odd.slow_bytes_per_second,
            slow_messages_per_second=slow / odd.slow_message_seconds if odd.slow_message_seconds else 0.0,
            body_bytes=plan.profile.activity.body_bytes,
        )
        kinds["regular"] = -(-slow // SLOW_PER_TALKER)  # who talk to the slow ones
        self._run.reserve(sum(kinds.values()))
        swarm = Swarm(plan.target, accounts, settings, limit=sum(kinds.values()) + 64)
        self._flocks.append(Flock(self._run, swarm, login, odd=True))
        for kind, count in kinds.items():
            if count:
                swarm.open(count, behaviour=kind, per_second=plan.profile.sessions.logins_per_second)

    def _hush(self) -> None:
        if not self._hushed:
            self._flocks[0].swarm.change(chat_per_second=0.0, room_per_second=0.0)
            self._hushed = True

    def _come_and_go(self) -> None:
        plan = self._run.plan
        flock, life = self._flocks[0], plan.profile.sessions.life_seconds
        if life and flock.counters["open"] + self._leaving >= 1:
            self._leaving += flock.counters["open"] / life * HARVEST_SECONDS
            if count := int(self._leaving):
                self._leaving -= count
                flock.swarm.close(count)
                flock.swarm.open(count)

    def _end(self) -> None:
        flocks, self._flocks = self._flocks, []
        for flock in flocks:
            self._run.leave(flock.swarm)
        gevent.joinall([gevent.spawn(flock.end) for flock in flocks], raise_error=True)


def settings_of(profile: Profile) -> Settings:
    """What a User's regular sessions do: rates of all of them together."""
    sessions, activity = profile.sessions, profile.activity
    keep_alive: KeepAlive = "ping" if activity.ping_seconds else "space" if activity.space_seconds else "none"

    def rate(seconds: float) -> float:
        return sessions.per_user / seconds if seconds else 0.0

    return Settings(
        presence=activity.presence,
        keep_alive=keep_alive,
        keep_alive_seconds=activity.ping_seconds or activity.space_seconds or 60.0,
        ping_timeout_seconds=activity.ping_timeout_seconds,
        chat_per_second=rate(activity.chat_seconds),
        body_bytes=activity.body_bytes,
        room_per_second=rate(activity.room_seconds) if activity.room_occupants else 0.0,
        presence_per_second=rate(activity.show_seconds),
        reconnect=sessions.reconnect,
        reconnect_seconds=sessions.reconnect_seconds,
        login_timeout_seconds=sessions.login_timeout_seconds,
        close_timeout_seconds=CLOSE_SECONDS,
    )

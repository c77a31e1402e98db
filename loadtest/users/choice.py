"""Which classes of Users a test has: those named on the command line or picked on the page, else the profile's."""

from collections.abc import Mapping
from typing import Any

from locust import User
from locust.env import Environment

from loadtest.options import UsageError
from loadtest.profiles import Profile
from loadtest.users.flock import FlockUser
from loadtest.users.session import SessionUser


def choose(environment: Environment, profile: Profile, options: Mapping[str, Any]) -> None:
    """Let the next test have these classes; UsageError if there is no such one, or the total would not be known.

    Before the test starts, for a master hands Users out of the classes it has then.
    """
    users = _chosen(environment, profile, options)
    sessions_of(users, profile)
    environment.user_classes[:] = users


def _chosen(environment: Environment, profile: Profile, options: Mapping[str, Any]) -> list[type[User]]:
    known: Mapping[str, Any] = environment.available_user_classes or {}
    names = options["user_classes"] or [profile.user]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no class {unknown[0]} of Users: {', '.join(sorted(known))}")
    return [known[name] for name in names]


def sessions_of(users: list[type[User]], profile: Profile) -> int:
    """How many sessions each User has; UsageError if not all have the same number, for then nobody knows the total."""
    kinds = {each.sessions(profile) for each in users if issubclass(each, FlockUser | SessionUser)}
    if len(kinds) != 1:
        raise UsageError("name one class of Users, of those with flocks or those with one session")
    return kinds.pop()

"""The scenarios of the load test, a file of TOML each, and their reader."""

from loadtest.profiles.load import ProfileError, build, load, names, tables
from loadtest.profiles.schema import Activity, Criteria, Odd, Profile, Sessions, Timing

__all__ = [
    "Activity",
    "Criteria",
    "Odd",
    "Profile",
    "ProfileError",
    "Sessions",
    "Timing",
    "build",
    "load",
    "names",
    "tables",
]

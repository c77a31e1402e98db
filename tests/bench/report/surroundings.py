"""Where a benchmark was run: the machine, and the versions of everything that takes part."""

import platform
import ssl
import subprocess
from pathlib import Path
from typing import Any

from megaphone import __version__

DEBIAN = ("haproxy", "nginx", "ejabberd", "prosody")  # the peers, each a package
ROOT = Path(__file__).parents[3]


def first_line(*command: str) -> str:
    """What a command says first; "-" if it says nothing or cannot be asked."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        return (done.stdout or done.stderr).splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "-"


def load_average() -> list[float]:
    """Of the last minute, five, fifteen."""
    return [float(each) for each in Path("/proc/loadavg").read_text().split()[:3]]


def machine() -> dict[str, Any]:
    """What does not change while a benchmark runs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(cpu),
        "memory_gib": round(memory / 1024 / 1024, 1),
        "kernel": platform.release().partition("-")[0],
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
    }


def commit() -> str:
    """The commit, "-dirty" if something was changed since; not in the documents, where the figures themselves go."""
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
    return first_line("git", "rev-parse", "--short=10", "HEAD") + ("" if changed == "-" else "-dirty")


def versions() -> dict[str, str]:
    """Of Megaphone, of what it runs on, and of the peers that come from Debian."""
    return {
        "megaphone": f"{__version__}, commit {commit()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        **{name: first_line("dpkg-query", "-W", "-f", "${Version}", name) for name in DEBIAN},
    }

"""The machine and the versions of everything that took part in a run."""

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from loadtest.million.host import Host
from loadtest.million.size import Size


def facts(host: Host, size: Size) -> dict[str, Any]:
    """For the report."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "machine": {
            "processor": processors[0] if processors else platform.machine(),
            "cores": host.cores,
            "memory_gb": round(host.memory_bytes / 1e9, 1),
            "kernel": platform.release(),
            "descriptors_of_a_process": host.descriptors,
            "tracks_connections": host.tracks_connections,
        },
        "versions": {
            "megaphone": _version("megaphone"),
            "python": sys.version.split()[0],
            "uvloop": _version("uvloop"),
        },
        "size": {
            "sessions": size.sessions,
            "workers": size.workers,
            "load_processes": size.loaders,
            "source_addresses": size.loaders * size.addresses,
            "worker_sessions_at_most": size.worker_sessions,
        },
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"

"""The relays under test, each started from a generated configuration with one worker on its own core."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

from tests.servers.connections import listening
from tests.servers.megaphone import NO_LIMITS, toml
from tests.servers.process import LOOPBACK, Process, ServerError, free_port

DOMAIN = "bench.example"

# One client is two descriptors in a relay, and a process may have 20,000 here.
HAPROXY = Template("""
global
    nbthread 1
    maxconn 9500
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:$port backlog 4096 $tls
    server upstream 127.0.0.1:$upstream
""")

NGINX = Template("""
load_module $modules/ngx_stream_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid $directory/nginx.pid;
error_log stderr error;
events { worker_connections 19900; }
stream {
    server {
        listen 127.0.0.1:$port backlog=4096 $tls;
        proxy_pass 127.0.0.1:$upstream;
        proxy_timeout 1h;
        $certificate
    }
}
""")


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: chain, key, and both in one."""

    chain: Path
    key: Path
    combined: Path


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay; `process_id` is the root of its process tree."""

    name: str
    port: int
    process_id: int


def _haproxy(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
    tls = f"ssl crt {certificate.combined} alpn xmpp-client" if certificate else ""
    path = directory / "haproxy.cfg"
    path.write_text(HAPROXY.substitute(port=port, upstream=upstream, tls=tls))
    return [program("haproxy"), "-db", "-f", str(path)]


def _nginx(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
    files = f"ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};" if certificate else ""
    path = directory / "nginx.conf"
    path.write_text(
        NGINX.substitute(
            modules="/usr/lib/nginx/modules",
            directory=directory,
            port=port,
            upstream=upstream,
            tls="ssl" if certificate else "",
            certificate=f"{files} ssl_protocols TLSv1.2 TLSv1.3; ssl_alpn xmpp-client;" if certificate else "",
        )
    )
    return [program("nginx"), "-e", "stderr", "-c", str(path)]


def megaphone(
    directory: Path,
    port: int,
    upstream: int,
    certificate: Certificate | None,
    record_layer: str = "own",
    *,
    listen_keys: Mapping[str, object] | None = None,
    tables: Mapping[str, object] | None = None,
    **upstream_keys: object,
) -> list[str]:
    """Megaphone in direct mode; `tables` are more of its tables.

    `upstream_keys` are more lines of its [[upstream]], `listen_keys` of its [[listen]].
    """
    path = directory / "megaphone.toml"
    settings = {
        "node": {"workers": 1, "max_connections": 20_000},
        "listen": [
            {
                "address": f"{LOOPBACK}:{port}",
                "tls": "direct" if certificate else "none",
                **(listen_keys or {}),
            }
        ],
        "tls": {"record_layer": record_layer},
        "domain": [{"name": DOMAIN, "upstreams": ["echo"]}],
        # the peers send no PROXY header and write no log either
        "upstream": [
            {"name": "echo", "address": f"{LOOPBACK}:{upstream}", **(upstream_keys or {"proxy_protocol": False})}
        ],
        "log": {"connections": False, "level": "warning"},
        # raised, not switched off: one address carries the load of thousands
        "limits": dict(NO_LIMITS),
        "admin": {"address": f"{LOOPBACK}:{free_port()}", "socket": str(directory / "admin.sock")},
        **(tables or {}),
    }
    if certificate:
        settings["certificate"] = [{"chain": str(certificate.chain), "key": str(certificate.key)}]
    path.write_text(toml(settings))
    return [sys.executable, "-m", "megaphone", "serve", "--no-banner", "--config", str(path)]


# directory, own port, upstream's port, certificate -> command
Maker = Callable[[Path, int, int, Certificate | None], list[str]]

MAKERS: dict[str, Maker] = {"megaphone": megaphone, "haproxy": _haproxy, "nginx": _nginx}


def program(name: str) -> str:
    """Where an installed program is; ServerError if it is not."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        raise ServerError(f"{name} is not installed")
    return found


@contextmanager
def running(
    name: str, make: Maker, directory: Path, core: int, upstream: int, certificate: Certificate | None
) -> Iterator[Relay]:
    """The relay that `make` describes, on `core`, in front of port `upstream`; with TLS if there is a certificate."""
    directory = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = make(directory, port, upstream, certificate)
    with ExitStack() as stack:
        process = Process(
            [program("taskset"), "-c", str(core), *command],
            directory=Path.cwd(),
            log=directory / "output.log",
            environment=os.environ,
        )
        stack.callback(process.stop, 3.0)
        process.wait_until(lambda: listening(port), name)
        yield Relay(name, port, process.pid)

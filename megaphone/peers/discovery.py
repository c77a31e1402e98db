"""Peers find each other by DNS-SD over multicast DNS (RFC 6763, RFC 6762): we are announced, and others are heard of.

    <name> <8 digits>._megaphone._tcp.local   SRV  <port> megaphone-<16 digits>.local    TXT  v=1, node=<32 digits>

The digits are those of the key's fingerprint, so no two instances or hosts have the same name. Which rooms somebody is
in is not told. Nothing here is believed: who listens at an address is what it proves there.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import ifaddr
import zeroconf
from zeroconf import Error, IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.peers.connection import Address

SERVICE: Final = "_megaphone._tcp.local."
TXT_VERSION: Final = "1"
ASKING_LIMIT: Final = 64  # services whose address is being asked for; others are left until they are heard of again
ASK_MILLISECONDS: Final = 3_000
ADDRESSES_OF_A_SERVICE: Final = 8
LOOK_SECONDS: Final = 5.0  # how often the addresses of this machine are looked at
INSTANCE_LIMIT_BYTES: Final = 63  # a DNS label

_NODE_DIGITS: Final = 32
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class Advertised(NamedTuple):
    """Where a peer says it can be reached. `node` is its fingerprint, 32 hexadecimal digits."""

    node: str
    addresses: tuple[Address, ...]


class Discovery:
    """`heard` gets each peer that is heard of, not ourselves; `trouble` gets why none can be, "" when that is over."""

    def __init__(
        self,
        name: str,
        node: str,
        port: int,
        heard: Callable[[Advertised], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._name = name
        self._node = node
        self._port = port
        self._heard = heard
        self._trouble = trouble
        self._in_trouble = ""
        self._asking: set[asyncio.Task[None]] = set()
        self._responder: AsyncZeroconf | None = None

    async def run(self) -> None:
        """Announce and listen until cancelled; begins anew whenever this machine's addresses change."""
        while True:
            addresses = own_addresses()
            try:
                await self._run(addresses)
            except (OSError, Error, RuntimeError) as error:  # RuntimeError: no interface to listen on
                self._tell(str(error) or type(error).__name__)
                await asyncio.sleep(LOOK_SECONDS)

    def _tell(self, trouble: str) -> None:
        if trouble != self._in_trouble:
            self._in_trouble = trouble
            self._trouble(trouble)

    async def _run(self, addresses: frozenset[str]) -> None:
        responder = self._responder = AsyncZeroconf(ip_version=_versions(addresses))
        browser: AsyncServiceBrowser | None = None
        try:
            browser = AsyncServiceBrowser(responder.zeroconf, SERVICE, handlers=[self._changed])
            # Our name holds our fingerprint: there is no other owner to look for first.
            await responder.async_register_service(self._ourselves(addresses), cooperating_responders=True)
            self._tell("")
            while own_addresses() == addresses:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            self._responder = None
            for task in self._asking:
                task.cancel()
            if browser is not None:
                await browser.async_cancel()
            with contextlib.suppress(OSError, Error):
                await responder.async_close()

    async def resolve(self, host: str) -> list[str]:
        """Ask for the addresses of a host "NAME.local", IPv4 first; none if nobody answers in three seconds."""
        if self._responder is None:
            return []
        # Documented, but not in the package's __all__.
        found = zeroconf.AddressResolver(f"{host.rstrip('.')}.")  # type: ignore[attr-defined]
        with contextlib.suppress(OSError, Error):
            await found.async_request(self._responder.zeroconf, ASK_MILLISECONDS)
        addresses: list[str] = found.parsed_scoped_addresses(IPVersion.All)
        return addresses[:ADDRESSES_OF_A_SERVICE]

    def _ourselves(self, addresses: Iterable[str]) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE,
            f"{instance_name(self._name, self._node)}.{SERVICE}",
            port=self._port,
            properties={"v": TXT_VERSION, "node": self._node},
            server=f"megaphone-{self._node[:16]}.local.",
            parsed_addresses=sorted(addresses),
        )

    def _changed(self, *, zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed or len(self._asking) >= ASKING_LIMIT:
            return
        task = asyncio.create_task(self._ask(zeroconf, service_type, name))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Any, service_type: str, name: str) -> None:
        with contextlib.suppress(OSError, Error):
            info = AsyncServiceInfo(service_type, name)
            if not await info.async_request(zeroconf, ASK_MILLISECONDS):
                return
            found = advertised(info.decoded_properties, info.parsed_scoped_addresses(IPVersion.All), info.port)
            if found is not None and found.node != self._node:
                self._heard(found)


def advertised(properties: dict[str, Any], hosts: Iterable[str], port: int | None) -> Advertised | None:
    """Return what a service says of itself, if it is one of ours and can be reached; IPv4 first."""
    node = properties.get("node")
    if not isinstance(node, str) or len(node) != _NODE_DIGITS or not _HEXADECIMAL.issuperset(node) or not port:
        return None
    usable = [each for each in map(_address, hosts) if each is not None]
    usable.sort(key=lambda address: address.version)
    addresses = tuple((str(address), port) for address in usable[:ADDRESSES_OF_A_SERVICE])
    return Advertised(node, addresses) if addresses else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.is_multicast or address.is_unspecified:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.is_link_local and not address.scope_id:
        return None  # on which interface?
    return address


def instance_name(name: str, node: str) -> str:
    """Return the name of our service: ours for people, cut to a DNS label, and the start of the fingerprint."""
    # A dot would part labels.
    readable = "".join(each if each.isprintable() and each != "." else "-" for each in name)
    suffix = f" {node[:8]}"
    kept = readable.encode()[: INSTANCE_LIMIT_BYTES - len(suffix)].decode(errors="ignore")
    return kept + suffix


def own_addresses() -> frozenset[str]:
    """Return the addresses of this machine that others may reach; link-local or loopback ones if it has no better."""
    found = set()
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            found.add(ipaddress.ip_address(each.ip if isinstance(each.ip, str) else each.ip[0]))
    outside = {address for address in found if not address.is_loopback}
    routed = {address for address in outside if not address.is_link_local}
    return frozenset(str(address) for address in routed or outside or found)


def _versions(addresses: Iterable[str]) -> IPVersion:
    """Return what to speak: IPv6 as well where there is any."""
    return IPVersion.All if any(":" in address for address in addresses) else IPVersion.V4Only

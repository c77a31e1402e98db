"""Keys with values in the engine's store (NATS JetStream key-value): the little of it that a cluster needs.

Revisions make compare-and-set; a lease makes a key that goes by itself (the message's TTL, NATS 2.11); a watch says all
keys, then every change. The store is never the truth about anything that cannot be said again.

Source: NATS ADR-8 (key-value), ADR-43 (TTL of a message), ADR-48 (TTL of a key), and the JetStream API's subjects.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from megaphone.bus.nats_wire import encode_headers
from megaphone.errors import BucketMissingError, BusError, BusUnreachableError, KeysError, WrongRevisionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from megaphone.bus.nats_connection import Connection
    from megaphone.bus.nats_wire import Delivery

REQUESTS_LIMIT = 1024
LIST_LIMIT = 1024
VALUE_LIMIT_BYTES = 65_536
BUCKET_LIMIT_BYTES = 16_777_216  # which the store sets aside for it
MARKER_SECONDS = 60  # for how long the store remembers that a key has gone

_KEY = re.compile(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*")
_BUCKET = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# err_code of the API's errors
_WRONG_REVISION = (10071, 10164)
_NO_KEY = 10037
_NO_BUCKET = 10059
_NO_STORE = (10039, 10076)  # JetStream is not enabled (for us)
_NOBODY = 503
_NANOSECONDS = 1_000_000_000


class Change(NamedTuple):
    """A key as it is since `revision`; `value` None: it has been deleted, or its lease has run out.

    `note` is what was said when it was deleted, if anything was.
    """

    key: str
    value: bytes | None
    revision: int
    note: bytes = b""


class Keys:
    """One bucket. Everything that waits ends within `timeout_seconds`, with BusUnreachableError if there is no answer.

    KeysError if the store refuses: BucketMissingError, WrongRevisionError. Then nothing has been done; after
    BusUnreachableError it may have been. `prefix` is that of the cluster's subjects (NATSBus.prefix).
    `bucket_limit_bytes`: what the store sets aside for it; -1: as much as there is.
    """

    def __init__(
        self,
        connection: Connection,
        prefix: bytes,
        bucket: str,
        *,
        timeout_seconds: float = 5.0,
        value_limit_bytes: int = VALUE_LIMIT_BYTES,
        bucket_limit_bytes: int = BUCKET_LIMIT_BYTES,
    ) -> None:
        if _BUCKET.fullmatch(bucket) is None:
            raise KeysError(f"no name of a bucket: {bucket[:80]!r}")
        self.connection = connection
        self.bucket = bucket
        self.stream = f"KV_{bucket}"
        self.prefix = f"$KV.{bucket}."
        self.timeout_seconds = timeout_seconds
        self.value_limit_bytes = value_limit_bytes
        self._bucket_limit_bytes = bucket_limit_bytes
        self._waiting: dict[bytes, asyncio.Future[Delivery]] = {}
        self._last_request = 0
        self._inbox = b"%bk.%b." % (prefix, os.urandom(8).hex().encode())
        self.delivery_prefix = b"%bw.%b." % (prefix, os.urandom(8).hex().encode())
        self._sid = connection.subscribe(self._inbox + b"*", self._take)
        connection.listeners.append(self._changed)

    def close(self) -> None:
        """Ask nothing any more."""
        self.connection.unsubscribe(self._sid)
        if self._changed in self.connection.listeners:
            self.connection.listeners.remove(self._changed)
        self._changed(False, "closed")

    # --- the bucket ------------------------------------------------------------

    async def create_bucket(self, *, replicas: int = 1, memory: bool = False) -> None:
        """Make the bucket unless it is there; on `replicas` (1, 3, 5) servers of NATS's own cluster."""
        await self.api(
            f"STREAM.CREATE.{self.stream}",
            {
                "name": self.stream,
                "subjects": [f"{self.prefix}>"],
                "retention": "limits",
                "storage": "memory" if memory else "file",
                "num_replicas": replicas,
                "max_msgs_per_subject": 1,
                "max_bytes": self._bucket_limit_bytes,
                "max_msg_size": self.value_limit_bytes + 1024,
                "max_consumers": -1,
                "max_msgs": -1,
                "max_age": 0,
                "discard": "new",
                "duplicate_window": 2 * _NANOSECONDS,
                "allow_rollup_hdrs": True,
                "deny_delete": True,
                "allow_direct": True,
                "allow_msg_ttl": True,
                "subject_delete_marker_ttl": MARKER_SECONDS * _NANOSECONDS,
            },
        )

    async def check_store(self) -> None:
        """KeysError unless there is a store that we may use."""
        try:
            await self.api("INFO", None)
        except BucketMissingError:
            raise KeysError("this NATS has no store: JetStream must be enabled") from None

    async def delete_bucket(self) -> None:
        """Delete the bucket and all of its keys."""
        await self.api(f"STREAM.DELETE.{self.stream}", None)

    # --- keys ------------------------------------------------------------

    async def get(self, key: str) -> Change | None:
        """Return a key as it is now, gone ones too as long as the store remembers them; None if it knows none."""
        try:
            answer = await self.api(f"STREAM.MSG.GET.{self.stream}", {"last_by_subj": self._subject(key)})
        except KeysError as error:
            if error.code == _NO_KEY:
                return None
            raise
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs", "")).decode("utf-8", "replace")
        value = None if _is_marker(headers) else base64.b64decode(message.get("data", ""))
        return Change(key, value, message["seq"])

    async def entries(self) -> list[Change]:
        """Return all keys as they are now, in the order of their names, at most 1,024."""
        found = await self.api(f"STREAM.INFO.{self.stream}", {"subjects_filter": f"{self.prefix}>"})
        subjects = sorted(found["state"].get("subjects") or ())[:LIST_LIMIT]
        changes = [await self.get(subject.removeprefix(self.prefix)) for subject in subjects]
        return [change for change in changes if change is not None]

    async def count(self, *, besides: str) -> int:
        """Return how many keys there are, those too that have gone and are remembered.

        Keys that match `besides`, with NATS's wildcards, do not count; they are few.
        """
        found = await self.api(f"STREAM.INFO.{self.stream}", {"subjects_filter": self.prefix + besides})
        return int(found["state"]["messages"]) - len(found["state"].get("subjects") or ())

    async def put(self, key: str, value: bytes, *, revision: int | None = None, lease_seconds: int = 0) -> int:
        """Write a key and return its revision. WrongRevisionError unless it is at `revision` (0: never written).

        With `lease_seconds` it goes at that time unless it is written again.
        """
        if len(value) > self.value_limit_bytes:
            raise KeysError(f"a value of {len(value)} bytes, more than {self.value_limit_bytes}")
        fields = {}
        if lease_seconds:
            fields["Nats-TTL"] = f"{lease_seconds}s"
        return await self._write(key, value, fields, revision)

    async def create(self, key: str, value: bytes, *, lease_seconds: int = 0) -> int:
        """Write a key that is not there, or no longer, and return its revision. WrongRevisionError if it is."""
        known = await self.get(key)
        if known is not None and known.value is not None:
            raise WrongRevisionError(f"{key} is there, at revision {known.revision}")
        return await self.put(key, value, revision=known.revision if known else 0, lease_seconds=lease_seconds)

    async def delete(self, key: str, *, revision: int | None = None, note: bytes = b"") -> None:
        """Delete a key; who watches hears it, with `note`. WrongRevisionError unless it is at `revision`."""
        fields = {"KV-Operation": "PURGE", "Nats-Rollup": "sub", "Nats-TTL": f"{MARKER_SECONDS}s"}
        await self._write(key, note, fields, revision)

    async def _write(self, key: str, value: bytes, fields: dict[str, str], revision: int | None) -> int:
        if revision is not None:
            fields["Nats-Expected-Last-Subject-Sequence"] = str(revision)
        headers = encode_headers(fields) if fields else b""
        answer = await self.ask(self._subject(key), value, headers)
        return int(self._read(answer)["seq"])

    def _subject(self, key: str) -> str:
        if len(key) > 200 or _KEY.fullmatch(key) is None:
            raise KeysError(f"no key: {key[:200]!r}")
        return self.prefix + key

    # --- requests ------------------------------------------------------------

    async def create_consumer(self, name: str, config: Mapping[str, Any]) -> int:
        """Make an ephemeral consumer of all keys; return how many messages it has to give. `config` is what is its own.

        BusError if that cannot be, BucketMissingError if there is no bucket.
        """
        answer = await self.api(
            f"CONSUMER.CREATE.{self.stream}.{name}",
            {
                "stream_name": self.stream,
                "config": {
                    "name": name,
                    "filter_subject": f"{self.prefix}>",
                    "ack_policy": "none",
                    "replay_policy": "instant",
                    "max_deliver": 1,
                    "mem_storage": True,
                    "num_replicas": 1,
                    **config,
                },
            },
        )
        return int(answer.get("num_pending") or 0)

    async def delete_consumer(self, name: str) -> None:
        """End a consumer, if the store can be told: it would go by itself too."""
        with contextlib.suppress(BusError):
            await self.api(f"CONSUMER.DELETE.{self.stream}.{name}", None)

    async def api(self, subject: str, question: Mapping[str, Any] | None) -> dict[str, Any]:
        """Ask JetStream's API."""
        payload = b"" if question is None else msgspec.json.encode(question)
        return self._read(await self.ask(f"$JS.API.{subject}", payload))

    async def ask(self, subject: str, payload: bytes, headers: bytes = b"") -> Delivery:
        """Ask the engine; its answer, whatever it says."""
        if len(self._waiting) >= REQUESTS_LIMIT:
            raise KeysError(f"more than {REQUESTS_LIMIT} requests to the store at once")
        self._last_request += 1
        inbox = b"%b%d" % (self._inbox, self._last_request)
        future: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self._waiting[inbox] = future
        try:
            if not self.connection.publish(subject.encode(), payload, inbox, headers):
                raise BusUnreachableError(self.connection.trouble or "too much waits for NATS already")
            async with asyncio.timeout(self.timeout_seconds):
                return await future
        except TimeoutError:
            raise BusUnreachableError(f"no answer of the store within {self.timeout_seconds:g} s") from None
        finally:
            del self._waiting[inbox]

    def _take(self, delivery: Delivery) -> None:
        future = self._waiting.get(delivery.subject)
        if future is not None and not future.done():
            future.set_result(delivery)

    def _changed(self, up: bool, text: str) -> None:
        if not up:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(BusUnreachableError(text))

    def _read(self, delivery: Delivery) -> dict[str, Any]:
        if delivery.status == _NOBODY:
            # for a key: no stream takes its subject. For the API: JetStream is not enabled, or has no leader yet
            raise BucketMissingError(f"the store has no bucket {self.bucket}, or there is no store (JetStream)")
        try:
            answer = msgspec.json.decode(delivery.payload, type=dict[str, Any])
            error = answer.get("error")
        except msgspec.DecodeError:
            raise KeysError(f"the store's answer cannot be read: {delivery.payload[:80]!r}") from None
        if error is None:
            return answer
        code, text = error.get("err_code", 0), str(error.get("description", error))
        if code in _WRONG_REVISION:
            raise WrongRevisionError(text)
        if code == _NO_BUCKET:
            raise BucketMissingError(f"the store has no bucket {self.bucket}")
        if code in _NO_STORE:
            text = f"this NATS has no store for us ({text}): JetStream must be enabled"
        raise KeysError(text, code)


def is_deleted(delivery: Delivery) -> bool:
    """Whether a message of the bucket says that its key has gone."""
    return bool(delivery.headers) and _is_marker(delivery.headers.decode("utf-8", "replace"))


def _is_marker(headers: str) -> bool:
    return "KV-Operation:" in headers or "Nats-Marker-Reason:" in headers


def new_name() -> str:
    """Return a name for what lives as long as one watch."""
    return binascii.hexlify(os.urandom(8)).decode()

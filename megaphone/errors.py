"""Every exception of Megaphone on one screen."""


class MegaphoneError(Exception):
    """The root of all errors that Megaphone raises on purpose."""


class ConfigError(MegaphoneError):
    """A configuration that cannot be used: names file, key and reason (exit code 2)."""

    def __init__(self, file: str, key: str, reason: str) -> None:
        super().__init__(f"{file}: {key}: {reason}" if key else f"{file}: {reason}")
        self.file = file
        self.key = key
        self.reason = reason


class ProxyHeaderError(MegaphoneError):
    """A connection from a trusted proxy that does not begin with a valid PROXY header."""


class LinkError(MegaphoneError):
    """What a peer on a link said and may not say: `reason` is a LinkReason, the text is for the peer's log too."""

    def __init__(self, reason: int, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.frames: tuple[object, ...] = ()


class SubjectError(MegaphoneError):
    """What the bus between workers does not take: a subject that is none, a subscription too many, half a frame."""


class BusError(MegaphoneError):
    """The engine between nodes (NATS) says what it may not say, or does not do what it must: the text says what."""


class BusUnreachableError(BusError):
    """No server of the engine is there, or it went while something was under way, which may be done or not."""


class BusRefusedError(BusError):
    """The engine does not let us in, or is not one that we can use (version, limits): trying again changes nothing."""


class KeysError(BusError):
    """The engine's store of keys refuses: the text says what; `code` is the engine's number for it, or 0."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class BucketMissingError(KeysError):
    """There is no such bucket (any more): whoever needs it makes it, and says what is its own again."""


class WrongRevisionError(KeysError):
    """Compare-and-set: somebody else has written this key since."""


class MoveError(MegaphoneError):
    """What a predecessor hands over and this process cannot use: that thing stays where it is, or all of it does."""


class TLSError(MegaphoneError):
    """A certificate, key or TLS setting that OpenSSL does not accept."""


class RestartLimitError(MegaphoneError):
    """Workers crashed more often than the restart intensity allows."""


class AdminError(MegaphoneError):
    """The running Megaphone could not be asked, or refused the request."""


class UpgradeError(MegaphoneError):
    """An upgrade cannot be, or cannot go on; nothing was lost."""


class StorageError(MegaphoneError):
    """The database could not be opened, read or written: names the file and the reason in words."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file
        self.reason = reason


class StorageFullError(StorageError):
    """A write that was not taken: too many are queued, or the disk takes none (answer: resource-constraint)."""


class RowError(MegaphoneError):
    """A row of another node that is none, or that no table of ours takes."""


class HistoryError(MegaphoneError):
    """Bytes of a history that are not what they should be. `reason` is the word for it (docs/reference/history.md)."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class PeerError(MegaphoneError):
    """A peer on the LAN that cannot be talked to: the text goes on from its name.

    `reason` is a word for it, if there is one: to be told to the peer, or (`told`) told by it.
    """

    def __init__(self, text: str, reason: str = "", *, told: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.told = told


class ArchiveError(MegaphoneError):
    """A query of an archive that is refused: `condition` is RFC 6120 section 8.3.3's, `text` is for people."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text


class SASLError(MegaphoneError):
    """A login that is refused: `condition` is one of RFC 6120 section 6.5, `text` is for the client's user."""

    def __init__(self, condition: str, text: str = "") -> None:
        super().__init__(f"{condition}: {text}" if text else condition)
        self.condition = condition
        self.text = text


class BindError(MegaphoneError):
    """A resource that cannot be bound: `condition` is the stanza error that says so (RFC 6120 section 7)."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(f"{condition}: {text}")
        self.condition = condition
        self.text = text


class RoomError(MegaphoneError):
    """What a room refuses: `condition` and `type` are RFC 6120 section 8.3.3's, the text is for people."""

    def __init__(self, condition: str, text: str = "", *, type_: str | None = None) -> None:
        super().__init__(text or condition)
        self.condition = condition
        self.type = type_
        self.text = text

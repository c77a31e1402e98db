"""How a stream is opened (RFC 6120 section 4.2): the domain of a header, what is wrong with it, our own in answer."""

from collections.abc import Callable
from contextlib import suppress

from megaphone.stream.domain import normalise_domain
from megaphone.wire.header import StreamHeader
from megaphone.wire.writer import stream_header

FROM_LIMIT_CHARACTERS = 3071  # the longest JID there is (RFC 7622 section 3.1); a longer one is not given back


def read_opening(header: StreamHeader, is_known_domain: Callable[[str], bool]) -> tuple[str | None, str, str]:
    """Return the domain that `header` names, if it is a known one, and the stream error that answers it, or "", "".

    `is_known_domain` knows them by their normalised names. The error is a condition and a text: invalid-namespace,
    bad-format, unsupported-version (`StreamHeader.check`), host-unknown (section 4.9.3.6).
    """
    domain = None
    if header.to is not None:
        with suppress(ValueError):  # what is no domain is none of ours
            named = header.to if is_known_domain(header.to) else normalise_domain(header.to)
            domain = named if is_known_domain(named) else None
    try:
        header.check()
    except ValueError as error:
        condition, text = error.args
        return domain, condition, text
    if domain is None:
        return None, "host-unknown", "The stream is to no domain that is served here"
    return domain, "", ""


def own_header(header: StreamHeader, domain: str, stream_id: str, client: str | None = None) -> bytes:
    """Return the header that answers `header`; `stream_id` must be unpredictable (section 4.7.3).

    `domain` is ours, or "" if the client named none of ours (section 4.9.1.2). `client` is who it is known to be; else
    it gets back what it called itself (section 4.7.2).
    """
    if client is None and header.from_ and len(header.from_) <= FROM_LIMIT_CHARACTERS:
        client = header.from_
    return stream_header(from_domain=domain, to=client, stream_id=stream_id)

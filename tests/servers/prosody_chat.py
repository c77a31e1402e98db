"""A throw-away Prosody for chats: beside its accounts a host that lets in everybody, each with a service of rooms."""

from pathlib import Path

from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, ROOMS
from tests.servers.prosody import Prosody

GUESTS = "guests.test"
GUEST_ROOMS = f"conference.{GUESTS}"

# Its rooms give no stanza-id, those of the accounts' host do (muc_mam).
_HOSTS = f"""
VirtualHost "{GUESTS}"
	authentication = "anonymous"

Component "{GUEST_ROOMS}" "muc"
	restrict_room_creation = false
"""


class ProsodyChat(Prosody):
    """`starttls` and `direct` are its listeners."""

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        certificate = authority.issue(GUESTS, GUEST_ROOMS, DOMAIN, ROOMS)
        super().__init__(directory, authority, "public", certificate=certificate)
        self._config.write_text(self._config.read_text() + _HOSTS)

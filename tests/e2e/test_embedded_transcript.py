"""x."""
from tests.scenarios.session import run_session
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.prosody import Prosody
from tests.scenarios.transcript import differences


def test_x(embedded: Embedded, authority: CertificateAuthority, prosody:Prosody) -> None:
    a=run_session(embedded.starttls, authority.certificate, archive=False)
    b=run_session(prosody.starttls, authority.certificate, archive=False)
    open("/tmp/clients_a.txt","w").write("\n".join(a.lines()))
    open("/tmp/clients_b.txt","w").write("\n".join(b.lines()))
    open("/tmp/clients_d.txt","w").write(differences(b,a,("prosody","megaphone")))

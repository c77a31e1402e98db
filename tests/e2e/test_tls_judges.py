"""What sslscan and testssl.sh find at the direct TLS port: TLS 1.2 and 1.3, forward secrecy and AEAD only, no weakness."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.servers.embedded import Embedded

SECONDS = 120.0
FINE = {"OK", "INFO", "LOW"}
# What the test's own authority and its short-lived certificate are blamed for is not looked at: only these sections.
PROTOCOLS = ("--protocols", "--fs")
VULNERABILITIES = (
    "--heartbleed",
    "--ccs-injection",
    "--ticketbleed",
    "--renegotiation",
    "--compression",
    "--poodle",
    "--sweet32",
    "--freak",
    "--drown",
    "--logjam",
    "--beast",
    "--lucky13",
    "--rc4",
)


@pytest.fixture(scope="module")
def scanned(embedded: Embedded, tmp_path_factory: pytest.TempPathFactory) -> ET.Element:
    report = tmp_path_factory.mktemp("sslscan") / "report.xml"
    address = f"{embedded.direct.host}:{embedded.direct.port}"
    command = ["sslscan", "--no-colour", "--show-times", f"--xml={report}", address]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    found = ET.parse(report).getroot().find("ssltest")
    assert found is not None
    return found


def test_sslscan_sees_two_versions(scanned: ET.Element) -> None:
    enabled = {
        (each.get("type"), each.get("version")): each.get("enabled") == "1" for each in scanned.findall("protocol")
    }
    assert enabled == {
        ("ssl", "2"): False,
        ("ssl", "3"): False,
        ("tls", "1.0"): False,
        ("tls", "1.1"): False,
        ("tls", "1.2"): True,
        ("tls", "1.3"): True,
    }


def test_sslscan_sees_strong_ciphers_alone(scanned: ET.Element) -> None:
    ciphers = [(each.get("sslversion"), str(each.get("cipher"))) for each in scanned.findall("cipher")]
    assert {version for version, _ in ciphers} == {"TLSv1.2", "TLSv1.3"}
    assert {name for version, name in ciphers if version == "TLSv1.3"} == {
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
    }
    for version, name in ciphers:
        assert "GCM" in name or "POLY1305" in name, name
        assert version == "TLSv1.3" or name.startswith("ECDHE-"), name
    assert {each.get("strength") for each in scanned.findall("cipher")} <= {"acceptable", "strong"}


def test_sslscan_finds_no_weakness(scanned: ET.Element) -> None:
    assert [each.get("vulnerable") for each in scanned.findall("heartbleed")] == ["0", "0"]
    compression, renegotiation, fallback = (
        scanned.find(each) for each in ("compression", "renegotiation", "fallback")
    )
    assert compression is not None
    assert compression.get("supported") == "0"
    assert renegotiation is not None
    assert (renegotiation.get("supported"), renegotiation.get("secure")) == ("0", "0")
    assert fallback is not None
    assert fallback.get("supported") == "1"


def findings(embedded: Embedded, directory: Path, sections: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Severity and words of each finding of testssl.sh."""
    report = directory / "report.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--nodns", "none"]
    output = ["--jsonfile", str(report), f"{embedded.direct.host}:{embedded.direct.port}"]
    subprocess.run([*command, *sections, *output], check=False, capture_output=True, timeout=SECONDS)
    return {each["id"]: (each["severity"], each["finding"]) for each in json.loads(report.read_text())}


def test_testssl_sees_two_versions_with_forward_secrecy(embedded: Embedded, tmp_path: Path) -> None:
    found = findings(embedded, tmp_path, PROTOCOLS)
    words = {name: found[name][1] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
    assert {name for name, text in words.items() if text.startswith("not offered")} == {
        "SSLv2",
        "SSLv3",
        "TLS1",
        "TLS1_1",
    }
    assert words["TLS1_2"] == "offered"
    assert words["TLS1_3"].startswith("offered")
    assert found["FS"] == ("OK", "offered")
    assert {name: each for name, each in found.items() if each[0] not in FINE} == {}


def test_testssl_finds_no_weakness(embedded: Embedded, tmp_path: Path) -> None:
    found = findings(embedded, tmp_path, VULNERABILITIES)
    assert len(found) > len(VULNERABILITIES)
    assert {name: each for name, each in found.items() if each[0] not in FINE} == {}

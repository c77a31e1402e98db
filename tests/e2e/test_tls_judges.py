"""What sslscan finds at the direct TLS port, and testssl.sh behind STARTTLS: TLS 1.2 and 1.3, AEAD, no weakness."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.servers.embedded import Embedded
from tests.servers.model import DOMAIN

SECONDS = 240.0  # on a busy machine
FINE = {"OK", "INFO"}
# Blamed by testssl.sh, but not on us: what its own OpenSSL lacks, and that it found no web server.
ITS_OWN = {"engine_problem", "service"}
# What the test's own authority and its short-lived certificate are blamed for is not asked.
SECTIONS = (
    "--protocols",
    "--heartbleed",
    "--ccs-injection",
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
    renegotiation = scanned.find("renegotiation")
    assert renegotiation is not None
    assert (renegotiation.get("supported"), renegotiation.get("secure")) == ("0", "0")


def test_testssl_finds_no_weakness(embedded: Embedded, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    endpoint = embedded.starttls
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", *SECTIONS]
    starttls = ["--starttls", "xmpp", "--xmpphost", DOMAIN, "--jsonfile", str(report)]
    address = f"{endpoint.host}:{endpoint.port}"
    said = subprocess.run([*command, *starttls, address], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert report.exists(), said.stdout
    found = {each["id"]: (each["severity"], each["finding"]) for each in json.loads(report.read_text())}
    versions = {name: found[name][1] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
    assert versions == {
        **dict.fromkeys(("SSLv2", "SSLv3", "TLS1", "TLS1_1"), "not offered"),
        "TLS1_2": "offered",
        "TLS1_3": "offered with final",
    }
    judged = {"heartbleed", "CCS", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32", "FREAK", "DROWN"}
    assert judged | {"LOGJAM", "BEAST", "LUCKY13", "RC4"} <= {name for name, each in found.items() if each[0] == "OK"}
    assert {name: each for name, each in found.items() if each[0] not in FINE and name not in ITS_OWN} == {}

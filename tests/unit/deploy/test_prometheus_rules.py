"""The rules for Prometheus, by Debian's promtool: each alert fires when it should, and is silent when it should be."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.expressions import DEPLOY, RULES, of_rules

PROMETHEUS = DEPLOY / "prometheus"
FILES = sorted(path.name for path in RULES.glob("*.yml"))
ALERTS = [rule.place for rule in of_rules("alert")]


def promtool(*words: str, directory: Path = PROMETHEUS) -> str:
    done = subprocess.run(["promtool", *words], cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_can_be_used(tmp_path: Path) -> None:
    """Put where its first lines say."""
    shutil.copy(PROMETHEUS / "prometheus.yml", tmp_path)
    shutil.copytree(RULES, tmp_path / "megaphone")
    said = promtool("check", "config", "prometheus.yml", directory=tmp_path)
    assert "prometheus.yml is valid" in said
    assert f"{len(FILES)} rule files found" in said
    assert "FAILED" not in said


@pytest.mark.parametrize("file", FILES)
def test_rules(file: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", f"tests/{file}")


def test_there_are_rules_and_they_have_been_found() -> None:
    text = "".join((RULES / file).read_text() for file in FILES)
    assert len(ALERTS) == len(set(ALERTS)) == text.count("- alert: ") > 30
    assert len(list(of_rules("record"))) == text.count("- record: ")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_tested_both_ways_and_explained(alert: str) -> None:
    tests = "".join((PROMETHEUS / "tests" / file).read_text() for file in FILES)
    (case,) = re.findall(rf"  - name: {alert}\n.*?(?=\n  - name|\Z)", tests, re.DOTALL)
    assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", case)  # not yet
    assert re.search(r"- exp_labels: .*instance: \"bad\"", case)  # then
    assert 'instance="good"' in case  # never
    rules = "".join((RULES / file).read_text() for file in FILES)
    (rule,) = re.findall(rf"- alert: {alert}\n(.*?)(?=\n\n|\Z)", rules, re.DOTALL)
    assert re.search(r"severity: (critical|warning)", rule)
    assert re.search(r'summary: ".*\{\{ \$labels.instance \}\}', rule)
    assert re.search(r'description: ".+\."', rule)


@pytest.mark.parametrize("rule", [rule.place for rule in of_rules("record")])
def test_a_recording_is_tested(rule: str) -> None:
    assert f"expr: {rule}\n" in (PROMETHEUS / "tests" / "recording.yml").read_text()


def test_a_rule_that_is_broken_is_found(tmp_path: Path) -> None:
    """The test files do test: with the alert's comparison turned round they fail."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "node.yml"
    rules.write_text(rules.read_text().replace("fds:ratio > 0.85", "fds:ratio < 0.85"))
    with pytest.raises(AssertionError, match="MegaphoneDescriptorsRunOut"):
        promtool("test", "rules", "tests/node.yml", directory=tmp_path / "prometheus")

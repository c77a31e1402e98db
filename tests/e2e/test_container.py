"""The container's recipe: what it copies is there and enough, and what it installs runs from a fresh environment.

No image is built here, and nothing is compiled: the modules that `make` has made go into the wheel.
"""

import configparser
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone import __version__
from megaphone.config.schema import Config
from tests.servers.process import LOOPBACK, Process, free_port

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "deploy" / "containers"
RECIPE = CONTAINERS / "Containerfile"
IGNORED = CONTAINERS / "Containerfile.dockerignore"
COMMAND = ["megaphone", "serve", "-c", "/etc/megaphone/megaphone.toml"]
START_SECONDS = 60.0


def instructions() -> Iterator[tuple[str, str]]:
    """Name and text of each, continued lines joined, comments left out."""
    lines = [line for line in RECIPE.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, text = line.partition(" ")
        if name:
            yield name, " ".join(text.split())


def texts(name: str) -> list[str]:
    return [text for found, text in instructions() if found == name]


def sources() -> list[str]:
    """What is copied from the project."""
    copied = [text.split() for text in texts("COPY") if not text.startswith("--from")]
    return [source for words in copied for source in words[:-1]]


def packages(file: str) -> set[str]:
    return set(re.sub(r"#.*", "", (ROOT / "deploy" / "debian" / file).read_text()).split())


def test_it_is_made_of_instructions_that_there_are() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known
    for script in texts("RUN"):
        assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0
    build, last = texts("FROM")
    assert build == f"{last} AS build"  # the virtual environment must find the same Python


def test_it_builds_with_the_packages_that_make_builds_with() -> None:
    build, _, last = texts("RUN")
    installed = set(re.search(r"install -y --no-install-recommends ([^&]*)", build)[1].split())
    assert installed | {"python3"} == packages("build.txt")
    assert {"python3", "libssl3"} <= set(last.split())


def test_what_it_copies_is_the_projects_and_not_ignored() -> None:
    lines = [line for line in IGNORED.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert sorted(line.removeprefix("!") for line in lines if line.startswith("!")) == sorted(sources())
    tracked = subprocess.run(["git", "ls-files", *sources()], cwd=ROOT, capture_output=True, text=True, check=True)
    files = tracked.stdout.splitlines()
    assert all(any(file == source or file.startswith(f"{source}/") for file in files) for source in sources())
    assert not [file for file in files if Path(file).suffix in (".so", ".c")]  # the others are built


def test_it_runs_as_a_user_who_may_use_what_the_defaults_need() -> None:
    *_, last = texts("RUN")
    assert texts("USER") == ["megaphone"]
    config = Config()
    for directory in (config.service.data, os.path.dirname(config.admin.socket)):
        assert re.search(rf"install -d -m 7\d\d -o megaphone -g megaphone {directory}( |$)", last)
    assert texts("VOLUME") == [config.service.data]
    assert json.loads(texts("ENTRYPOINT")[0]) + json.loads(texts("CMD")[0]) == COMMAND
    assert config.admin.address.rpartition(":")[2] in texts("EXPOSE")[0].split()


def test_the_quadlet_fits_the_image() -> None:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(CONTAINERS / "megaphone.container")
    assert parser["Container"]["Volume"].endswith(f":{texts('VOLUME')[0]}")
    assert int(parser["Container"]["Ulimit"].rpartition(":")[2]) >= 1_048_576
    assert int(parser["Service"]["TimeoutStopSec"]) > Config().drain.deadline_seconds
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy" / "systemd" / "megaphone.service")
    for key in ("Restart", "RestartPreventExitStatus", "TimeoutStopSec", "TimeoutStartSec"):
        assert parser["Service"][key] == unit["Service"][key]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what the recipe copies, and from what `make` has compiled, which `build` takes for its own."""
    directory = tmp_path_factory.mktemp("image")
    build = directory / "src" / "build" / f"lib.{_platform()}"
    for source in sources():
        into = directory / "src" / source
        into.parent.mkdir(exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, into, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            for module in (ROOT / source).rglob("*.so"):
                target = build / module.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(module, target)
        else:
            shutil.copy2(ROOT / source, into)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "wheel"]
    subprocess.run(
        [*pip, "--no-build-isolation", "--no-deps", "--no-index", "-w", str(directory), str(directory / "src")],
        check=True,
        timeout=300,
    )
    (made,) = directory.glob("*.whl")
    return made


def _platform() -> str:
    """As setuptools names its directory for compiled modules."""
    import sysconfig

    return f"{sysconfig.get_platform()}-{sys.implementation.cache_tag}"


def requirements(name: str, extra: str, seen: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """The distribution of this name and all that it needs, as far as it applies here."""
    from packaging.requirements import Requirement

    if name.lower() in seen:
        return
    seen.add(name.lower())
    found = importlib.metadata.distribution(name)
    yield found
    for text in found.requires or ():
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            yield from requirements(needed.name, "", seen)


def test_the_wheel_runs_from_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    """With what it says it needs, and nothing else."""
    environment = tmp_path / "opt"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(python), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=120)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for needed in list(requirements("megaphone", "probe", set()))[1:]:
        for top in {file.parts[0] for file in needed.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(needed.locate_file(top))
    config = tmp_path / "megaphone.toml"
    admin = free_port()
    config.write_text(
        f'[[listen]]\naddress = "{LOOPBACK}:{free_port()}"\ntls = "none"\n[[domain]]\nname = "example.org"\n'
        f'[service]\ndata = "{tmp_path / "data"}"\n'
        f'[admin]\naddress = "{LOOPBACK}:{admin}"\nsocket = "{tmp_path / "admin.sock"}"\n'
    )
    clean = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin"}
    megaphone = str(environment / "bin" / "megaphone")
    where = subprocess.run(
        [str(python), "-c", "import megaphone.wire.framer as it; print(it.__file__)"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(packages))
    checked = subprocess.run([megaphone, "check", "-c", str(config)], cwd=tmp_path, env=clean, check=False)
    assert checked.returncode == 0
    node = Process([megaphone, "serve", "-c", str(config)], directory=tmp_path, log=tmp_path / "log", environment=clean)
    try:
        node.wait_until(lambda: _answers(f"http://{LOOPBACK}:{admin}/health/ready"), "megaphone", START_SECONDS)
        page = urllib.request.urlopen(f"http://{LOOPBACK}:{admin}/metrics", timeout=30).read().decode()
        assert f'version="{__version__}"' in page
        node.signal(signal.SIGTERM)
        assert node.wait(START_SECONDS) == 0
    finally:
        node.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

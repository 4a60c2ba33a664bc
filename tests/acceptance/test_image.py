"""The image and the service as far as they can be tested without a Docker engine or systemd."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from dagengine.server.config import load_config
from tests.support.checkout import ROOT, tracked_files
from tests.support.listening_controller import open_controller

SERVICE = ROOT / "configs" / "service.yaml"
SHARED = "/opt/dagengine/share/doc/dagengine"


@dataclass(frozen=True)
class Instruction:
    """An instruction of a Dockerfile.

    Attributes:
        name: such as RUN.
        value: everything after it.
        stage: number of its stage, from 0.
    """

    name: str
    value: str
    stage: int


def parse_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions; this project's file has one per line."""
    parsed: list[Instruction] = []
    stage = -1
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            stage += name == "FROM"
            parsed.append(Instruction(name, value, stage))
    return parsed


IMAGE = parse_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def values(name: str, stage: int = 1) -> list[str]:
    return [i.value for i in IMAGE if i.name == name and i.stage == stage]


def test_image_is_slim_and_runs_as_fixed_user() -> None:
    bases = [instruction.value for instruction in IMAGE if instruction.name == "FROM"]
    assert [base.split()[0].rpartition(":")[2].endswith("-slim") for base in bases] == [True] * 2
    assert values("USER") == ["10001"]
    after_user = IMAGE[[i.name for i in IMAGE].index("USER") :]
    assert "RUN" not in {instruction.name for instruction in after_user}
    assert f"{values('CMD')[0]}" == '["serve", "-c", "/etc/dagengine/engine.yaml"]'
    assert json.loads(values("ENTRYPOINT")[0]) == ["dagengine"]


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml"])
def test_image_files_name_pages_that_exist(name: str) -> None:
    pages = re.findall(r"docs/[\w/]+\.md", (ROOT / name).read_text(encoding="utf-8"))
    assert pages
    assert [page for page in pages if not (ROOT / page).is_file()] == []


def test_image_copies_only_packed_files() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert {"dagengine", "tasks", "setup.cfg", "pyproject.toml", "README.md"} <= kept
    assert [name for name in kept if not (ROOT / name).exists()] == []


def test_image_healthcheck_names_socket_of_its_engine_file(tmp_path: Path) -> None:
    command = json.loads(values("HEALTHCHECK")[0].partition("CMD ")[2])
    script, path = command[1:]
    assert (ROOT / Path(script).relative_to(SHARED)).is_file()
    config = load_config(SERVICE, {})
    assert Path(path) == config.api.socket
    assert config.store.path.parent == Path(values("VOLUME")[0])
    assert config.api.is_loopback


def healthcheck(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", ROOT / "configs" / "healthcheck.py", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_healthcheck_follows_the_controller(tmp_path: Path) -> None:
    path = tmp_path / "dagengine.sock"
    async with open_controller(tmp_path, socket=str(path)):
        healthy = await asyncio.to_thread(healthcheck, path)
    assert (healthy.returncode, healthy.stdout) == (0, "HTTP/1.1 200 OK\n"), healthy.stderr
    ended = healthcheck(path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert str(path) in ended.stderr


def test_compose_file_confines_the_controller() -> None:
    (service,) = COMPOSE["services"].values()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    config = load_config(SERVICE, service["environment"])
    assert config.cluster == Path("/etc/dagengine/cluster/cluster.yaml")
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    assert {str(config.cluster.parent), str(config.store.path.parent)} == mounted
    assert config.api.socket is not None
    assert any(entry.startswith(f"{config.api.socket.parent}:") for entry in service["tmpfs"])


def test_unit_file_names_files_of_the_service() -> None:
    unit = dict(
        line.split("=", 1)
        for line in (ROOT / "configs/dagengine.service").read_text().splitlines()
        if re.match(r"\w+=", line)
    )
    config = load_config(SERVICE, {})
    assert config.store.path.parent == Path("/var/lib") / unit["StateDirectory"]
    assert config.api.socket is not None
    assert config.api.socket.parent == Path("/run") / unit["RuntimeDirectory"]
    page = unit["Documentation"].removeprefix(f"file:{SHARED}/")
    howto = (ROOT / page).read_text(encoding="utf-8")
    for path in (unit["EnvironmentFile"], unit["ExecStart"].split()[-1], "/opt/dagengine"):
        assert path in howto


@pytest.mark.slow
def test_image_build_steps_install_a_working_program(tmp_path: Path) -> None:
    """Run the RUN steps as the build does, with the paths of the image below a directory."""
    source = tmp_path / "src"
    kept = {
        name[1:] for name in (ROOT / ".dockerignore").read_text().splitlines() if name[:1] == "!"
    }
    for name in tracked_files():
        if name.split("/")[0] in kept:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    # The dependencies are those of the tests.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environ |= {"PIP_NO_DEPS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(command: str) -> None:
        command = re.sub(r"(?<![\w.])/(opt|var|run|etc)/", rf"{tmp_path}/\1/", command)
        command = re.sub(r" -o 10001 -g 10001", "", command)
        subprocess.run(["sh", "-ec", command], cwd=source, env=environ, check=True, timeout=300)

    for command in values("RUN", stage=0):
        run(command)
    users, *rest = values("RUN")
    assert users.startswith("useradd --system --uid 10001 ")  # not run: it would change the machine
    for command in rest:
        run(command)
    config = load_config(tmp_path / "etc/dagengine/engine.yaml", {})
    assert config.cluster == tmp_path / "etc/dagengine/cluster.yaml"
    shared = tmp_path / SHARED[1:]
    assert (shared / "configs/healthcheck.py").is_file()
    assert (tmp_path / "opt/dagengine/share/man/man1/dagengine.1").is_file()

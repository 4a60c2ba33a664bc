"""The wheel of the checkout works outside of the checkout."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dagengine.client import Client
from tasks.demo.hosts import free_port
from tests.support.checkout import ROOT, tracked_files

pytestmark = pytest.mark.slow

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")

FOREIGN = "raise SystemExit('the foreign module was run')\n"
CLUSTER = """
name: wheel
id: 1
flavour: seekdb
root_password_env: WHEEL_PASSWORD
defaults: {home: /nonexistent/seekdb}
zones: {zone1: [{ip: 127.0.0.1}]}
"""


@dataclass(frozen=True)
class Installed:
    """A clean environment with the wheel, and a working directory where another `tasks` lies."""

    program: Path
    python: Path
    site: Path
    cwd: Path

    @property
    def environment(self) -> Mapping[str, str]:
        dropped = ("DAGENGINE_", "PYTHON", "VIRTUAL_ENV")
        return {k: v for k, v in os.environ.items() if not k.startswith(dropped)}

    def run(self, *argv: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, cwd=self.cwd, env=self.environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build directory is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [*PIP, "wheel", ".", "--no-deps", "--wheel-dir", str(out)], cwd=source, check=True
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    home = tmp_path_factory.mktemp("installed").resolve()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "venv"], check=True)
    bin_directory = home / "venv" / "bin"
    python = bin_directory / "python"
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", wheel], check=True)
    completed = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    site = Path(completed.stdout.strip())
    # The dependencies are those of the tests. A .pth file adds a directory to the path, but the
    # .pth files in there, such as the checkout's editable install, are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    cwd = home / "elsewhere"
    cwd.mkdir()
    (cwd / "tasks.py").write_text(FOREIGN)
    return Installed(bin_directory / "dagengine", python, site, cwd)


def test_wheel_contains_exactly_both_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            name for name in archive.namelist() if not re.match(r"[^/]*\.(dist-info|data)/", name)
        }
    suffixes = (".py", ".sql", ".sh", ".tsv", ".html", "py.typed")
    packages = ("dagengine/", "tasks/")
    expected = {
        name
        for name in tracked_files()
        if name.startswith(packages) and (name.endswith(suffixes) or "/static/" in name)
    }
    assert packed == expected
    assert {"dagengine/py.typed", "dagengine/store/sqlite/migrations/0007_terms.sql"} <= packed


def shared_files(wheel: Path) -> set[str]:
    """Return the files that are installed below the environment's `share`."""
    with zipfile.ZipFile(wheel) as archive:
        found = (name.partition(".data/data/share/")[2] for name in archive.namelist())
        return {name for name in found if name}


def test_wheel_contains_all_examples_and_pages(wheel: Path) -> None:
    page = "docs/man/dagengine.1"
    generators = {
        *("docs/generate.py", "docs/config_tables.py", "docs/man_page.py"),
        *("docs/record_sessions.py", "docs/screenshots.py"),
    }
    expected = {name for name in tracked_files() if name.startswith(("configs/", "docs/"))}
    expected = {f"doc/dagengine/{name}" for name in expected - generators - {page}}
    top = ("README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")
    expected |= {"man/man1/dagengine.1", *(f"doc/dagengine/{name}" for name in top)}
    assert shared_files(wheel) == expected


def test_wheel_contains_files_named_by_its_texts(wheel: Path) -> None:
    """Texts and docstrings name pages; packed pages link to packed pages and examples."""
    shared = {name.removeprefix("doc/dagengine/") for name in shared_files(wheel)}
    missing = set()
    for name in tracked_files():
        text = (ROOT / name).read_text("utf-8") if name.endswith((".py", ".md")) else ""
        if name.startswith(("dagengine/", "tasks/")):
            named = set(re.findall(r"\b(?:docs|configs)/[\w/.-]+\.(?:md|yaml|service|py)\b", text))
        elif name in shared:
            links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
            paths = {os.path.normpath(Path(name).parent / link) for link in links}
            named = {path for path in paths if path.startswith(("docs/", "configs/"))}
        else:
            continue
        folders = {str(Path(path).parent) for path in shared}
        missing |= {f"{name}: {path}" for path in named if path not in shared | folders}
    assert missing == set()


def test_wheel_is_imported_instead_of_checkout(installed: Installed) -> None:
    program = "import dagengine; print(dagengine.__file__)"
    done = installed.run(installed.python, "-c", program)
    assert done.stdout.strip() == str(installed.site / "dagengine" / "__init__.py")


@pytest.mark.parametrize("launcher", ["script", "module"])
def test_wheel_help_lists_commands_despite_foreign_tasks(
    installed: Installed, launcher: str
) -> None:
    program = [installed.program] if launcher == "script" else [installed.python, "-m", "dagengine"]
    done = installed.run(*program, "--help")
    assert done.returncode == 0, done.stderr
    named = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("│ ")}
    assert {"serve", "start", "list", "show", "logs", "retry", "cancel", "pass", "demo"} <= named
    assert "the foreign module was run" not in done.stderr
    # Only `python -m` puts the working directory on the path.
    foreign = installed.cwd / "tasks.py"
    assert (f"the foreign module tasks at {foreign}" in done.stderr) == (launcher == "module")


async def test_wheel_serve_creates_store_and_ends_on_sigterm(
    wheel: Path, installed: Installed
) -> None:
    (installed.cwd / "cluster.yaml").write_text(CLUSTER)
    port = free_port()
    (installed.cwd / "engine.yaml").write_text(
        f"{{api: {{port: {port}}}, store: {{path: var/dags.sqlite}}, cluster: cluster.yaml}}\n"
    )
    log = installed.cwd / "log"
    with log.open("wb") as stderr:
        controller = await asyncio.create_subprocess_exec(
            installed.program,
            "serve",
            "-c",
            "engine.yaml",
            cwd=installed.cwd,
            env={**installed.environment, "WHEEL_PASSWORD": "secret"},
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert controller.stdout is not None
    try:
        async with asyncio.timeout(30):
            ready = (await controller.stdout.readline()).decode()
        assert ready == f"dagengine ready on http://127.0.0.1:{port}\n", log.read_text()
        async with Client(f"http://127.0.0.1:{port}", "secret") as client:
            info = await client.info()
            assert (info["pid"], info["port"]) == (controller.pid, port)
            assert info["version"] == wheel.name.split("-")[1]
            assert await client.list_dags() == []
        controller.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await controller.wait() == 0, log.read_text()
    finally:
        if controller.returncode is None:
            controller.kill()
            await controller.wait()
    with closing(sqlite3.connect(installed.cwd / "var" / "dags.sqlite")) as store:
        rows = store.execute("select name from sqlite_master where type = 'table'").fetchall()
    assert {"meta", "dag", "node", "sub_task", "attempt", "log", "lock"} <= {
        name for (name,) in rows
    }

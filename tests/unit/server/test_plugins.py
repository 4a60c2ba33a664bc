"""Other modules named `tasks`: the project's own package is loaded, and the other is reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.quick_cases import first_quick

ROOT = Path(__file__).parents[3]
OWN_TASKS = ROOT / "tasks" / "__init__.py"

LOAD = """
import sys
from dagengine.errors import ConfigError
from dagengine.server.plugins import load_extension_points
try:
    loaded = load_extension_points()
except ConfigError as exc:
    sys.exit(f"refused: {exc}")
print([point.name for point in loaded.points])
print(sys.modules["tasks"].__file__)
import tasks.operations.start
print(tasks.operations.start.__file__)
print(*loaded.notices, sep="\\n")
"""

# A foreign module must not be executed: it would write to stderr.
FOREIGN = "import sys\nsys.stderr.write('the foreign module was run')\n"


def run(
    cwd: Path, *argv: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in a separate process, with the checkout on the path like an installed package."""
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def loaded_lines(completed: subprocess.CompletedProcess[str]) -> list[str]:
    assert (completed.returncode, completed.stderr) == (0, "")
    points, package, module, *notices = completed.stdout.splitlines()
    assert points.startswith("['oceanbase'")
    assert (package, module) == (str(OWN_TASKS), str(OWN_TASKS.parent / "operations" / "start.py"))
    return [notice for notice in notices if notice]


def write_foreign(directory: Path, form: str) -> Path:
    """Write a foreign `tasks` as a file, a package or a directory; return the path to report."""
    directory = directory.resolve()
    if form == "bare directory":
        (directory / "tasks").mkdir()
        (directory / "tasks" / "start.py").write_text(FOREIGN)
        return directory / "tasks"
    file = directory / ("tasks.py" if form == "file" else "tasks/__init__.py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(FOREIGN)
    return file


def test_load_extension_points_own_tasks_give_no_notice(tmp_path: Path) -> None:
    assert loaded_lines(run(tmp_path, "-c", LOAD)) == []


@pytest.mark.parametrize("form", first_quick(["file", "package"]))
def test_load_extension_points_skips_foreign_module_in_cwd(tmp_path: Path, form: str) -> None:
    foreign = write_foreign(tmp_path, form)
    (notice,) = loaded_lines(run(tmp_path, "-c", LOAD))
    assert f"the foreign module tasks at {foreign} was not loaded" in notice
    assert f"dagengine uses {OWN_TASKS}" in notice


@pytest.mark.parametrize("form", first_quick(["file", "package"]))
def test_load_extension_points_skips_foreign_module_on_path(tmp_path: Path, form: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    foreign = write_foreign(elsewhere, form)
    completed = run(tmp_path, "-P", "-c", LOAD, environ={"PYTHONPATH": str(elsewhere)})
    (notice,) = loaded_lines(completed)
    assert str(foreign) in notice


def test_load_extension_points_ignores_bare_tasks_directory(tmp_path: Path) -> None:
    write_foreign(tmp_path, "bare directory")
    loaded_lines(run(tmp_path, "-c", LOAD))


def test_load_extension_points_imported_foreign_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path.resolve() / "tasks.py"
    foreign.write_text("")
    completed = run(tmp_path, "-c", f"import tasks\n{LOAD}")
    assert completed.returncode == 1
    assert f"refused: a foreign module tasks ({foreign}) is already imported" in completed.stderr
    assert str(OWN_TASKS) in completed.stderr


def test_load_extension_points_synthetic_module_is_refused(tmp_path: Path) -> None:
    program = f"import sys, types\nsys.modules['tasks'] = types.ModuleType('tasks')\n{LOAD}"
    completed = run(tmp_path, "-c", program)
    assert completed.returncode == 1
    assert "refused: a foreign module tasks (None)" in completed.stderr


def test_load_extension_points_second_call_gives_no_notice(tmp_path: Path) -> None:
    write_foreign(tmp_path, "file")
    load = "from dagengine.server.plugins import load_extension_points\n"
    program = f"{load}load_extension_points()\n"
    assert loaded_lines(run(tmp_path, "-c", program + LOAD)) == []


@pytest.mark.parametrize("argv", [("-m", "dagengine", "demo", "--help"), ("-c", "@script")])
def test_cli_names_foreign_module_and_runs_own_command(
    tmp_path: Path, argv: tuple[str, ...]
) -> None:
    foreign = write_foreign(tmp_path, "file")
    if argv[-1] == "@script":
        call = "sys.exit(dagengine.cli.main(['demo', '--help']))"
        argv = ("-c", f"import sys, dagengine.cli; {call}")
    completed = run(tmp_path, *argv)
    assert completed.returncode == 0
    assert "Usage: dagengine demo" in completed.stdout
    assert f"dagengine: the foreign module tasks at {foreign} was not loaded" in completed.stderr


def test_serve_logs_foreign_module(tmp_path: Path) -> None:
    foreign = write_foreign(tmp_path, "file")
    completed = run(tmp_path, "-m", "dagengine", "serve", "-c", "absent.yaml")
    assert completed.returncode == 2
    assert "foreign_module_skipped" in completed.stderr
    assert str(foreign) in completed.stderr
    assert "the foreign module was run" not in completed.stderr


def test_load_extension_points_without_tasks_names_missing_file(tmp_path: Path) -> None:
    home = tmp_path.resolve() / "site"
    shutil.copytree(ROOT / "dagengine", home / "dagengine")
    write_foreign(tmp_path, "file")
    program = f"import sys\nsys.path.insert(0, {str(home)!r})\n{LOAD}"
    completed = run(tmp_path, "-c", program)
    assert completed.returncode == 1
    missing = home / "tasks" / "__init__.py"
    assert f"refused: {missing} is missing; reinstall dagengine" in completed.stderr
    assert "the foreign module was run" not in completed.stderr


def install(site: Path, name: str, entry: str, module: str = "") -> None:
    """Write a distribution with one extension, as pip installs it in site-packages."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dagengine.operations]\n{entry}\n")
    if module:
        (site / f"{name}.py").write_text(module)


def test_load_extension_points_installed_plugin_is_last(tmp_path: Path) -> None:
    module = "from dagengine.extension import Plugin\nPOINT = Plugin('more', None)\n"
    install(tmp_path / "site", "more", "more = more:POINT", module)
    completed = run(tmp_path, "-c", LOAD, environ={"PYTHONPATH": str(tmp_path / "site")})
    assert loaded_lines(completed) == []
    assert completed.stdout.startswith("['oceanbase', 'more']")


@pytest.mark.parametrize(
    ("entry", "module", "error_part"),
    [
        ("gone = gone:POINT", "", "the extension gone (gone:POINT) cannot be loaded: No module"),
        ("more = more:POINT", "POINT = 5", "the extension more (more:POINT) is not a Plugin"),
        ("more = more:ABSENT", "POINT = 5", "(more:ABSENT) cannot be loaded"),
        ("mine = tasks:EXTENSION", "", "the package more registers the extension tasks:EXTENSION"),
    ],
)
def test_load_extension_points_unusable_plugin_is_named(
    tmp_path: Path, entry: str, module: str, error_part: str
) -> None:
    install(tmp_path / "site", "more", entry, module)
    completed = run(tmp_path, "-c", LOAD, environ={"PYTHONPATH": str(tmp_path / "site")})
    assert completed.returncode == 1
    assert error_part in completed.stderr
    assert "Traceback" not in completed.stderr


def test_cli_usage_error_with_unusable_plugin_is_reported(tmp_path: Path) -> None:
    install(tmp_path / "site", "more", "more = more:ABSENT", "POINT = 5")
    words = ("-m", "dagengine", "list", "--typo")
    completed = run(tmp_path, *words, environ={"PYTHONPATH": str(tmp_path / "site")})
    assert (completed.returncode, completed.stdout) == (2, "")
    assert completed.stderr.startswith("dagengine: the option --typo does not exist")

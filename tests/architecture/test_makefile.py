"""`make` checks the version of Python first, and prints its steps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Reports a version; as `-m venv` it creates an environment whose programs do nothing.
STAND_IN = """#!/bin/sh
case "$1" in
    --version) echo "Python {version}" ;;
    -c) exit {status} ;;
    *) mkdir -p "$3/bin"; touch "$3/pyvenv.cfg"
       for name in python dagengine; do
           printf '#!/bin/sh\\n' > "$3/bin/$name"; chmod +x "$3/bin/$name"
       done ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make_demo(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return subprocess.run(
        ["make", "demo", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def write_python(tmp_path: Path, version: str, status: int) -> str:
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(version=version, status=status))
    python.chmod(0o755)
    return str(python)


def test_make_with_old_python_names_the_remedy(tmp_path: Path) -> None:
    done = make_demo(tmp_path, write_python(tmp_path, "3.9.2", 1))
    assert done.returncode != 0
    assert "is Python 3.9.2; name a Python 3.11 or newer: make PYTHON=python3.12" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_without_python_names_the_remedy(tmp_path: Path) -> None:
    done = make_demo(tmp_path, "no-such-python")
    assert done.returncode != 0
    assert "no-such-python is not installed; name a Python 3.11 or newer" in done.stderr


def test_make_demo_prints_its_steps(tmp_path: Path) -> None:
    done = make_demo(tmp_path, write_python(tmp_path, "3.12.1", 0))
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert [step.split()[1] for step in steps] == ["creating", "installing", "starting"]
    assert "Python 3.12.1" in steps[0]

"""Ctrl-C at any instant ends a command with 130 and prints no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Sends SIGINT to itself when the module is about to be imported, or at the end of the interpreter.
PROGRAM = """
import atexit, os, signal, sys
from dagengine.cli import main

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            interrupt()

if {module!r} == "the end":
    atexit.register(interrupt)
sys.meta_path.insert(0, Interrupter())
sys.argv[1:] = {argv!r}
sys.exit(main())
"""
LIST = ["list", "--url", "http://127.0.0.1:1"]


@pytest.mark.parametrize(
    ("module", "argv"),
    [
        pytest.param("dagengine.cli.commands", LIST, marks=pytest.mark.slow),
        ("typer", ["--help"]),
        pytest.param("tasks", ["--help"], marks=pytest.mark.slow),
        pytest.param("typer.rich_utils", ["--help"], marks=pytest.mark.slow),
        pytest.param("dagengine.client.client", LIST, marks=pytest.mark.slow),
        ("aiohttp", LIST),
        ("dagengine.server.controller", ["serve", "-c", "missing.yaml"]),
        pytest.param(
            "tasks.cli.doctor_report", ["doctor", "-c", "missing.yaml"], marks=pytest.mark.slow
        ),
        ("the end", ["--version"]),
    ],
)
def test_interrupt_at_any_instant_is_130(module: str, argv: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module, argv=argv)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr


def test_interrupt_ignored_by_parent_stays_ignored() -> None:
    program = f"import signal; signal.signal({signal.SIGINT:d}, signal.SIG_IGN)\n"
    program += PROGRAM.format(module="typer", argv=["--version"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.startswith("dagengine ")) == (0, True), done.stderr

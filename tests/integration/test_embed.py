"""The example of docs/howto/embed.md runs, from the public face alone."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import dagengine
from dagengine import errors

EXAMPLE = Path(__file__).parents[2] / "docs" / "howto" / "embed.py"


def test_the_example_runs_and_shows_what_it_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), str(tmp_path / "dags.sqlite")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if " [info " not in line]
    assert said[0] == "DAG 1 is SUCCEED"
    assert {"Choose: 2 machines, colour red", "Start: a runs", "Start: b runs"} <= set(said)
    assert said[-5:] == [
        "DAG 2 is FAILED",
        "DAG 2 is SUCCEED + ROLLBACK",
        "audit: ROLLBACK by example",
        "audit: START by ",
        "audit: START by example",
    ]


def test_the_example_needs_nothing_but_the_public_face() -> None:
    imported = re.findall(r"^from (dagengine\S*) import", EXAMPLE.read_text(), re.MULTILINE)
    assert set(imported) == {"dagengine"}


def test_what_a_call_of_the_engine_says_that_it_raises_can_be_caught_from_the_public_face() -> None:
    said = {
        name
        for _, member in inspect.getmembers(dagengine.Engine, inspect.isroutine)
        for name in re.findall(r"^\s+(\w+): ", _raises(inspect.getdoc(member) or ""), re.MULTILINE)
    }
    assert {"TaskNotFound", "OperatorRefused", "LockHeld", "Conflict", "StoreUnusable"} <= said
    assert said - set(dagengine.__all__) == set()


def test_every_error_of_a_store_and_of_the_engine_is_part_of_the_public_face() -> None:
    reach = [dagengine.StoreError, *dagengine.StoreError.__subclasses__()]
    reach += [errors.EngineStopped, errors.UnknownOperation, errors.InvalidId]
    assert {error.__name__ for error in reach} <= set(dagengine.__all__)


def _raises(doc: str) -> str:
    """The part of a docstring that says what is raised."""
    return doc.partition("Raises:\n")[2].partition("\n\n")[0]

"""The example of docs/howto/embed.md runs, from the public face alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

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

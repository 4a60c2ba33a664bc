"""The example of docs/howto/embed.md runs with public names only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

EXAMPLE = Path(__file__).parents[3] / "docs" / "howto" / "embed.py"
PAGE = EXAMPLE.with_suffix(".md")


def test_embed_example_prints_documented_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), str(tmp_path / "dags.sqlite")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "dag_submitted" in done.stderr
    assert lines[0] == "DAG 1 is SUCCEED"
    assert {"Choose: 2 machines, colour red", "Start: a runs", "Start: b runs"} <= set(lines)
    assert lines[-5:] == [
        "DAG 2 is FAILED",
        "DAG 2 is SUCCEED + ROLLBACK",
        "audit: ROLLBACK by example",
        "audit: START by ",
        "audit: START by example",
    ]


def test_embed_example_imports_only_dagengine() -> None:
    imported = re.findall(r"^from (dagengine\S*) import", EXAMPLE.read_text(), re.MULTILINE)
    assert set(imported) == {"dagengine"}


def test_embed_page_snippets_run(tmp_path: Path) -> None:
    follow, logs = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    program = SNIPPET_PROGRAM.replace("FOLLOW\n", indent(follow, " " * 8)).replace("LOGS\n", logs)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "dags.sqlite")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    # No log lines: nothing failed.
    assert (done.returncode, done.stdout, done.stderr) == (0, "SUCCEED\n", "")


SNIPPET_PROGRAM = """
import asyncio, logging, sys
import structlog
from dagengine import *

LOGS

async def step(context):
    await context.log("at work")
    return Succeeded()

async def main():
    operation = Operation("op", (Stage("step", StageKind.NORMAL, step),))
    async with Engine(store=SqliteStore(sys.argv[1]), operations=[operation]) as engine:
        dag_id = (await engine.submit(Submission("op"))).dag.dag_id
FOLLOW
        print(event.state)

asyncio.run(main())
"""

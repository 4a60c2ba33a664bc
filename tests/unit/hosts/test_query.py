"""A script that fails on a host is reported with its exit status and error output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagengine.remote import Command, CommandResult, HostAddress, script
from dagengine.testing import LocalRunner
from tasks.hosts.commands import facts_command, start_command, wait_for_lock_command
from tasks.hosts.facts import parse_facts
from tasks.hosts.home_state import StartKind
from tasks.hosts.query import ScriptFailed, describe_failure, run_query
from tasks.hosts.reports import StartOutcome, parse_start
from tests.support.factories import make_server

ADDRESS = HostAddress("localhost")


async def run(command: Command) -> CommandResult:
    return await LocalRunner(ADDRESS).run(command, timeout_s=60)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("echo ignored >&2", ""),
        ("echo 'no  space' >&2; exit 71", "exit status 71: no space"),
        ("exit 1", "exit status 1: no error output"),
        ("kill -s KILL $$", "ended by signal KILL: no error output"),
        ("printf 'x%.0s' $(seq 999) >&2; exit 2", f"exit status 2: {'x' * 300}"),
    ],
)
async def test_describe_failure_has_status_and_error_output(text: str, failure: str) -> None:
    assert describe_failure(await run(script(text, "name"))) == failure


async def test_run_query_failed_script_raises_unless_permitted() -> None:
    runner, command = LocalRunner(ADDRESS), script("echo oops >&2; exit 3", "dagengine-x", "data")
    with pytest.raises(ScriptFailed, match="dagengine-x on localhost:22 failed: exit status 3"):
        await run_query(runner, command)
    assert (await run_query(runner, command, may_fail=True)).exit_status == 3


async def test_run_query_without_shell_tools_is_reported(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScriptFailed, match=r"exit status 127: .*not found"):
        await run_query(LocalRunner(ADDRESS), script("exec stat /", "name"))


@pytest.fixture(params=["no file", "full disk"])
def no_temporary_files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> None:
    """Let mktemp fail, or return a file on a full disk."""
    programs = tmp_path / "programs"
    programs.mkdir()
    link = tmp_path / "spool"
    text = "exit 1" if request.param == "no file" else f"ln -sf /dev/full {link}; echo {link}"
    (programs / "mktemp").write_text(f"#!/bin/sh\n{text}\n")
    (programs / "mktemp").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.mark.usefixtures("no_temporary_files")
async def test_scripts_without_temporary_file_report_it(tmp_path) -> None:
    server = make_server(home=str(tmp_path))
    facts = parse_facts((await run(facts_command(server, units=[]))).stdout)
    assert (facts.complete, facts.has_temporary) == (True, False)
    result = await run(start_command(server, "marker", StartKind.FIRST))
    if parse_start(result.stdout).outcome in (StartOutcome.UNANSWERED, StartOutcome.DOUBTFUL):
        return  # a mount or server process of this machine cannot be examined without the file
    assert "exit status 71: neither /tmp nor /dev/shm" in describe_failure(result)


async def test_scripts_with_full_tmp_use_shared_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    facts = parse_facts((await run(facts_command(make_server(home=str(tmp_path))))).stdout)
    assert (facts.complete, facts.has_temporary) == (True, True)
    assert "quiet=yes" in (await run(wait_for_lock_command(str(tmp_path)))).stdout

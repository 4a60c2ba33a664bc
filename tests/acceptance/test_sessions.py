"""The recorded sessions in docs/: they show the commands and the output of this version."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main

from dagengine.cli.application import app
from dagengine.cli.dispatch import commands
from docs.record_sessions import (
    DIRECTORY,
    PROMPT,
    SESSIONS,
    Action,
    Command,
    Recording,
    parse_cast,
    record,
    render_text,
)


def read_recording(name: str) -> Recording:
    return parse_cast((DIRECTORY / f"{name}.cast").read_text(encoding="utf-8"))


def outline(text: str) -> list[str]:
    """Return the parts of a text in order, without numbers; servers may end in any order."""
    joined = re.sub(r"\n {4}", " ", text)  # lines that were folded
    masked = (re.sub(r"\d+", "N", line) for line in joined.splitlines())
    return sorted({re.sub(r" +", " ", line) for line in masked})


def test_sessions_directory_has_two_files_per_session() -> None:
    expected = {f"{name}.{kind}" for name in SESSIONS for kind in ("cast", "txt")}
    assert {path.name for path in DIRECTORY.iterdir()} == expected


@pytest.mark.parametrize("name", SESSIONS)
def test_session_text_is_what_the_cast_shows(name: str) -> None:
    recording = read_recording(name)
    times = [at_s for at_s, _ in recording.events]
    assert times == sorted(times)
    assert (DIRECTORY / f"{name}.txt").read_text(encoding="utf-8") == render_text(recording)


@pytest.mark.parametrize("name", SESSIONS)
def test_session_shows_each_step_and_no_traces_of_a_machine(name: str) -> None:
    text = (DIRECTORY / f"{name}.txt").read_text(encoding="utf-8")
    for step in SESSIONS[name]:
        match step:
            case Action(comment, _):
                assert f"# {comment}\n" in text
            case Command(arguments):
                assert f"{PROMPT}dagengine {arguments}\n" in text
    clocks = set(re.findall(r"\d\d:\d\d:\d\d", text))
    assert clocks == {"09:00:00"}
    assert "Traceback" not in text


@pytest.mark.parametrize("name", SESSIONS)
def test_session_commands_exist_with_their_options(name: str) -> None:
    assert commands is not None  # registered by its import
    group = typer.main.get_command(app)
    for step in SESSIONS[name]:
        if isinstance(step, Command):
            command, *arguments = shlex.split(step.arguments)
            found = group.commands[command]  # type: ignore[attr-defined]
            found.make_context(command, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", SESSIONS)
async def test_session_recorded_again_has_the_same_lines(name: str) -> None:
    recorded = (DIRECTORY / f"{name}.txt").read_text(encoding="utf-8")
    assert outline(render_text(await record(name))) == outline(recorded), (
        "record the sessions again: python -m docs.record_sessions"
    )

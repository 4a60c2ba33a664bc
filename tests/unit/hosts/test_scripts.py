"""Hosts receive the text of the script files, without changes."""

from __future__ import annotations

import re
import subprocess
from importlib import resources

import pytest

from dagengine import FencingToken
from dagengine.remote import Command
from tasks.diagnosis.postmortem import postmortem_command
from tasks.flavours.seekdb import SEEKDB
from tasks.hosts.commands import (
    claim_home_command,
    confirm_first_start_command,
    directories_command,
    error_lines_command,
    facts_command,
    probe_command,
    process_command,
    read_file_command,
    sql_listener_command,
    start_command,
    stop_command,
    wait_for_lock_command,
    watch_command,
)
from tasks.hosts.fence import HomeFence
from tasks.hosts.home_state import StartKind
from tasks.hosts.scripts import read_script
from tests.support.factories import make_server

SCRIPTS = sorted(
    file.name.removesuffix(".sh")
    for file in resources.files("tasks.hosts.scripts").iterdir()
    if file.name.endswith(".sh")
)
COMMANDS: dict[str, Command] = {
    "process": process_command(SEEKDB, "/home"),
    "stop": stop_command(make_server(flavour="oceanbase"), 1.0),
    "wait_for_lock": wait_for_lock_command("/home"),
    "probe": probe_command(1, 2, 3),
    "error_lines": error_lines_command("/log", 0),
    "inspect": facts_command(make_server()),
    "start": start_command(make_server(), "77", StartKind.FIRST),
    "sql_listener": sql_listener_command(make_server()),
    "directories": directories_command("/home", {}),
    "confirm_first_start": confirm_first_start_command("/home"),
    "claim_home": claim_home_command("/home", FencingToken("0", 1, 1, "a"), HomeFence()),
    "read_file": read_file_command("/file", 0, 1),
    "watch": watch_command([make_server()]),
    "postmortem": postmortem_command("/home", "/log", 0, 1, 2),
}


def source_lines(name: str) -> list[str]:
    """Return the lines of a script file and of its includes, without comments."""
    lines: list[str] = []
    text = resources.files("tasks.hosts.scripts").joinpath(f"{name}.sh").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith(". ./"):
            lines += source_lines(line.removeprefix(". ./").removesuffix(".sh"))
        elif not line.lstrip().startswith("#"):
            lines.append(line)
    return lines


def included_parts(name: str) -> list[str]:
    text = resources.files("tasks.hosts.scripts").joinpath(f"{name}.sh").read_text(encoding="utf-8")
    return re.findall(r"^\. \./(\w+)\.sh$", text, re.MULTILINE)


def test_commands_cover_every_script() -> None:
    """A script that is not included by another one is run directly, so it needs a command here."""
    parts = {part for name in SCRIPTS for part in included_parts(name)}
    assert sorted(COMMANDS) == [name for name in SCRIPTS if name not in parts]


@pytest.mark.parametrize("name", COMMANDS)
def test_host_command_sends_text_of_script_file(name: str) -> None:
    text = COMMANDS[name].argv[2]
    assert isinstance(text, str)
    assert text.endswith("\n".join(source_lines(name)) + "\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_read_script_is_complete_and_valid_shell(name: str) -> None:
    text = read_script(name)
    assert text.splitlines() == source_lines(name)
    subprocess.run(["/bin/sh", "-n", "-c", text], check=True)

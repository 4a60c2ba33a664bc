"""One style of `--help`: groups, an example and the exit codes, also of extensions' commands."""

from __future__ import annotations

import re

import pytest

import dagengine
import dagengine.cli.commands  # adds the commands to `app`
from dagengine.cli import main
from dagengine.cli.application import app
from dagengine.cli.exit_codes import ExitCode
from dagengine.server.extension import CommandGroup
from dagengine.server.plugins import load_extension_points

OWN = sorted(
    command.name or command.callback.__name__
    for command in app.registered_commands
    if command.callback is not None
)
EXTENDED = sorted({name for point in load_extension_points().points for name in point.commands})
OPERATORS = {"start", "stop", "retry", "rollback", "cancel", "pass"}
ACTING = {*OPERATORS, "store", "hosts", "token", "fleet"}
CONFIRMED = {"start", "stop", "rollback", "pass", "hosts", "fleet"}

Output = pytest.CaptureFixture[str]


def help_of(capsys: Output, *command: str) -> str:
    assert main([*command, "--help"]) == 0
    return re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize("name", [*OWN, *EXTENDED])
def test_help_of_each_command_has_the_common_parts(capsys: Output, name: str) -> None:
    text = help_of(capsys, name)
    assert f"Usage: dagengine {name} " in text
    assert re.search(rf"Example: .*dagengine {name}\b", text)
    assert "Exit codes: 0 done;" in text
    assert "130 interrupted" in text
    assert ("--reason" in text) is (name in ACTING)
    assert ("--yes" in text) is (name in CONFIRMED)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_program_lists_groups_and_exit_codes(capsys: Output, option: str) -> None:
    assert main([option]) == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    positions = [text.index(f"─ {group} ─") for group in CommandGroup]
    assert positions == sorted(positions)
    assert {name for name in (*OWN, *EXTENDED) if f" {name} " not in text} == set()
    for code in ExitCode:
        assert f"{code:d} {code.meaning}" in text


def test_version_option_prints_version(capsys: Output) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"dagengine {dagengine.__version__} (Python 3.")


ACTIONS = [
    *(("hosts", action) for action in ("trust", "claim")),
    *(("token", action) for action in ("create", "list", "revoke")),
    *(("fleet", action) for action in ("list", "start", "forget")),
    *(("store", action) for action in ("new-epoch", "migrate", "copy")),
    ("config", "check"),
]


@pytest.mark.parametrize(("name", "action"), ACTIONS)
def test_help_has_an_example_of_each_action(capsys: Output, name: str, action: str) -> None:
    assert f"Example: dagengine {name} {action}" in help_of(capsys, name, action)


@pytest.mark.parametrize("name", [*OWN, *EXTENDED])
def test_help_in_60_columns_keeps_url_and_metavars(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = help_of(capsys, name)
    options = text.partition("─ Options ─")[2]
    assert re.findall(r"<(?:bool|str|int|path|list)\b", options) == []
    assert "[[" not in text
    assert re.findall(r"\w… │", text) == []  # a word that the column has no room for
    if "DAGENGINE_URL" in text and name != "fleet":
        assert "http://127.0.0.1:2886]" in text


def test_help_is_wrapped_at_the_width_of_the_terminal(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["store", "--help"]) == 0
    assert "`migrate` creates or upgrades the schema of a shared store;" in capsys.readouterr().out

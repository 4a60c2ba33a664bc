"""Errors in the use of the command line: what, which value, what is allowed, and whose help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagengine.cli import main
from dagengine.server.plugins import load_extension_points

LIBRARY_TEXTS = ("Input should", "Value error", "Invalid value", "Missing", "invalid choice", "\\x")
EXTENDED = sorted({name for point in load_extension_points().points for name in point.commands})

Output = pytest.CaptureFixture[str]

USAGE = [
    ("hosts", "the argument ACTION is missing", "write trust or claim; see `dagengine hosts"),
    ("config", "the argument ACTION is missing", "write check; see `dagengine config --help`"),
    ("store", "the argument ACTION is missing", "write new-epoch, migrate or copy; see `dag"),
    ("token", "the argument ACTION is missing", "write create, list or revoke; see `dagengine"),
    ("completion", "the argument SHELL is missing", "write bash, zsh or fish; see `dagengine"),
    ("explain", "the argument CODE is missing", "see `dagengine explain --help`"),
    ("hosts trsut", "ACTION has the value 'trsut': it is not trust or claim", "write trust or"),
    ("fleet lst", "has the value 'lst': it is not list, start or forget", "write list, start"),
    ("completion tcsh", "SHELL has the value 'tcsh'", "write bash, zsh or fish; see `dagengine"),
    (
        "wait last --timeout abc",
        "--timeout has the value 'abc': it is not a number",
        "write a number, such as 30; see `dagengine wait --help`",
    ),
    ("wait last --timeout -1", "--timeout -1 is not a time", "write a number of seconds that is"),
    ("wait last --timeout nan", "--timeout nan is not a time", "see `dagengine wait --help`"),
    ("pass 1 --node 0", "--node has the value '0': it must be at least 1", "write a number of at"),
    ("pass 1 --node x", "--node has the value 'x': it is not a whole number", "write digits only"),
    ("init x --port 99999", "--port has the value '99999'", "write a number of at most 65535;"),
    ("wait last --tim 3", "the option --tim does not exist", "use --timeout; see `dagengine wait"),
    ("wait last --timeout", "--timeout needs a value", "see `dagengine wait --help`"),
    ("hosts trust --yes=1", "--yes does not take a value", "write --yes alone; see `dagengine h"),
    ("strat", "the command strat does not exist", "see `dagengine --help`"),
    ("list x y", "does not take x y", "see `dagengine list --help`"),
    ("start --zone a --server b", "give --zone or --server", "see `dagengine start --help`"),
    (
        "serve --log-format xml",
        "'xml': it is not auto, text or json",
        "write auto, text or json; s",
    ),
    ("serve --log-level loud", "--log-level has the value 'loud'", "write debug, info, warning or"),
    ("serve -c", "--config needs a value", "see `dagengine serve --help`"),
    ("serve --prot=1", "the option --prot does not exist", "see `dagengine serve --help`"),
    ("serve here", "does not take here", "see `dagengine serve --help`"),
]


@pytest.mark.parametrize(("argv", "what", "remedy"), USAGE)
def test_wrong_usage_says_what_and_what_is_allowed(
    capsys: Output, argv: str, what: str, remedy: str
) -> None:
    assert main(argv.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith("dagengine: ")
    assert message.count("\n") == 1
    assert [part for part in (what, remedy) if part not in message] == []
    assert [text for text in LIBRARY_TEXTS if text in message] == []


@pytest.mark.parametrize("name", EXTENDED)
def test_wrong_option_names_help_of_the_command(capsys: Output, name: str) -> None:
    assert main([name, "--nope", "x", "y", "z"]) == 2
    assert f"see `dagengine {name} --help`" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--password=hunter2", "-phunter2"])
@pytest.mark.parametrize("command", ["serve", "list", "doctor"])
def test_unknown_option_is_shown_without_its_value(
    capsys: Output, command: str, option: str
) -> None:
    assert main([command, option]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        "serve here --password=hunter2",
        "list last --token=hunter2 x",
        "store copy a b mysql://u:hunter2@h/d",
        "serve https://u:hunter2@h",
    ],
)
def test_unexpected_arguments_are_shown_without_secrets(capsys: Output, argv: str) -> None:
    assert main(argv.split()) == 2
    message = capsys.readouterr().err
    assert message.startswith("dagengine: the ")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "argv", ["hosts trust", "hosts claim 10.0.0.1:2886", "hosts trust --replace x"]
)
def test_hosts_error_with_json_is_a_document(capsys: Output, tmp_path: Path, argv: str) -> None:
    file = tmp_path / "none.yaml"
    assert main([*argv.split(), "-c", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert (error["exit_code"], str(file) in error["message"]) == (2, True)
    assert error["remedy"] in err
    assert error["remedy"] != ""

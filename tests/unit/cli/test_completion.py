"""Completion in a shell, without a controller."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dagengine.cli import main
from dagengine.cli.completion import Shell, complete_checks, complete_last, render_script


@pytest.mark.parametrize(
    ("incomplete", "expected"),
    [
        ("", ["zone1", "zone2"]),
        ("z", ["zone1", "zone2"]),
        ("zone1,", ["zone1,zone2"]),
        ("zone1,zo", ["zone1,zone2"]),
        ("zone1,zone2,", []),
    ],
)
def test_complete_last_name_of_a_list(incomplete: str, expected: list[str]) -> None:
    assert complete_last(incomplete, ["zone1", "zone2"]) == expected


def test_complete_checks_lists_names_of_checks() -> None:
    assert {"ports", "memory", "disk"} <= {*complete_checks("")}


@pytest.mark.parametrize("shell", [*Shell])
def test_completion_script_calls_the_program(shell: Shell) -> None:
    script = render_script(shell)
    assert "_DAGENGINE_COMPLETE" in script
    assert "dagengine" in script
    if shell is Shell.BASH and (bash := shutil.which("bash")):
        subprocess.run([bash, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [
        ("dagengine ", 1, {"start", "stop", "wait", "doctor", "hosts", "init", "explain"}),
        ("dagengine st", 1, {"start", "stop", "store"}),
        ("dagengine stop --ter", 2, {"--terminate"}),
        ("dagengine start --skip-check mem", 3, {"memory"}),
        ("dagengine hosts ", 2, {"trust", "claim"}),
        ("dagengine explain OB.Zone", 2, {"OB.Zone.NotExist"}),
        # Without a controller there is nothing to complete, and no error.
        ("dagengine show ", 2, set()),
    ],
)
def test_completion_offers_commands_options_and_values(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    index: int,
    expected: set[str],
) -> None:
    monkeypatch.setenv("_DAGENGINE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(index))
    monkeypatch.setenv("DAGENGINE_URL", "http://127.0.0.1:1")
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert expected <= {*out.split()}
    assert err == ""

"""Errors of the API in the words of the command line."""

from __future__ import annotations

import pytest

from dagengine.cli.dispatch import run_command
from dagengine.cli.usage.wire_words import in_command_words
from dagengine.errors import ApiRefused
from dagengine.rules import messages as rules
from tasks.planning import messages as planning
from tasks.preflight.checks import CHECKS


def test_unknown_check_names_the_option_and_known_checks() -> None:
    problem = CHECKS.find_skip_problem(["foo"])
    text = in_command_words(planning.SKIP_CHECKS_ILLEGAL(reason=problem))
    assert text.startswith("--skip-check: the check 'foo' does not exist; known: ")
    assert all(check.name in text for check in CHECKS)


@pytest.mark.parametrize("message", [rules.PASS_FAILED_ONLY, rules.PASS_STAGE_OF_FAILED_ONLY])
def test_operator_is_named_as_a_command(message: object) -> None:
    text = in_command_words(str(message()))  # type: ignore[operator]
    assert text.endswith("; end a running one first with `dagengine cancel`")


def test_other_texts_are_unchanged() -> None:
    text = "The input parameter 'limit' is illegal: 0"
    assert in_command_words(text) == text


def test_error_of_a_controller_is_printed_in_command_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "The input parameter 'skipChecks' is illegal: the check 'foo' does not exist"
        raise ApiRefused(message, status=400, code="Common.IllegalArgument", legacy=0)

    monkeypatch.setattr("dagengine.cli.dispatch.app", refuse)
    monkeypatch.setattr("dagengine.cli.dispatch.find_extension_app", lambda _: None)
    assert run_command(["start", "--skip-check", "foo"]) == 2
    expected = "dagengine: [Common.IllegalArgument]: --skip-check: the check 'foo' does not exist\n"
    assert capsys.readouterr().err == expected

"""Execution of one command line: completion, the command, its errors and its exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence

import typer

from dagengine.cli import commands, messages
from dagengine.cli.application import HELP_OPTIONS, app
from dagengine.cli.completion import PROGRAM, complete_command_line
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.extensions import (
    find_command_names,
    find_extension_app,
    load_extension_commands,
)
from dagengine.cli.session import (
    PASSWORD_VARIABLE,
    TOKEN_VARIABLE,
    print_error,
    usage_remedy,
    wants_json,
)
from dagengine.cli.usage.errors import UsageProblem, explain_usage
from dagengine.cli.usage.wire_words import in_command_words
from dagengine.error_codes import Code
from dagengine.errors import ApiRefused, ControllerUnreachable, DagengineError

__all__ = ["commands", "run_command"]  # the import of `commands` registers them

_WRONG_PASSWORD, _FORBIDDEN, _TOO_MANY_ATTEMPTS = 401, 403, 429
_LOGIN_ERRORS = (Code.UNAUTHORIZED, Code.INCORRECT_OCEANBASE_PASSWORD)
_ID_ERRORS = (Code.ID_INVALID, Code.TASK_NOT_FOUND)
_NOT_ALLOWED = (_WRONG_PASSWORD, _FORBIDDEN, _TOO_MANY_ATTEMPTS)


def run_command(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    if (code := complete_command_line(app, load_extension_commands)) is not None:
        return code
    try:
        # Outside standalone mode, typer returns the code of `typer.Exit`.
        if (extension := find_extension_app(argv)) is not None:
            name, *arguments = argv
            code = extension(
                arguments,
                prog_name=f"{PROGRAM} {name}",
                standalone_mode=False,
                help_option_names=[*HELP_OPTIONS],
            )
        else:
            code = app(list(argv), prog_name=PROGRAM, standalone_mode=False)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        if text := exc.format_message():  # empty if only the help was shown
            _report_usage(argv, text, explain_usage(exc))
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except DagengineError as exc:
        code = _exit_code(exc)
        err_code = exc.code if isinstance(exc, ApiRefused) else ""
        remedy = _find_remedy(exc)
        message = in_command_words(exc.message) if isinstance(exc, ApiRefused) else exc.message
        print_error(message, err_code, code, remedy=remedy, as_json=wants_json(argv))
        return code
    return code if isinstance(code, int) else ExitCode.DONE


def _find_remedy(exc: DagengineError) -> str:
    """Return the remedy on the command line, where the API's is missing or is for other clients."""
    if not isinstance(exc, ApiRefused):
        return exc.remedy
    if exc.code == Code.UNAUTHORIZED and os.environ.get(TOKEN_VARIABLE):
        return messages.SET_TOKEN(variable=TOKEN_VARIABLE)
    if exc.code in _LOGIN_ERRORS:
        return messages.SET_PASSWORD(variable=PASSWORD_VARIABLE)
    if not exc.remedy and exc.code in _ID_ERRORS:
        return messages.LIST_IDS()
    return exc.remedy


def _report_usage(argv: Sequence[str], text: str, problem: UsageProblem) -> None:
    """Print a usage error; `text` is that of typer, from which `usage_remedy` knows some errors."""
    see_help = usage_remedy(argv, text, find_command_names())
    remedy = f"{problem.remedy}; {see_help}" if problem.remedy else see_help
    print_error(problem.message, "", ExitCode.USAGE, remedy=remedy, as_json=wants_json(argv))


def _exit_code(exc: DagengineError) -> int:
    if isinstance(exc, ControllerUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(exc, ApiRefused):
        return ExitCode.REFUSED if exc.status in _NOT_ALLOWED else ExitCode.USAGE
    return ExitCode.USAGE

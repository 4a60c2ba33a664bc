"""The command `dagengine explain CODE`: the meaning of an error code or a check, and the remedy."""

from __future__ import annotations

import csv
import difflib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

import typer

from dagengine.errors import ConfigError
from dagengine.extension import ExitCode, new_app, print_lines, render_epilog, write_document
from tasks.cli import messages
from tasks.diagnosis.error_codes import ERROR_PATTERNS, KNOWN_ERRORS
from tasks.preflight.checks import CHECKS

app = new_app()


@dataclass(frozen=True, slots=True)
class Explanation:
    """A meaning of a code.

    Attributes:
        code: the code, as it appears in responses, logs and evidence.
        cause: what has happened.
        remedy: what to do next.
    """

    code: str
    cause: str
    remedy: str


def _complete_code(incomplete: str) -> list[str]:
    del incomplete  # typer selects
    return list_codes()


@app.command(
    epilog=render_epilog("dagengine explain OB.Cluster.UnderMaintenanceWithDag"),
    context_settings={"ignore_unknown_options": True},  # the codes of a server are negative
)
def explain(
    code: Annotated[
        str,
        typer.Argument(
            metavar="CODE",
            help="An errCode, an error code of a server such as -4016 or OB_ERR_UNEXPECTED, or the "
            "name of a check.",
            autocompletion=_complete_code,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
) -> None:
    """Explain an error code, or a check: the cause, and what to do."""
    explanations = explain_code(code)
    if as_json:
        write_document(sys.stdout, [asdict(each) for each in explanations], indent=2)
    else:
        print_lines(sys.stdout, render_explanations(explanations))
    raise typer.Exit(ExitCode.DONE)


def explain_code(text: str) -> list[Explanation]:
    """Return the meanings of a code, in any case, with or without its brackets or minus sign.

    Raises:
        ConfigError: the code is not known.
    """
    name = text.strip("[]: ").lower()
    explanations = [each for each in _all() if name in _names(each)]
    if explanations:
        return explanations
    codes = {known.lower(): known for known in list_codes()}
    nearest = [codes[close] for close in difflib.get_close_matches(name, codes)]
    raise ConfigError(
        messages.CODE_UNKNOWN(code=text),
        remedy=messages.NEAREST_CODES(codes=", ".join(nearest))
        if nearest
        else messages.SEE_ERROR_CODES(),
    )


def list_codes() -> list[str]:
    """Return every code and name once."""
    return list(dict.fromkeys(word for each in _all() for word in each.code.split()))


def render_explanations(explanations: Sequence[Explanation]) -> list[str]:
    """Render the meanings as lines of text."""
    lines = []
    for explanation in explanations:
        lines += [
            explanation.code,
            messages.EXPLAINED_CAUSE(cause=explanation.cause),
            messages.EXPLAINED_REMEDY(remedy=explanation.remedy),
        ]
    return lines


def read_api_codes() -> list[Explanation]:
    """Return the errCodes of responses and of failed steps, from `api_codes.tsv`."""
    table = files("tasks.cli").joinpath("api_codes.tsv").read_text(encoding="utf-8")
    return [Explanation(*row) for row in csv.reader(table.splitlines(), delimiter="\t")]


@cache
def _all() -> tuple[Explanation, ...]:
    of_servers = [
        Explanation(f"{code} {known.name}", known.cause, known.remedy)
        for code, known in KNOWN_ERRORS.items()
    ]
    of_patterns = [
        Explanation(
            f"{pattern.code}",
            messages.CAUSE_WITH_TEXT(cause=pattern.cause, text=pattern.text),
            pattern.remedy,
        )
        for pattern in ERROR_PATTERNS
    ]
    of_checks = [
        Explanation(check.name, messages.CHECK_EXAMINES(examined=check.examines), check.remedy)
        for check in CHECKS
    ]
    return (*read_api_codes(), *of_servers, *of_patterns, *of_checks)


def _names(explanation: Explanation) -> set[str]:
    words = explanation.code.lower()
    return {words, *(word for part in words.split() for word in (part, part.removeprefix("-")))}

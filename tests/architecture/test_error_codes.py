"""Each error code of `tasks` is written once: in `tasks.errors.Code`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tasks.errors import Code

ROOT = Path(__file__).parents[2]
DEFINITION = ROOT / "tasks/errors.py"
FORM = re.compile(r"(Agent|Common|MySQL|OB|Request|Security|Task)(\.[A-Z]\w+)+")


def code_literals(source: str) -> list[str]:
    """Return the string constants that have the form of an error code."""
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (node.value in set(Code) or FORM.fullmatch(node.value))
    ]


def test_codes_are_written_only_in_their_enum() -> None:
    literals = {
        str(file.relative_to(ROOT)): code_literals(file.read_text(encoding="utf-8"))
        for file in (ROOT / "tasks").rglob("*.py")
    }
    defined = literals.pop(str(DEFINITION.relative_to(ROOT)))
    assert sorted(defined) == sorted(Code)
    assert {file: codes for file, codes in literals.items() if codes} == {}


def test_each_code_has_the_form_of_a_code() -> None:
    assert [code for code in Code if not FORM.fullmatch(code)] == []


@pytest.mark.parametrize("source", ["code = 'OB.Server.New'", f"code = '{Code.SQL_ERROR}'"])
def test_code_literals_finds_known_and_unknown_codes(source: str) -> None:
    assert len(code_literals(source)) == 1

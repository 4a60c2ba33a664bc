"""Each error code is written once: in the enum `Code` of its package."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path

import pytest

from dagengine import error_codes
from tasks.errors import Code
from tests.support.source_trees import nodes_in

ROOT = Path(__file__).parents[2]
DEFINITIONS = {
    "dagengine": ("dagengine/error_codes.py", list(error_codes.Code)),
    "tasks": ("tasks/errors.py", [code for code in Code if code not in set(error_codes.Code)]),
}
FORM = re.compile(r"(Agent|Common|Config|Gorm|MySQL|OB|Request|Security|Task)(\.[A-Z]\w+)+")


def code_literals(source: str) -> list[str]:
    """Return the string constants that have the form of an error code."""
    return [
        node.value
        for node in nodes_in(source)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (node.value in set(Code) or FORM.fullmatch(node.value))
    ]


@pytest.mark.parametrize("package", DEFINITIONS)
def test_codes_are_written_only_in_their_enum(package: str) -> None:
    literals = {
        str(file.relative_to(ROOT)): code_literals(file.read_text(encoding="utf-8"))
        for file in (ROOT / package).rglob("*.py")
    }
    file, codes = DEFINITIONS[package]
    assert sorted(literals.pop(file)) == sorted(codes)
    assert {file: codes for file, codes in literals.items() if codes} == {}


@pytest.mark.parametrize("codes", [error_codes.Code, Code])
def test_each_code_has_the_form_of_a_code(codes: type[StrEnum]) -> None:
    assert [code for code in codes if not FORM.fullmatch(code)] == []


@pytest.mark.parametrize("source", ["code = 'OB.Server.New'", f"code = '{Code.SQL_ERROR}'"])
def test_code_literals_finds_known_and_unknown_codes(source: str) -> None:
    assert len(code_literals(source)) == 1

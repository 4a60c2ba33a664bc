"""Every test function of commit d8f0381 has a successor, or a reason why it has none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("test_ids.tsv")


def functions_in(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from functions_in(node.body, f"{prefix}{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}"


def present_ids() -> set[str]:
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in functions_in(
            ast.parse(path.read_text(encoding="utf-8")).body,
            f"{path.relative_to(ROOT).as_posix()}::",
        )
    }


def listed_ids() -> list[list[str]]:
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def test_ids_of_replaced_tests_have_successor_or_reason() -> None:
    present = present_ids()
    without_reason = [
        before for before, after, *reason in listed_ids() if after == "-" and not any(reason)
    ]
    missing = [after for _, after, *_ in listed_ids() if after != "-" and after not in present]
    assert (without_reason, missing) == ([], [])


def test_ids_before_are_listed_once_and_gone() -> None:
    before = [ids[0] for ids in listed_ids()]
    assert len(before) == len(set(before)) > 900
    assert set(before) & present_ids() == set()


def test_names_of_tests_have_at_most_60_characters() -> None:
    names = {name.rpartition("::")[2] for name in present_ids()}
    assert [name for name in names if name.startswith("test_") and len(name) > 60] == []

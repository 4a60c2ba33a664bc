"""Every kind of store runs all cases of the contract."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

CONTRACT = sorted(Path(__file__).parent.glob("test_store*.py"))


def test_stores_have_equal_numbers_of_cases(request: pytest.FixtureRequest) -> None:
    counts: Counter[str] = Counter()
    for item in request.session.items:
        if isinstance(item, pytest.Function) and "store" in item.fixturenames:
            counts[item.callspec.params["store"]] += 1
    assert len(set(counts.values())) <= 1, counts


@pytest.mark.parametrize("path", CONTRACT, ids=lambda path: path.stem)
def test_stores_skip_no_case(path: Path) -> None:
    names = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not names & {"skip", "skipif", "xfail", "importorskip"}

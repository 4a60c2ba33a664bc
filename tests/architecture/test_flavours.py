"""A flavour is one file and one line in the table: no other module refers to a flavour by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.cluster.flavour import Flavour
from tasks.flavours.select import FLAVOURS
from tests.support.source_trees import parse_file

ROOT = Path(__file__).parents[2]
TABLE = "tasks/flavours/select.py"
OWN_FILES = {f"tasks/flavours/{flavour.name}.py" for flavour in FLAVOURS}
NAMED_FOR_ANOTHER_REASON = {
    "dagengine/server/plugins.py": "the name of the plugin in the same checkout",
    "tasks/__init__.py": "the name of the plugin",
    "tasks/cluster/obd.py": "the component names of obd's file format",
    "tasks/demo/cluster.py": "the demo shows one flavour",
    "tasks/demo/fleet.py": "the demo shows one flavour",
    "tasks/hosts/identity.py": "names of programs, to recognise a foreign one",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("dagengine", "tasks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in OWN_FILES | {TABLE}:
                yield name, parse_file(path)


def names_a_flavour(node: ast.AST) -> bool:
    """Return whether a node is a flavour's name, its constant, or an import of its module."""
    names = {flavour.name for flavour in FLAVOURS}
    match node:
        case ast.Constant(value=str(text)):
            return text in names
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper() and name.lower() in names
        case ast.ImportFrom(module=str(module)):
            return f"{module.replace('.', '/')}.py" in OWN_FILES
        case _:
            return False


def compares_a_flavour(node: ast.AST) -> bool:
    """Return whether a node is a comparison with a flavour, or a `match` on one."""
    match node:
        case ast.Compare(left=left, comparators=others):
            sides = [left, *others]
        case ast.Match(subject=subject):
            sides = [subject]
        case _:
            return False
    return any(re.search(r"\bflavour(\.name)?$", ast.unparse(side)) for side in sides)


def test_flavours_are_named_only_in_their_own_files() -> None:
    files = {name for name, tree in sources() for node in ast.walk(tree) if names_a_flavour(node)}
    assert files == set(NAMED_FOR_ANOTHER_REASON)


def test_flavours_are_compared_nowhere() -> None:
    comparisons = [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if compares_a_flavour(node)
    ]
    assert comparisons == []


@pytest.mark.parametrize(
    "statement",
    [
        "server.flavour is OCEANBASE",
        "cluster.flavour == other",
        "'x' in server.flavour.name",
        "match server.flavour:\n    case _: pass",
    ],
)
def test_comparison_of_a_flavour_is_found(statement: str) -> None:
    assert any(compares_a_flavour(node) for node in ast.walk(ast.parse(statement)))


def test_each_flavour_has_one_file_named_after_it() -> None:
    modules = {flavour: actions.__module__ for flavour, actions in FLAVOURS.items()}
    expected = {flavour: f"tasks.flavours.{flavour.name}" for flavour in FLAVOURS}
    assert modules == expected
    assert all(isinstance(flavour, Flavour) for flavour in FLAVOURS)
    assert all((ROOT / name).is_file() for name in OWN_FILES)

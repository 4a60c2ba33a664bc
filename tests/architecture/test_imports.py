"""The import graph has no cycle, including imports for types only and inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.source_trees import nodes_in

ROOT = Path(__file__).parents[2]
PACKAGES = ("dagengine", "tasks")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, str]:
    """Return the source text by module."""
    return {
        module_name(path): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imported_modules(source: str, modules: Mapping[str, str]) -> Iterator[str]:
    """Yield the modules that any import statement of a source names, wherever it is.

    An import of a submodule also executes its packages; these edges are not counted, because
    the statement names the submodule only.
    """
    for node in nodes_in(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in modules:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in modules else node.module


def find_cycle(modules: Mapping[str, str]) -> list[str]:
    """Return the modules of one import cycle; empty without a cycle."""
    graph = {name: set(imported_modules(source, modules)) for name, source in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


def test_imports_of_both_packages_have_no_cycle() -> None:
    modules = sources()
    assert {"dagengine.model.records", "tasks.operations.start"} <= modules.keys()
    assert find_cycle(modules) == []


@pytest.mark.parametrize(
    "back",
    [
        "import p.a",
        "from p.a import A",
        "from p import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import A",
        "def later():\n    from p.a import A",
    ],
)
def test_find_cycle_with_any_kind_of_import_finds_it(back: str) -> None:
    modules = {"p": "", "p.a": "from p.b import B", "p.b": "from p.c import C", "p.c": back}
    assert {*find_cycle(modules)} == {"p.a", "p.b", "p.c"}


def test_contracts_count_imports_for_types_only() -> None:
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "exclude_type_checking_imports" not in setup

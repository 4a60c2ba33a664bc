"""Declared dependencies: every import has an entry in setup.cfg, every entry a lower bound."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from configparser import ConfigParser
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.support.source_trees import parse_file

ROOT = Path(__file__).parents[2]
PACKAGES = {"dagengine", "docs", "tasks", "tests"}
SCRIPTS = {"benchmarks", "tests"}  # scripts import modules in their own directory

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<bound>\d[\w.]*)(,<\d[\w.]*)?")
# The importing tree, and the extras that it may use besides install_requires. Benchmarks run by
# `make bench` in an environment that includes the extras of the tests.
TREES = {
    ("dagengine", "tasks"): (),
    ("tests",): ("demo", "test", "peers"),
    ("benchmarks",): ("demo", "test", "peers", "bench"),
}


def distribution_of(requirement: str) -> str:
    """Return the normalized name of a requirement such as `PyYAML[x]>=6`."""
    name = re.split(r"[\[<>=!~;\s]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared() -> dict[str, list[str]]:
    """Return the requirements in setup.cfg by extra; those of the product under ``""``."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = dict(setup["options.extras_require"])
    return {
        extra: [line for line in lines.splitlines() if line]
        for extra, lines in {"": setup["options"]["install_requires"], **extras}.items()
    }


@cache
def distributions_by_module() -> dict[str, set[str]]:
    return {
        module: {distribution_of(name) for name in names}
        for module, names in packages_distributions().items()
    }


def modules_imported(tree: ast.AST) -> set[str]:
    """Return the top-level modules of all imports, those in functions and for types included."""
    modules = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                modules.add(module.partition(".")[0])
    return modules


def is_beside(path: Path, module: str) -> bool:
    """Return whether a script imports a file or package next to it, or next to its main script."""
    folders = [folder for folder in path.parents if ROOT in folder.parents]
    return any(
        (folder / module).is_dir() or (folder / f"{module}.py").is_file() for folder in folders
    )


@cache
def third_party_modules(packages: tuple[str, ...]) -> dict[str, str]:
    """Return each third-party module that these trees import, and the first importing file."""
    modules: dict[str, str] = {}
    for path in (path for package in packages for path in sorted((ROOT / package).rglob("*.py"))):
        for module in modules_imported(parse_file(path)):
            is_script = path.relative_to(ROOT).parts[0] in SCRIPTS
            if module in sys.stdlib_module_names or module in PACKAGES:
                continue
            if not (is_script and is_beside(path, module)):
                modules.setdefault(module, path.relative_to(ROOT).as_posix())
    return modules


def undeclared(packages: tuple[str, ...], extras: Iterable[str]) -> list[str]:
    permitted = {distribution_of(line) for extra in ("", *extras) for line in declared()[extra]}
    return [
        f"{module} ({path})"
        for module, path in sorted(third_party_modules(packages).items())
        # A module that is not installed, such as dbos, has the name of its distribution.
        if not distributions_by_module().get(module, {distribution_of(module)}) & permitted
    ]


@pytest.mark.parametrize(("packages", "extras"), TREES.items(), ids="+".join)
def test_every_import_is_declared(packages: tuple[str, ...], extras: tuple[str, ...]) -> None:
    assert {"pydantic", "aiohttp"} & third_party_modules(packages).keys()
    assert undeclared(packages, extras) == []


def test_every_runtime_requirement_is_imported() -> None:
    imported: set[str] = set()
    for module in third_party_modules(("dagengine", "tasks")):
        imported |= distributions_by_module().get(module, {distribution_of(module)})
    unused = [line for line in declared()[""] if distribution_of(line) not in imported]
    assert unused == []


def test_every_requirement_has_lower_bound() -> None:
    lines = [line for lines in declared().values() for line in lines]
    assert [line for line in lines if not REQUIREMENT.fullmatch(line)] == []


def test_no_requirement_is_declared_twice() -> None:
    for lines in declared().values():
        names = [distribution_of(line) for line in lines]
        assert sorted(names) == sorted(set(names))

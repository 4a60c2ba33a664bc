"""The engine's objects exchange messages, not functions; only the snapshot changes states."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGINE = sorted((ROOT / "dagengine" / "engine").glob("*.py"))
TRANSITIONS = {"step_dag", "step_node", "begin_sub_task", "end_sub_task", "reset_sub_task"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), path)


def names_in(node: ast.AST | None) -> set[str]:
    """Return the names in an expression, including those in an annotation that is a string."""
    names: set[str] = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name):
            names.add(part.id)
        elif isinstance(part, ast.Attribute):
            names.add(part.attr)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            with suppress(SyntaxError):  # the string is not an annotation
                names |= names_in(ast.parse(part.value, mode="eval"))
    return names


def function_types(trees: list[ast.Module]) -> set[str]:
    """Return `Callable`, its aliases, and the classes whose instances can be called."""
    names = {"Callable"}
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names |= {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef)
        and any(isinstance(part, ast.FunctionDef) and part.name == "__call__" for part in node.body)
    }
    aliases = {
        node.target.id: names_in(node.value)
        for node in nodes
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "TypeAlias" in names_in(node.annotation)
    }
    while new_names := {name for name, parts in aliases.items() if parts & names} - names:
        names |= new_names
    return names


def constructor_annotations(owner: ast.ClassDef) -> Iterator[ast.expr]:
    """Return the annotations of the constructor, whether it is written or generated from fields."""
    for part in owner.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            arguments = part.args
            for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                if argument.annotation is not None:
                    yield argument.annotation
        elif isinstance(part, ast.AnnAssign):
            yield part.annotation


def constructors_with_functions(tree: ast.Module, types: set[str]) -> list[str]:
    return [
        f"{owner.name}: {ast.unparse(annotation)}"
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for annotation in constructor_annotations(owner)
        if names_in(annotation) & types
    ]


def methods_passed_to_constructors(tree: ast.Module) -> list[str]:
    """Return calls of a class with a method of the caller, or a lambda, as an argument."""
    passed = []
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        methods = {
            part.name
            for part in owner.body
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            and "property" not in {name for d in part.decorator_list for name in names_in(d)}
        }
        for call in ast.walk(owner):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if not call.func.id[:1].isupper():
                continue
            for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                is_method = (
                    isinstance(argument, ast.Attribute)
                    and ast.unparse(argument.value) == "self"
                    and argument.attr in methods
                )
                if is_method or isinstance(argument, ast.Lambda):
                    passed.append(f"{owner.name}: {ast.unparse(call)}")
    return passed


def test_engine_constructors_take_no_functions() -> None:
    types = function_types([parse(path) for path in sorted((ROOT / "dagengine").rglob("*.py"))])
    assert {"Callable", "StepFunction"} <= types
    faults_by_file = {path.name: constructors_with_functions(parse(path), types) for path in ENGINE}
    assert {name: faults for name, faults in faults_by_file.items() if faults} == {}


def test_engine_objects_get_no_methods_of_others() -> None:
    faults_by_file = {path.name: methods_passed_to_constructors(parse(path)) for path in ENGINE}
    assert len(faults_by_file) > 10
    assert {name: faults for name, faults in faults_by_file.items() if faults} == {}


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def __init__(self, f: Callable[[int], str]) -> None: ...",
        "class A:\n    def __init__(self, *, f: 'Callable[[int], str] | None') -> None: ...",
        "@dataclass\nclass A:\n    f: list[Callable[[], None]]",
        "F: TypeAlias = Callable[[], None]\nclass A:\n    def __init__(self, f: F): ...",
        "class F(Protocol):\n    def __call__(self) -> None: ...\n@dataclass\nclass A:\n    f: F",
    ],
)
def test_constructor_with_a_function_is_found(source: str) -> None:
    tree = ast.parse(source)
    assert constructors_with_functions(tree, function_types([tree]))


@pytest.mark.parametrize("argument", ["self._start", "start=self._start", "lambda: None"])
def test_method_passed_to_a_constructor_is_found(argument: str) -> None:
    source = f"class A:\n    def __init__(self): B({argument})\n    def _start(self): ..."
    assert methods_passed_to_constructors(ast.parse(source))


def test_only_the_snapshot_imports_transitions() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dagengine").rglob("*.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        and (
            (node.module == "dagengine.rules" and "state_machine" in {a.name for a in node.names})
            or (
                node.module == "dagengine.rules.state_machine"
                and {alias.name for alias in node.names} & TRANSITIONS
            )
        )
    }
    assert importers == {"dagengine/rules/snapshot.py"}

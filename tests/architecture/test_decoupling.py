"""The engine's objects exchange messages, not functions; only the snapshot changes states."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.source_trees import parse_file, parse_source

ROOT = Path(__file__).parents[2]
ENGINE = sorted((ROOT / "dagengine" / "engine").glob("*.py"))
TRANSITIONS = {"step_dag", "step_node", "begin_sub_task", "end_sub_task", "reset_sub_task"}


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


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class FunctionTypes:
    """The types of functions in some modules: `Callable`, its aliases, and callable classes.

    Two modules may define the same name differently, so a name is followed through the imports to
    its definition. A name without a known definition counts if it is one of those in any module.

    Attributes:
        types: module and name of each; the module of `Callable` is empty.
    """

    def __init__(self, modules: dict[str, ast.Module]) -> None:
        self._defined: set[tuple[str, str]] = set()
        self._aliases: dict[tuple[str, str], set[str]] = {}
        self._imports: dict[tuple[str, str], tuple[str, str]] = {}
        self.types = {("", "Callable")}
        for module, tree in modules.items():
            for node in ast.walk(tree):
                self._register(module, node)
        while more := self._aliases_of_known() - self.types:
            self.types |= more

    def _aliases_of_known(self) -> set[tuple[str, str]]:
        return {key for key, names in self._aliases.items() if self.has_any(key[0], names)}

    def _register(self, module: str, node: ast.AST) -> None:
        match node:
            case ast.ClassDef(name=name, body=body):
                self._defined.add((module, name))
                if any(isinstance(p, ast.FunctionDef) and p.name == "__call__" for p in body):
                    self.types.add((module, name))
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                if "TypeAlias" in names_in(annotation):
                    self._defined.add((module, name))
                    self._aliases[module, name] = names_in(value)
            case ast.ImportFrom(module=str(source), names=names):
                for alias in names:
                    self._imports[module, alias.asname or alias.name] = source, alias.name

    def has_any(self, module: str, names: set[str]) -> bool:
        """True if one of the names, as used in the module, is a type of functions."""
        return any(self._is_function(module, name) for name in names)

    def _is_function(self, module: str, name: str) -> bool:
        key = module, name
        while key in self._imports and key not in self._defined:
            key = self._imports[key]
        if key in self._defined:
            return key in self.types
        return key[1] in {known for _, known in self.types}


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


def constructors_with_functions(
    tree: ast.Module, types: FunctionTypes, module: str = ""
) -> list[str]:
    return [
        f"{owner.name}: {ast.unparse(annotation)}"
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for annotation in constructor_annotations(owner)
        if types.has_any(module, names_in(annotation))
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
    paths = sorted((ROOT / "dagengine").rglob("*.py"))
    types = FunctionTypes({module_name(path): parse_file(path) for path in paths})
    assert {"Callable", "StepFunction"} <= {name for _, name in types.types}
    faults = {
        path.name: constructors_with_functions(parse_file(path), types, module_name(path))
        for path in ENGINE
    }
    assert {name: lines for name, lines in faults.items() if lines} == {}


def test_engine_objects_get_no_methods_of_others() -> None:
    faults_by_file = {
        path.name: methods_passed_to_constructors(parse_file(path)) for path in ENGINE
    }
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
    tree = parse_source(source)
    assert constructors_with_functions(tree, FunctionTypes({"": tree}))


def test_names_are_resolved_through_imports() -> None:
    callable_class = ast.parse("class Text:\n    def __call__(self) -> str: ...")
    data_class = ast.parse("class Text:\n    field: str")
    importer = ast.parse("from other import Text")
    user = "from {} import Text\nclass A:\n    def __init__(self, text: list[Text]): ..."
    modules = {"functions": callable_class, "other": data_class, "importer": importer}
    for source, count in (("functions", 1), ("other", 0), ("importer", 0)):
        tree = ast.parse(user.format(source))
        types = FunctionTypes({**modules, "user": tree})
        assert len(constructors_with_functions(tree, types, "user")) == count


@pytest.mark.parametrize("argument", ["self._start", "start=self._start", "lambda: None"])
def test_method_passed_to_a_constructor_is_found(argument: str) -> None:
    source = f"class A:\n    def __init__(self): B({argument})\n    def _start(self): ..."
    assert methods_passed_to_constructors(parse_source(source))


def test_only_the_snapshot_imports_transitions() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "dagengine").rglob("*.py")
        for node in ast.walk(parse_file(path))
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

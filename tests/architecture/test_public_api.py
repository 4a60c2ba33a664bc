"""The public API is complete: every type in its parameters, results and errors can be imported."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import dagengine
import dagengine.client
import dagengine.errors
import dagengine.extension
import dagengine.mysql
import dagengine.remote
import dagengine.store
import dagengine.testing
from dagengine import Engine, SqliteStore, Subscription
from tests.support.source_trees import nodes_of

ROOT = Path(__file__).parents[2]
LAZY = (dagengine, dagengine.extension, dagengine.remote, dagengine.store)
ERRORS = {
    name: value
    for name, value in vars(dagengine.errors).items()
    if inspect.isclass(value) and issubclass(value, dagengine.errors.DagengineError)
}
EXPORTED = {
    **ERRORS,
    **{name: getattr(module, name) for module in LAZY for name in module.__all__},
}
OF_MYSQL = {name: getattr(dagengine.mysql, name) for name in dagengine.mysql.__all__}
"""Public as well; its own annotations have types of the protocol, which are not exported."""

CLASSES = {name: value for name, value in EXPORTED.items() if inspect.isclass(value)}
PUBLIC = {
    *("dagengine", "dagengine.errors", "dagengine.store", "dagengine.remote"),
    *("dagengine.extension", "dagengine.client", "dagengine.testing", "dagengine.mysql"),
}
HEAVY = {"asyncssh", "cryptography", "pydantic", "yaml", "aiohttp", "rich"}
NOT_EXPORTED = {
    "SshRunner": "what SshPool makes; all that one does with it is in Runner",
    "SshConnection": "SshPool's own; its runners use it",
}
NAMES_OF_ITS_OWN = ("__init__", "__aenter__", "__aiter__")

# Of every module: some annotations use names that their module imports for types only.
NAMES = {
    name: value
    for module in list(sys.modules.values())
    if module.__name__.partition(".")[0] == "dagengine"
    for name, value in vars(module).items()
    if inspect.isclass(value) or typing.get_origin(value) is not None
}


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes of this project in an annotation."""
    if inspect.isclass(hint) and hint.__module__.partition(".")[0] == "dagengine":
        yield hint
    for part in typing.get_args(hint):
        for each in part if isinstance(part, list | tuple) else (part,):
            yield from classes_in(each)


def functions_of(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield its public functions and properties, including those inherited from this project."""
    for name, member in inspect.getmembers(owner):
        function = member.fget if isinstance(member, property) else inspect.unwrap(member)
        if name.startswith("_") and name not in NAMES_OF_ITS_OWN:
            continue
        if inspect.isfunction(function) and function.__module__.startswith("dagengine"):
            yield name, function


def annotated() -> Iterator[tuple[str, Any]]:
    """Yield everything that has annotations, by name."""
    for name, value in EXPORTED.items():
        yield name, value
        if inspect.isclass(value):
            for inner, function in functions_of(value):
                yield f"{name}.{inner}", function


def named_by(value: Any) -> set[type]:
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return set(classes_in(value))  # an alias
    own = vars(sys.modules[value.__module__])
    # `typer` is imported for annotations only: a controller does not load it.
    hints = typing.get_type_hints(value, localns={**NAMES, **CLASSES, "typer": typer, **own})
    return {cls for hint in hints.values() for cls in classes_in(hint)}


def test_public_api_types_in_annotations_are_exported() -> None:
    values = {*CLASSES.values(), *(cls for cls in OF_MYSQL.values() if inspect.isclass(cls))}
    missing = {
        f"{cls.__name__} of {owner}"
        for owner, value in annotated()
        for cls in named_by(value) - values
        if cls.__name__ not in NOT_EXPORTED
    }
    assert missing == set()


def test_public_api_exemptions_are_needed() -> None:
    named = {cls.__name__ for _, value in annotated() for cls in named_by(value)}
    assert set(NOT_EXPORTED) <= named - set(EXPORTED)


def test_public_api_walk_finds_known_members() -> None:
    members = dict(annotated())
    assert {"Engine.submit", "Engine.find_dag", "Engine.__init__", "SqliteStore.commit"} <= {
        *members
    }
    assert {"StepContext.unconfirmed", "Store.prune", "Subscription.next", "script"} <= {*members}
    assert {cls.__name__ for cls in named_by(members["Engine.list_events"])} == {"EventRecord"}
    assert {cls.__name__ for cls in named_by(members["EngineEvent"])} >= {"DagUpdated"}
    assert {cls.__name__ for cls in named_by(members["Stage"])} >= {"StepContext", "Failed"}


async def test_public_api_types_of_attributes_are_exported(tmp_path: Path) -> None:
    """Check attributes without an annotation."""
    store = SqliteStore(tmp_path / "store.sqlite")
    for instance in (Engine(store=store, operations=[]), store, Subscription()):
        for name, value in vars(instance).items():
            if not name.startswith("_") and type(value).__module__.startswith("dagengine"):
                assert type(value) in CLASSES.values(), f"{name} of {instance}"


def test_public_api_documented_errors_are_exported() -> None:
    declared = {
        (name, owner)
        for owner, value in annotated()
        for part in [(inspect.getdoc(value) or "").partition("Raises:\n")[2].partition("\n\n")[0]]
        for names in re.findall(r"^    (\w[\w, ]*): ", part, re.MULTILINE)
        for name in names.split(", ")
    }
    assert {name for name, _ in declared} >= {"TaskNotFound", "LockHeld", "Conflict", "StoreInUse"}
    builtin = {"AssertionError", "OSError", "ValueError"}
    assert {pair for pair in declared if pair[0] not in {*EXPORTED, *OF_MYSQL, *builtin}} == set()


def test_public_api_store_and_remote_errors_are_exported() -> None:
    families = (dagengine.errors.StoreError, dagengine.errors.RemoteError)
    error_classes = {
        error
        for family in families
        for error in (family, *family.__subclasses__())
        if error.__module__.startswith("dagengine.")
    }
    assert error_classes <= set(CLASSES.values())
    assert {"EngineStopped", "UnknownOperation", "InvalidId", "NotSerializable"} <= set(EXPORTED)


def test_mysql_api_types_in_annotations_are_exported() -> None:
    public = {name: getattr(dagengine.mysql, name) for name in dagengine.mysql.__all__}
    calls = [value for value in public.values() if inspect.isroutine(value)]
    for owner in filter(inspect.isclass, public.values()):
        calls += [owner, *(function for _, function in functions_of(owner))]
    hidden = {"Wire", "Capability"}  # `connect` passes these to the connection
    named = {cls.__name__ for call in calls for cls in named_by(call)}
    assert {"Connection", "Result"} <= named <= {*public, *hidden}


def test_public_names_are_unique_and_documented() -> None:
    for module in LAZY:
        assert len(module.__all__) == len(set(module.__all__))
    bare = {
        name
        for name, value in EXPORTED.items()
        if inspect.isclass(value) or inspect.isroutine(value)
        # A dataclass without a docstring has its signature as the docstring.
        if not value.__doc__ or value.__doc__.startswith(f"{name}(")
    }
    assert bare == set()


@pytest.mark.parametrize("owner", ["Engine", "SqliteStore", "Store", "StepContext", "Subscription"])
def test_public_api_methods_are_documented(owner: str) -> None:
    # A method needs no docstring if it implements a documented contract, or if its name suffices.
    plain = {"dag_id", "start"}
    bare = {
        name
        for name, function in functions_of(CLASSES[owner])
        if name not in (*NAMES_OF_ITS_OWN, *plain) and not documented(owner, name, function)
    }
    assert bare == set()


def documented(owner: str, name: str, function: Any) -> bool:
    contract = getattr(dagengine.store.Store, name, None) if owner == "SqliteStore" else None
    return bool(function.__doc__ or (contract and contract.__doc__))


def test_public_name_is_in_one_module() -> None:
    names = Counter(name for module in LAZY for name in module.__all__)
    # Embedders and authors of stores need both.
    assert {name for name, count in names.items() if count > 1} == {"Retention", "SqliteStore"}


def test_dagengine_has_at_most_50_names() -> None:
    assert len(dagengine.__all__) <= 50


def names_for_type_checkers(module: ModuleType) -> dict[str, str]:
    """Return the names in the block `if TYPE_CHECKING:` of a module, and their origins."""
    tree = ast.parse(inspect.getsource(module))
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    return {
        alias.name: str(node.module)
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_lazy_names_agree_with_names_for_type_checkers(module: ModuleType) -> None:
    lazy = {name: source for source, names in module._SOURCES.items() for name in names.split()}
    assert names_for_type_checkers(module) == lazy
    assert {*lazy} == {*module.__all__} - {"__version__"}
    assert {*module.__all__} <= {*dir(module)}
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_lazy_module_with_unknown_name_raises(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonexistent'"):
        module.Nonexistent  # noqa: B018


def modules_loaded_by(program: str) -> set[str]:
    """Return the modules that a fresh process has loaded after running the program."""
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", [*LAZY, dagengine.errors], ids=lambda module: module.__name__)
def test_import_of_public_module_loads_no_library(module: ModuleType) -> None:
    loaded = modules_loaded_by(f"import {module.__name__}")
    assert {"dagengine", module.__name__} <= loaded
    assert loaded & HEAVY == set()


def test_engine_with_store_loads_no_heavy_library() -> None:
    loaded = modules_loaded_by("from dagengine import Engine, Operation, SqliteStore")
    assert {"dagengine.engine.engine", "dagengine.store.sqlite.store"} <= loaded
    # structlog itself loads rich if it is installed.
    assert loaded & HEAVY <= {"rich"}


def test_tasks_imports_public_modules_only() -> None:
    imported = {
        module
        for path in sorted((ROOT / "tasks").rglob("*.py"))
        for node in nodes_of(path)
        for module in (
            [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if module.partition(".")[0] == "dagengine"
    }
    assert imported <= PUBLIC - {"dagengine.testing", "dagengine.client"}

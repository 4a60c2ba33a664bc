"""Tests use public names, and do not sleep, except where a reason is listed here."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.source_trees import parse_file

TESTS = Path(__file__).parents[1]
SLEEPS = {"asyncio.sleep", "time.sleep", "sleep"}
NAMED_TUPLE = {"_asdict", "_fields", "_replace"}
PRIVATE_PATH = re.compile(r"(dagengine|tasks)(\.\w+)*\._[A-Za-z]\w*")

# File: number of sleeps longer than one turn of the event loop, and the reason.
ALLOWED_SLEEPS = {
    "chaos/test_environment_faults.py": (1, "the moment of the signal is the tested condition"),
    "fixtures/record_d8f0381.py": (1, "runs only with the code of an earlier commit"),
    "integration/engine/test_concurrent_requests.py": (1, "a store slower than a time limit"),
    "integration/engine/test_shutdown.py": (1, "a step that ends later than a time limit"),
    "integration/server/test_listener.py": (1, "a client that sends its header slowly"),
    "layouts/database.py": (1, "waits for a real server, outside of an event loop"),
    "layouts/measure.py": (3, "waits for real processes, outside of an event loop"),
    "layouts/real_layout.py": (1, "waits for a real server, outside of an event loop"),
    "layouts/real_seekdb.py": (2, "waits for a real server, outside of an event loop"),
    "soak_fleet/controller.py": (1, "nothing announces a new round to a process"),
    "soak_fleet/lab.py": (1, "the duration of an outage is the tested condition"),
    "support/standin/sql.py": (2, "a stand-in that starts as slowly as a server"),
}

# File: number of accesses to private names, and the reason.
ALLOWED_ACCESS = {
    "architecture/test_public_api.py": (1, "compares the table of lazy imports with the names"),
    "conformance/test_sqlite_lifecycle.py": (
        *(2, "calls a writer whose store is open but ends; asyncio names a thread without loop"),
    ),
    "conformance/test_sqlite_writer.py": (
        *(2, "whether a read uses the file is not visible from outside"),
    ),
    "integration/client/test_event_streams.py": (
        *(5, "small buffers and deadlines; a disconnection is not visible to a blocked client"),
    ),
    "integration/client/test_monitoring_routes.py": (2, "small deadlines"),
    "integration/engine/test_events_and_waits.py": (2, "a small buffer"),
    "support/hostile_cluster.py": (1, "a long deadline, for busy machines"),
    "support/standin/cluster.py": (1, "a subclass extends a method of the demo"),
    "support/standin/sql.py": (2, "members of an enum of a library that are not in its table"),
}


@cache
def sources() -> dict[str, ast.Module]:
    return {
        path.relative_to(TESTS).as_posix(): parse_file(path) for path in sorted(TESTS.rglob("*.py"))
    }


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in NAMED_TUPLE


def sleeps_in(tree: ast.AST) -> Iterator[str]:
    """Calls of sleep; `sleep(0)` is one turn of the event loop and not counted."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(args=[ast.Constant(value=0)]):
                continue
            case ast.Call(func=func) if ast.unparse(func) in SLEEPS:
                yield ast.unparse(node)


def private_access_in(tree: ast.AST) -> Iterator[str]:
    """Private names of other objects, private imports, and private names as text."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls" | "os")):
                continue
            case ast.Attribute(attr=name) if is_private(name):
                yield ast.unparse(node)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] in ("dagengine", "tasks"):
                    yield from (alias.name for alias in names if is_private(alias.name))
            case ast.Constant(value=str(text)) if PRIVATE_PATH.fullmatch(text):
                yield text
            case ast.Call(
                func=ast.Attribute(attr="setattr"), args=[_, ast.Constant(value=str(name)), _]
            ):
                if is_private(name):
                    yield f"setattr {name}"


def counts(find: Callable[[ast.AST], Iterator[str]]) -> dict[str, int]:
    found = {name: len(list(find(tree))) for name, tree in sources().items()}
    return {name: number for name, number in found.items() if number}


def test_tests_sleep_only_for_a_listed_reason() -> None:
    assert counts(sleeps_in) == {name: entry[0] for name, entry in ALLOWED_SLEEPS.items()}


def test_tests_use_private_names_only_for_a_listed_reason() -> None:
    assert counts(private_access_in) == {name: entry[0] for name, entry in ALLOWED_ACCESS.items()}


def test_fixtures_are_not_imported_by_test_modules() -> None:
    exporting = [
        name
        for name, tree in sources().items()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert exporting == []


@pytest.mark.parametrize(
    ("source", "sleeps", "private_names"),
    [
        ("await asyncio.sleep(0)", 0, 0),
        ("await asyncio.sleep(0.1)\ntime.sleep(step_s)", 2, 0),
        ("row._replace(state=1)\nself._x\nobject.__init__", 0, 0),
        ("engine._scheduler.active\nstore._writer", 0, 2),
        ("from dagengine.api.handlers.events import _write", 0, 1),
        ('patch.setattr(module, "_LIMIT_S", 1)', 0, 1),
        ('patch.setattr("dagengine.api.x._LIMIT_S", 1)', 0, 1),
    ],
)
def test_access_in_source_is_counted(source: str, sleeps: int, private_names: int) -> None:
    body = "".join(f"  {line}\n" for line in source.splitlines())
    tree = ast.parse(f"async def f():\n{body}")
    assert len(list(sleeps_in(tree))) == sleeps
    assert len(list(private_access_in(tree))) == private_names

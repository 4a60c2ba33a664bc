"""Files are created by `dagengine.runtime.new_file`, which follows no planted link.

The exceptions write into a directory that they have just created for this user alone.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.source_trees import nodes_in

ROOT = Path(__file__).parents[2]
CREATOR = "dagengine/runtime/new_file.py"

EXCEPTIONS = {
    "dagengine/store/sqlite/lock_file.py": "open_lock_file is the opener",
    "tasks/demo/cluster.py": "below the directory of Reaper (mkdtemp)",
    "tasks/demo/command.py": "below the directory of Reaper (mkdtemp)",
    "tasks/demo/fleet.py": "below the directory of Reaper (mkdtemp)",
    "tasks/demo/hosts.py": "below the directory of Reaper (mkdtemp)",
    "tasks/hosts/meta_db.py": "in a TemporaryDirectory",
}

_WRITERS = {"write_text", "write_bytes", "touch", "mkstemp", "NamedTemporaryFile", "mknod"}
_COPIES = {"copy", "copy2", "copyfile"}


def find_creations(source: str) -> list[int]:
    """Return the lines that may create a file."""
    return [
        node.lineno for node in nodes_in(source) if isinstance(node, ast.Call) and _creates(node)
    ]


def _creates(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if function.attr in _WRITERS or (owner == "shutil" and function.attr in _COPIES):
            return True
        if owner == "os" and function.attr == "open":
            return any("O_CREAT" in ast.unparse(argument) for argument in call.args[1:])
        if function.attr == "open" and owner != "os":
            return _has_write_mode(call, position=0)
        return False
    return isinstance(function, ast.Name) and function.id == "open" and _has_write_mode(call, 1)


def _has_write_mode(call: ast.Call, position: int) -> bool:
    modes = [*call.args[position : position + 1], *(k.value for k in call.keywords)]
    return any(
        isinstance(mode, ast.Constant)
        and isinstance(mode.value, str)
        and set(mode.value) <= set("rwaxbt+")
        and set(mode.value) & set("wax+")
        for mode in modes
    )


def test_product_creates_files_in_one_module() -> None:
    lines = {
        name: found
        for package in ("dagengine", "tasks")
        for file in (ROOT / package).rglob("*.py")
        if (found := find_creations(file.read_text(encoding="utf-8")))
        and (name := str(file.relative_to(ROOT))) != CREATOR
    }
    assert {name: found for name, found in lines.items() if name not in EXCEPTIONS} == {}
    assert sorted(lines) == sorted(EXCEPTIONS), "an exception is no longer needed"


@pytest.mark.parametrize(
    "source",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('x')",
        "path.open('r+')",
        "path.write_text(text)",
        "path.touch()",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
        "tempfile.mkstemp()",
        "shutil.copy(one, other)",
    ],
)
def test_find_creations_finds_each_way(source: str) -> None:
    assert find_creations(source) == [1]


@pytest.mark.parametrize(
    "source",
    ["open(path)", "path.open('rb')", "os.open(path, os.O_RDONLY)", "open(path, encoding='utf-8')"],
)
def test_find_creations_ignores_reading(source: str) -> None:
    assert find_creations(source) == []

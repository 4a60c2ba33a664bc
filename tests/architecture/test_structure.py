"""Checked conventions: file and package sizes, names, tasks, clocks and imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from dagengine import errors
from dagengine.errors import DagengineError
from tests.support.source_trees import nodes_of, parse_file, read_source

ROOT = Path(__file__).parents[2]
PACKAGES = ("dagengine", "tasks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAX_LINES = 400
MAX_TEST_LINES = 700  # the tests of a file are read one at a time
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
# Code that handles any exception: the attempt, the work for one DAG in a pass of the scheduler (a
# defect must not affect other DAGs), the loops of the services and of the writer thread (whose
# callers would wait forever), the end of a foreign coroutine, and the HTTP response.
BROAD_EXCEPTS = {
    "dagengine/engine/attempt.py",
    "dagengine/engine/decisions.py",
    "dagengine/engine/scheduler.py",
    "dagengine/runtime/cancellation.py",
    "dagengine/runtime/service.py",
    "dagengine/store/mysql/writer.py",
    "dagengine/store/sqlite/writer.py",
    "dagengine/api/middleware.py",
}
CLOCK_READERS = {
    "dagengine/runtime/clock.py",
    "dagengine/client/signing.py",  # the wire format's clock: the header has an expiry time
    "tasks/demo/reaper.py",  # a separate program, with the standard library only
}
CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield name_of(path), parse_file(path)


def find(select: Callable[[ast.AST], bool]) -> list[str]:
    """Return the locations of matching nodes in both packages, as `file:line`."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}"
        for path in SOURCES
        for name in (name_of(path),)
        for node in nodes_of(path)
        if select(node)
    ]


def files_of(locations: list[str]) -> set[str]:
    return {location.rpartition(":")[0] for location in locations}


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression, else the empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := dotted(node.value)):
        return f"{front}.{node.attr}"
    return ""


def test_sources_include_both_packages() -> None:
    names = {name_of(path) for path in SOURCES}
    assert {
        "dagengine/engine/attempt.py",
        "dagengine/cli/__init__.py",
        "tasks/operations/start.py",
    } <= names


def test_imports_follow_contracts() -> None:
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"
    done = subprocess.run(
        [lint, "--no-cache", "--config", "setup.cfg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
    assert "Contracts: 0 kept" not in done.stdout


def files_above(limit: int, files: list[Path]) -> list[str]:
    return [name_of(path) for path in files if len(read_source(path).splitlines()) > limit]


def test_source_files_stay_within_line_limit() -> None:
    assert files_above(MAX_LINES, SOURCES) == []


def test_test_files_stay_within_line_limit() -> None:
    assert files_above(MAX_TEST_LINES, TESTS) == []


def test_file_above_line_limit_is_found() -> None:
    longest = max(len(read_source(path).splitlines()) for path in SOURCES)
    assert files_above(longest - 1, SOURCES)


def test_source_files_have_specific_names() -> None:
    names = {path: {*path.relative_to(ROOT).with_suffix("").parts} for path in SOURCES}
    vague = [name_of(path) for path, parts in names.items() if parts & VAGUE_NAMES]
    assert vague == []


def test_dagengine_never_imports_tasks() -> None:
    imports = []
    for name, tree in trees():
        if not name.startswith("dagengine/"):
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module)):
                    modules = [module]
                case _:
                    continue
            imports += [f"{name}: {m}" for m in modules if m.partition(".")[0] == "tasks"]
    assert imports == []


def test_imports_are_absolute() -> None:
    assert find(lambda node: isinstance(node, ast.ImportFrom) and node.level > 0) == []


def catches(node: ast.AST, *names: str) -> bool:
    """Return whether a node is a handler of one of these errors, alone or among others."""
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is not None and dotted(kind) in names for kind in kinds)


def test_broad_except_occurs_only_in_listed_files() -> None:
    assert files_of(find(lambda node: catches(node, "Exception"))) == BROAD_EXCEPTS


def test_except_is_never_bare() -> None:
    assert find(lambda node: isinstance(node, ast.ExceptHandler) and node.type is None) == []


def test_except_of_base_exception_reraises() -> None:
    def swallows(node: ast.AST) -> bool:
        if not catches(node, "BaseException"):
            return False
        assert isinstance(node, ast.ExceptHandler)
        last = node.body[-1]
        return not (isinstance(last, ast.Raise) and last.exc is None)

    assert find(swallows) == []


def test_suppress_is_never_broad() -> None:
    def is_wholesale(node: ast.AST) -> bool:
        return (
            isinstance(node, ast.Call)
            and dotted(node.func).rpartition(".")[2] == "suppress"
            and any(dotted(kind) in ("Exception", "BaseException") for kind in node.args)
        )

    assert find(is_wholesale) == []


def test_asyncio_tasks_have_names() -> None:
    def is_called(node: ast.AST, *names: str) -> bool:
        if not isinstance(node, ast.Call):
            return False
        return getattr(node.func, "attr", getattr(node.func, "id", "")) in names

    def is_nameless(node: ast.AST) -> bool:
        if not is_called(node, "create_task"):
            return False
        assert isinstance(node, ast.Call)
        return all(keyword.arg != "name" for keyword in node.keywords)

    assert find(lambda node: is_called(node, "create_task")) != []
    assert find(is_nameless) == []
    # Tasks of `ensure_future` cannot be named.
    assert find(lambda node: is_called(node, "ensure_future")) == []


def test_clock_is_read_only_in_listed_files() -> None:
    # Every reference counts: passing `time.monotonic` as a value reads it elsewhere.
    mentions = find(lambda node: isinstance(node, ast.Attribute) and dotted(node) in CLOCKS)
    assert files_of(mentions) == CLOCK_READERS

    def takes_clock(node: ast.AST) -> bool:
        return isinstance(node, ast.ImportFrom) and node.module == "time"

    assert find(takes_clock) == []


def modules_of_serve(first: str = "") -> set[str]:
    """Return the top-level modules that `serve` has loaded before it serves."""
    program = (
        f"import sys\n{first}\nimport dagengine.cli.serve, dagengine.server.controller\n"
        "assert dagengine.server.plugins.load_extension_points().points\n"
        "print(*{name.partition('.')[0] for name, module in sys.modules.items() if module})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_serve_does_not_load_typer() -> None:
    loaded = modules_of_serve()
    assert {"dagengine", "tasks", "aiohttp"} <= loaded
    assert loaded & {"typer", "click", "pytest", "pylibseekdb"} == set()


def test_serve_loads_rich_only_through_structlog() -> None:
    # structlog imports rich if it is installed, and works without it. With rich hidden, any other
    # module that needs it fails here.
    loaded = modules_of_serve("sys.modules['rich'] = None")
    assert "structlog" in loaded
    assert "rich" not in loaded


def test_errors_docstring_matches_class_tree() -> None:
    documented_bases, path = {}, [DagengineError.__name__]
    for line in (errors.__doc__ or "").splitlines():
        if entry := re.match(r"    ([│ ]*)[├└]── (\w+)", line):
            depth = 1 + len(entry[1]) // 4
            path[depth:] = [entry[2]]
            documented_bases[entry[2]] = path[depth - 1]
    actual_bases = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, DagengineError) and name not in path[:1]
    }
    assert documented_bases == actual_bases


def test_migrations_are_numbered_without_gap_or_duplicate() -> None:
    names = sorted(p.name for p in (ROOT / "dagengine/store/sqlite/migrations").glob("*.sql"))
    assert [int(name[:4]) for name in names] == list(range(7, len(names) + 7)), names


def test_decision_pages_are_numbered_without_gap() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for number, page in zip(numbers, pages, strict=True):
        assert page.read_text(encoding="utf-8").startswith(f"# {number}. ")


def test_operator_refused_always_has_remedy() -> None:
    calls = [
        (path.name, call)
        for path in SOURCES
        for call in nodes_of(path)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "OperatorRefused"
    ]
    bare = [
        f"{name}:{call.lineno}"
        for name, call in calls
        if "remedy" not in [keyword.arg for keyword in call.keywords]
    ]
    assert calls
    assert bare == []


def test_product_folders_have_at_most_16_modules() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    sizes = {
        folder.relative_to(ROOT).as_posix(): len(
            [module for module in folder.glob("*.py") if module.name != "__init__.py"]
        )
        for folder in folders
    }
    assert len(sizes) > 20
    assert {folder: size for folder, size in sizes.items() if size > 16} == {}

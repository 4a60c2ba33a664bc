"""Addresses, watched files, backoff and exit codes have one definition each."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagengine.cli.exit_codes import ExitCode
from tests.support.source_trees import nodes_of

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for name in ("dagengine", "tasks") for path in (ROOT / name).rglob("*.py"))


def files_with(select: Callable[[ast.AST], bool]) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for node in nodes_of(path)
        if select(node)
    }


def splits_at_last_colon(node: ast.AST) -> bool:
    """Return whether a node is `text.rpartition(":")` or `text.rsplit(":", …)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("rpartition", "rsplit")
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == ":"
    )


def puts_brackets_around_host(node: ast.AST) -> bool:
    """Return whether a node is an f-string such as `[{host}]` or `[{ip}]:{port}`."""
    return isinstance(node, ast.JoinedStr) and bool(
        re.search(r"\[\{[^{}]*\b(host|ip)\b[^{}]*\}\]", ast.unparse(node))
    )


def is_named(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names


def reads_change_time(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ("st_mtime_ns", "st_mtime")


def repeats_last_step(node: ast.AST) -> bool:
    """Return whether a node is `min(index, len(steps) - 1)`."""
    return (
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "min"
        and any(re.fullmatch(r"len\(.+\) - 1", ast.unparse(part)) for part in node.args)
    )


def assigned_names(node: ast.AST) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else ()
    for target in targets:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        yield from (part.id for part in parts if isinstance(part, ast.Name))


def assigns_exit_code(node: ast.AST) -> bool:
    return any(re.match(r"_?EXIT_", name) for name in assigned_names(node))


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # `ip:port:timestamp` in the database's lists of members: removes the timestamp.
        (splits_at_last_colon, {"dagengine/runtime/addresses.py", "tasks/sql/cluster.py"}),
        # The names in a known_hosts file have brackets if they have a port.
        (
            puts_brackets_around_host,
            {"dagengine/runtime/addresses.py", "dagengine/remote/ssh/known_hosts.py"},
        ),
        (
            lambda node: is_named(node, "parse_host_port", "render_host_port"),
            {"dagengine/runtime/addresses.py"},
        ),
        (reads_change_time, {"dagengine/runtime/watched_file.py"}),
        (lambda node: is_named(node, "WatchedFile"), {"dagengine/runtime/watched_file.py"}),
        (repeats_last_step, {"dagengine/runtime/backoff.py"}),
        (lambda node: is_named(node, "Backoff"), {"dagengine/runtime/backoff.py"}),
        (lambda node: is_named(node, "ExitCode"), {"dagengine/cli/exit_codes.py"}),
        (assigns_exit_code, set()),
    ],
    ids=[
        *("parse address", "render address", "address functions", "change time", "watched file"),
        *("repeated step", "backoff", "exit codes", "exit constants"),
    ],
)
def test_shared_knowledge_has_one_definition(
    select: Callable[[ast.AST], bool], expected: set[str]
) -> None:
    assert files_with(select) == expected


def imports_argparse(node: ast.AST) -> bool:
    return isinstance(node, ast.Import) and any(alias.name == "argparse" for alias in node.names)


def test_argparse_is_used_by_serve_only() -> None:
    assert files_with(imports_argparse) == {"dagengine/cli/usage/serve_options.py"}


def test_exit_codes_keep_their_values() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
        "INTERRUPTED": 130,
    }

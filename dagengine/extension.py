"""What an operations package hands to dagengine: operations, routes, a cluster view, commands.

The package registers one `Extension` under the entry point group `dagengine.operations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from dagengine.api.extension import ClusterView, Route
from dagengine.model.operation import Operation
from dagengine.remote.runner import RunnerPool
from dagengine.runtime.clock import Clock

ENTRY_POINT_GROUP = "dagengine.operations"


@dataclass(frozen=True, slots=True)
class ExtensionContext:
    """What an extension is opened with.

    Attributes:
        cluster_file: as named by the engine file.
        pool: runs commands on hosts.
        clock: where time comes from.
    """

    cluster_file: Path
    pool: RunnerPool
    clock: Clock


@dataclass(frozen=True, slots=True)
class Extension:
    """An opened extension.

    Attributes:
        operations: what the engine can run.
        routes: what the API serves for them.
        cluster: the cluster they act on.
        reload: re-reads the cluster file; raises ConfigError and keeps the old one when the
            new one is broken. Called on SIGHUP and before every new DAG and RETRY.
    """

    operations: Sequence[Operation]
    routes: Sequence[Route]
    cluster: ClusterView
    reload: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the extension adds to the command line, such as `demo`.

    Attributes:
        help: one line.
        run: takes the arguments after the command's name and returns the exit code.
    """

    help: str
    run: Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Plugin:
    """The object that the entry point names.

    Attributes:
        name: for messages.
        open: opens the extension; leaving the context closes what it opened.
        commands: extra commands by name.
    """

    name: str
    open: Callable[[ExtensionContext], AbstractAsyncContextManager[Extension]]
    commands: Mapping[str, Command] = field(default_factory=dict)

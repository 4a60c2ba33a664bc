"""The types of a plug-in. Importing them loads neither the engine nor the API: see `tasks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from dagengine.api.extension import ClusterView, Route
    from dagengine.model.operation import Operation
    from dagengine.remote.runner import RunnerPool
    from dagengine.runtime.clock import Clock

ENTRY_POINT_GROUP = "dagengine.operations"


@dataclass(frozen=True, slots=True)
class ExtensionContext:
    """The arguments with which an extension is opened.

    Attributes:
        cluster_file: path of the cluster file, as named in the engine file.
        pool: runs commands on hosts.
        clock: source of time.
    """

    cluster_file: Path
    pool: RunnerPool
    clock: Clock


@dataclass(frozen=True, slots=True)
class Extension:
    """An opened extension.

    Attributes:
        operations: the operations that the engine can run.
        routes: the API routes of these operations.
        cluster: the cluster that the operations change.
        reload: re-reads the cluster file. If the new content is invalid, raises ConfigError and
            keeps the old content. Called on SIGHUP and before every new DAG and RETRY.
    """

    operations: Sequence[Operation]
    routes: Sequence[Route[Any]]
    cluster: ClusterView
    reload: Callable[[], None]


@dataclass(frozen=True, slots=True)
class CliCommand:
    """A command that the extension adds to the command line, such as `demo`.

    Attributes:
        help: help text of one line.
        app: builds the command, which ends with `typer.Exit` and an `ExitCode`. It is called only
            to run the command, so that `dagengine --help` does not import it.
    """

    help: str
    app: Callable[[], typer.Typer]


@dataclass(frozen=True, slots=True)
class Plugin:
    """The object that the entry point refers to.

    Attributes:
        name: the plugin's name in messages.
        open: opens the extension; exiting the context closes everything that it opened.
        commands: additional commands by name.
    """

    name: str
    open: Callable[[ExtensionContext], AbstractAsyncContextManager[Extension]]
    commands: Mapping[str, CliCommand] = field(default_factory=dict)

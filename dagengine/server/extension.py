"""The types of a plug-in. Importing them loads neither the engine nor the API: see `tasks`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from dagengine.api.extension import ClusterView, MetricSource, Route
    from dagengine.model.operation import Operation
    from dagengine.remote.runner import RunnerPool
    from dagengine.runtime.clock import Clock
    from dagengine.store.mysql.identity import ServerIdentity
    from dagengine.web.changes import ChangeSignal
    from dagengine.web.page import Page, ServerCount


async def _read_no_identities() -> Sequence[ServerIdentity]:
    return ()


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
        metrics: metrics of the operations, for /metrics.
        translations: texts of the errors of its routes in other languages: by language, such as
            `zh`, the templates by the keys of the messages.
        pages: the pages of the operations, in the order of the menu; before those about DAGs.
        count_servers: returns how many servers are up, for the header of every page; None if it
            is not known. It never contacts a host.
        signals: report to open pages that something else than a DAG has changed, such as the
            state of a server.
        running: entered while this controller runs the cluster's DAGs, that is each time its
            engine opens. Connections to hosts belong here: on a shared store, a controller that
            does not own the cluster must not contact them.
        read_identities: returns the identities of the cluster's database servers that answer SQL
            now. A shared store must not be on one of them.
    """

    operations: Sequence[Operation]
    routes: Sequence[Route[Any]]
    cluster: ClusterView
    reload: Callable[[], None]
    metrics: MetricSource | None = None
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pages: Sequence[Page] = ()
    count_servers: Callable[[], ServerCount | None] = lambda: None
    signals: Sequence[ChangeSignal] = ()
    running: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    read_identities: Callable[[], Awaitable[Sequence[ServerIdentity]]] = _read_no_identities


class CommandGroup(StrEnum):
    """The groups of commands in `dagengine --help`, in this order."""

    SETUP = "Set-up"
    CHANGE = "Start and stop"
    FOLLOW = "Status and progress"
    OPERATE = "Failed and running DAGs"
    STORE = "Store"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class CliCommand:
    """A command that the extension adds to the command line, such as `demo`.

    Attributes:
        help: help text of one line.
        app: builds the command, which ends with `typer.Exit` and an `ExitCode`. It is called only
            to run the command, so that `dagengine --help` does not import it.
        group: heading under which `dagengine --help` lists the command.
    """

    help: str
    app: Callable[[], typer.Typer]
    group: CommandGroup = CommandGroup.OTHER


@dataclass(frozen=True, slots=True)
class Plugin:
    """The object that the entry point refers to.

    Attributes:
        name: the plugin's name in messages.
        open: opens the extension; exiting the context closes everything that it opened.
        commands: additional commands by name.
        check_names: returns the names that `--skip-check` accepts, for completion in a shell.
    """

    name: str
    open: Callable[[ExtensionContext], AbstractAsyncContextManager[Extension]]
    commands: Mapping[str, CliCommand] = field(default_factory=dict)
    check_names: Callable[[], Iterable[str]] = tuple

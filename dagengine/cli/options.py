"""Options shared by several commands."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import typer

from dagengine.cli import messages
from dagengine.cli.completion import (
    complete_checks,
    complete_clusters,
    complete_dag_ids,
    complete_servers,
    complete_zones,
)
from dagengine.error_codes import Code
from dagengine.errors import ApiRefused, ConfigError

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:2886"


def call_service(service: str, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a call of the service.

    Args:
        service: URL of the service; for the error.
        work: the call.

    Raises:
        ConfigError: the URL is that of one cluster.
        ControllerUnreachable, ApiRefused: the service cannot be called.
    """
    import asyncio  # noqa: PLC0415  # the help does not need it

    try:
        return asyncio.run(work)
    except ApiRefused as exc:
        if exc.code != Code.ROUTE_NOT_FOUND:
            raise
        raise ConfigError(
            messages.NOT_A_SERVICE(url=service), remedy=messages.NAME_SERVICE()
        ) from exc


def find_cluster_url(service: str, cluster: str) -> str:
    """Return the URL of a cluster's API: of its socket, if the service is reached by a socket.

    Args:
        service: URL of the service.
        cluster: name of the cluster.

    Raises:
        ConfigError: the service does not have the cluster.
        ControllerUnreachable, ApiRefused: the service cannot be called.
    """
    from dagengine.cli.session import open_fleet_client  # noqa: PLC0415

    async def list_clusters() -> list[dict[str, Any]]:
        async with open_fleet_client(service) as client:
            return await client.list_clusters()

    clusters = call_service(service, list_clusters())
    for each in clusters:
        if each["name"] == cluster:
            is_local = service.startswith("unix:") and each["socket"]
            return f"unix:{each['socket']}" if is_local else str(each["url"])
    known = ", ".join(str(each["name"]) for each in clusters)
    raise ConfigError(
        messages.CLUSTER_UNKNOWN(url=service, name=cluster), remedy=messages.KNOWN(known=known)
    )


def find_service_url(engine_file: Path) -> str:
    """Return the URL of the socket of the service that an engine file describes.

    Raises:
        ConfigError: the file cannot be used, or describes no service.
    """
    from dagengine.server.config import load_config  # noqa: PLC0415

    service = load_config(engine_file, os.environ).service_config
    if service is None:
        raise ConfigError(
            messages.SERVICE_MISSING(path=engine_file), remedy=messages.ADD_SERVICE_SECTION()
        )
    return f"unix:{service.socket}"


def _use_socket(ctx: typer.Context, url: str) -> str:
    """Return the URL of a cluster's API.

    With `-c FILE` it is that of the cluster's unix socket, with `--cluster NAME` alone that which
    the service at the URL states. With `--service` it is that of the service.
    """
    config: Path | None = ctx.params.get("config")
    cluster: str | None = ctx.params.get("cluster")
    is_service = bool(ctx.params.get("service"))
    if config is None:
        return url if cluster is None or is_service else find_cluster_url(url, cluster)
    source = ctx.get_parameter_source("url")
    if source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(messages.CONFIG_AND_URL())
    if is_service:
        return find_service_url(config)
    from dagengine.server.config import load_config  # noqa: PLC0415

    path = load_config(config, os.environ).find_cluster(cluster).socket_path
    if path is None:
        raise ConfigError(messages.SOCKET_DISABLED(path=config), remedy=messages.USE_URL())
    return f"unix:{path}"


Url: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="DAGENGINE_URL",
        callback=_use_socket,
        help="URL of the controller: http://…, https://… (DAGENGINE_CA_FILE: file of the CA that "
        "signed its certificate) or unix:PATH.",
    ),
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        is_eager=True,  # before the URL
        help="Engine file of a controller on this machine, in place of --url: its socket needs "
        "no password for root and for the user that runs it.",
    ),
]
Cluster: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        is_eager=True,  # before the URL
        help="One of several clusters: of the file with -c, otherwise of the service at --url.",
        autocompletion=complete_clusters,
    ),
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr."),
]
Hints: TypeAlias = Annotated[
    bool,
    typer.Option("--hints/--no-hints", hidden=True, help="Print the commands to run next."),
]


def _find_engine_file() -> Path:
    from dagengine.server.config import find_engine_file  # noqa: PLC0415  # loads pydantic

    return find_engine_file()


EngineFile: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The engine file.",
        default_factory=_find_engine_file,
        show_default="engine.yaml here or in /etc/dagengine",
    ),
]
Reason: TypeAlias = Annotated[str, typer.Option(metavar="TEXT", help="Reason for the audit.")]
OneOfClusters: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="NAME", help="Name of the cluster, if the engine file has several."
    ),
]
Yes: TypeAlias = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask on a terminal before it ends servers or DAGs."),
]
Zones: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="ZONE,…", help="Zones, such as z1,z2.", autocompletion=complete_zones),
]
Servers: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="SERVER,…",
        help="Servers as ip:port, separated by commas.",
        autocompletion=complete_servers,
    ),
]
ForcePass: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="Id of a DAG that holds the lock of the cluster. Repeat for more.",
        autocompletion=complete_dag_ids,
    ),
]
SkipCheck: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CHECK",
        help="Name of a check that must not block. Repeat for more.",
        autocompletion=complete_checks,
    ),
]
NoWait: TypeAlias = Annotated[
    bool, typer.Option("--no-wait", help="Return as soon as the DAG is accepted.")
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan; change nothing.")
]
IfPlan: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="DIGEST",
        help="Digest that --dry-run has printed: do nothing if the plan has changed since.",
    ),
]
_ID_HELP = "The DAG's id, `last`, or digits in which only it ends."
DagId: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=complete_dag_ids)
]
OptionalDagId: TypeAlias = Annotated[
    str, typer.Argument(metavar="ID", help=_ID_HELP, autocompletion=complete_dag_ids)
]


def takes_config(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options `-c FILE` and `--cluster NAME`, which set its `url`.

    A command that has an option of one of these names keeps its own.
    """
    signature = inspect.signature(command, eval_str=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in (("config", Config), ("cluster", Cluster))
        if name not in signature.parameters
    ]
    added = [option.name for option in options]

    @functools.wraps(command)
    def run(**arguments: object) -> None:
        command(**{name: value for name, value in arguments.items() if name not in added})

    parameters = [*signature.parameters.values(), *options]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def read_scope(zone: str | None, server: str | None) -> tuple[str, list[str]]:
    """Return scope and targets of a command; None stands for an option that was not given.

    Raises:
        typer.BadParameter: both options are given, or one names no target: an unset shell variable
            must not select the whole cluster.
    """
    if zone is not None and server is not None:
        raise typer.BadParameter(messages.ZONE_AND_SERVER())
    for scope, names in (("ZONE", zone), ("SERVER", server)):
        if names is None:
            continue
        targets = [name.strip() for name in names.split(",") if name.strip()]
        if not targets:
            option = f"--{scope.lower()}"
            raise typer.BadParameter(messages.TARGETS_EMPTY(option=option, target=scope.lower()))
        return scope, targets
    return "GLOBAL", []

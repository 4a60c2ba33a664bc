"""Options shared by several commands."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from dagengine.cli import messages

DEFAULT_URL = "http://127.0.0.1:2886"

Url: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="DAGENGINE_URL",
        help="URL of the controller: http://…, https://… (DAGENGINE_CA_FILE: file of the CA that "
        "signed its certificate) or unix:PATH.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr."),
]
Reason: TypeAlias = Annotated[str, typer.Option(help="Reason for the audit.")]
Zones: TypeAlias = Annotated[str | None, typer.Option(help="Zones, such as z1,z2.")]
Servers: TypeAlias = Annotated[
    str | None, typer.Option(help="Servers as ip:port, separated by commas.")
]
ForcePass: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Id of a DAG that holds the lock of the cluster.")
]
SkipCheck: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Name of a check that must not block.")
]
NoWait: TypeAlias = Annotated[
    bool, typer.Option("--no-wait", help="Return as soon as the DAG is accepted.")
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan; change nothing.")
]
DagId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The DAG's id.")]


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

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
        help="Where the controller answers: http://…, https://… (DAGENGINE_CA_FILE names who may "
        "have signed its certificate) or unix:PATH.",
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")
]
Reason: TypeAlias = Annotated[str, typer.Option(help="Why; kept in the audit.")]
Zones: TypeAlias = Annotated[str | None, typer.Option(help="Zones: z1,z2")]
Servers: TypeAlias = Annotated[str | None, typer.Option(help="Servers: ip:port,…")]
ForcePass: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Id of a task that holds the cluster locked.")
]
SkipCheck: TypeAlias = Annotated[list[str] | None, typer.Option(help="Check that may not block.")]
NoWait: TypeAlias = Annotated[bool, typer.Option("--no-wait", help="Return once accepted.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be done; nothing is changed.")
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
    for scope, given in (("ZONE", zone), ("SERVER", server)):
        if given is None:
            continue
        targets = [name.strip() for name in given.split(",") if name.strip()]
        if not targets:
            option = f"--{scope.lower()}"
            raise typer.BadParameter(messages.TARGETS_EMPTY(option=option, target=scope.lower()))
        return scope, targets
    return "GLOBAL", []

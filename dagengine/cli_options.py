"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")
]
Reason: TypeAlias = Annotated[str, typer.Option(help="Why; kept in the audit.")]
Zones: TypeAlias = Annotated[str, typer.Option(help="Zones: z1,z2")]
Servers: TypeAlias = Annotated[str, typer.Option(help="Servers: ip:port,…")]
ForcePass: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Id of a task that holds the cluster locked.")
]
SkipCheck: TypeAlias = Annotated[list[str] | None, typer.Option(help="Check that may not block.")]
NoWait: TypeAlias = Annotated[bool, typer.Option("--no-wait", help="Return once accepted.")]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be done; nothing is changed.")
]
DagId: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The DAG's id.")]


def read_scope(zone: str, server: str) -> tuple[str, list[str]]:
    """Scope and targets of a command. Raises typer.BadParameter when both are given."""
    if zone and server:
        raise typer.BadParameter("give --zone or --server, not both")
    scope = "ZONE" if zone else "SERVER" if server else "GLOBAL"
    return scope, [name for name in (zone or server).split(",") if name]

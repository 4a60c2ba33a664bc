"""The command `token`: API tokens of the controller's cluster."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dagengine.cli import messages
from dagengine.cli.completion import complete_clusters
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.options import DEFAULT_URL, AsJson, Reason, Url
from dagengine.cli.session import current_screen, print_result, run
from dagengine.cli.views.screen import print_lines
from dagengine.cli.views.tables import render_tokens
from dagengine.runtime.clock import SystemClock

if TYPE_CHECKING:
    from dagengine.client import Client

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

TOKEN_EXAMPLES = (
    "dagengine token create --name ci --expires 30d -c engine.yaml",
    "dagengine token list -c engine.yaml",
    "dagengine token revoke --name ci -c engine.yaml",
)


def token(
    action: Annotated[Literal["create", "list", "revoke"], typer.Argument()],
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="Name of the token, which the audit shows."),
    ] = "",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="The token may read and plan, not change.")
    ] = False,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="Time until it expires, such as 12h or 30d.")
    ] = "",
    service: Annotated[
        bool,
        typer.Option(
            "--service",
            is_eager=True,  # before the URL
            help="A token of the service, not of one cluster.",
        ),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            is_eager=True,  # before the URL
            help="The cluster, if there are several; with --service: those that the token may "
            "use, separated by commas.",
            autocompletion=complete_clusters,
        ),
    ] = None,
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Create, list or revoke API tokens, as root@sys or at the socket (-c FILE)."""
    if (action == "list") == bool(name):
        raise typer.BadParameter(
            messages.TOKEN_NAME_UNUSED() if name else messages.TOKEN_NAME_MISSING(action=action)
        )
    clusters = read_clusters(cluster) if service else None
    lifetime_s = parse_lifetime(expires) if expires else None

    async def work(client: Client) -> int:
        if action == "create":
            created = await client.create_token(
                name,
                read_only=read_only,
                expires_s=lifetime_s,
                service=service,
                clusters=clusters,
            )
            if not as_json:
                print_lines(sys.stderr, [messages.TOKEN_CREATED(name=name)])
            print_result(as_json, created, [created["token"]])
        elif action == "revoke":
            await client.revoke_token(name, reason=reason, service=service)
            print_result(as_json, {"name": name}, [messages.TOKEN_REVOKED(name=name)])
        else:
            tokens = await client.list_tokens(service=service)
            print_result(
                as_json, tokens, render_tokens(tokens, SystemClock().now(), current_screen())
            )
        return ExitCode.DONE

    run(url, work, accepts_token=False)


def parse_lifetime(text: str) -> int:
    """Return the seconds of a duration such as `30d`; raise typer.BadParameter."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(messages.DURATION_INVALID(text=text))
    return int(match[1]) * _SECONDS[match[2]]


def read_clusters(names: str | None) -> list[str] | None:
    """Return the clusters of an option; None if it was not given, which means all.

    Raises:
        typer.BadParameter: the option is empty, because an unset shell variable must not select
            all clusters.
    """
    if names is None:
        return None
    clusters = [name.strip() for name in names.split(",") if name.strip()]
    if not clusters:
        raise typer.BadParameter(messages.TOKEN_CLUSTERS())
    return clusters

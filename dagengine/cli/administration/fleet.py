"""The command `fleet`: all clusters of a service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dagengine.cli import messages
from dagengine.cli.completion import complete_clusters
from dagengine.cli.confirmation import ask, is_interactive
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.options import AsJson, Reason, Yes, call_service, find_service_url
from dagengine.cli.session import current_screen, open_fleet_client, print_result
from dagengine.cli.views.fleet import render_fleet, render_results
from dagengine.cli.views.screen import print_lines
from dagengine.runtime.clock import SystemClock

if TYPE_CHECKING:
    from dagengine.client import Dto, FleetClient

_ENDED = ("SUCCEED", "FAILED")
_POLL_S = 0.5
_NEWEST = 100

FLEET_EXAMPLES = (
    "dagengine fleet list -c engine.yaml",
    "dagengine fleet start --cluster demo,prod -c engine.yaml",
    "dagengine fleet forget demo -c engine.yaml",
)


def fleet(
    action: Annotated[
        Literal["list", "start", "forget"],
        typer.Argument(help="Without one: list."),
    ] = "list",
    name: Annotated[str, typer.Argument(metavar="NAME", help="forget: name of the cluster.")] = "",
    cluster: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="start: clusters, separated by commas.",
            autocompletion=complete_clusters,
        ),
    ] = "",
    reason: Reason = "",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="start: return as soon as the tasks are accepted.")
    ] = False,
    yes: Yes = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Engine file of a controller on this machine, in place of --url.",
        ),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="DAGENGINE_URL",
            help="URL of the service: unix:PATH, or https://… with DAGENGINE_CERT_FILE and "
            "DAGENGINE_KEY_FILE, or DAGENGINE_TOKEN.",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List all clusters and controllers, start clusters, or forget a cluster.

    The exit code of list is 1 if a configured cluster is not served, that of start if a cluster
    refuses the request or its task fails.
    """
    if (action == "forget") is not bool(name):
        raise typer.BadParameter(messages.FLEET_FORGET_USAGE())
    names = [part for each in cluster.split(",") if (part := each.strip())]
    if (action == "start") is not bool(names):
        raise typer.BadParameter(messages.FLEET_START_USAGE())
    service = _find_service(config, url)
    try:
        match action:
            case "list":
                code = _list(service, as_json)
            case "start":
                code = _start(service, names, reason, no_wait, as_json)
            case "forget":
                code = _forget(service, name, yes, as_json)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


def _find_service(config: Path | None, url: str) -> str:
    if config is None:
        if not url:
            raise typer.BadParameter(messages.FLEET_URL_MISSING())
        return url
    return find_service_url(config)


def _list(service: str, as_json: bool) -> int:
    async def read() -> tuple[list[Dto], list[Dto]]:
        async with open_fleet_client(service) as client:
            return await client.list_clusters(), await client.list_controllers()

    clusters, controllers = call_service(service, read())
    document = {"clusters": clusters, "controllers": controllers}
    print_result(
        as_json,
        document,
        render_fleet(clusters, controllers, SystemClock().now(), current_screen()),
    )
    is_bad = any(cluster["condition"] == "refused" for cluster in clusters)
    return ExitCode.FAILED if is_bad else ExitCode.DONE


def _start(service: str, names: list[str], reason: str, no_wait: bool, as_json: bool) -> int:
    request: Dto = {"scope": {"type": "GLOBAL"}, **({"reason": reason} if reason else {})}

    async def start_all() -> list[Dto]:
        async with open_fleet_client(service) as client:
            results = await client.start(names, request)
            if not no_wait:
                for result in results:
                    await _wait_for_end(client, result)
            return results

    results = call_service(service, start_all())
    print_result(as_json, results, render_results(results))
    is_good = all(
        result["error"] is None and (no_wait or result["dag"]["state"] == "SUCCEED")
        for result in results
    )
    return ExitCode.DONE if is_good else ExitCode.FAILED


async def _wait_for_end(client: FleetClient, result: Dto) -> None:
    """Poll a cluster's newest DAGs until the accepted one has ended; update the result."""
    from asyncio import sleep  # noqa: PLC0415

    while result["dag"] is not None and result["dag"]["state"] not in _ENDED:
        await sleep(_POLL_S)
        page, _ = await client.search_dags(clusters=[result["cluster"]], limit=_NEWEST)
        dags = [each["dag"] for each in page if each["dag"]["id"] == result["dag"]["id"]]
        if not dags:
            return  # many newer ones exist
        result["dag"] = dags[0]


def _forget(service: str, name: str, is_agreed: bool, as_json: bool) -> int:
    if not is_agreed and is_interactive() and not ask([messages.FLEET_FORGET(name=name)]):
        print_lines(sys.stderr, [messages.NOTHING_CHANGED()])
        return ExitCode.FAILED

    async def call() -> None:
        async with open_fleet_client(service) as client:
            await client.forget(name)

    call_service(service, call())
    print_result(as_json, {"forgotten": name}, [messages.FLEET_FORGOTTEN(name=name)])
    return ExitCode.DONE

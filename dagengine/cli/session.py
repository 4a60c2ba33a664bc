"""Shared parts of the client commands: connecting, following a DAG, printing results.

Functions import asyncio and the HTTP client themselves: `--help` needs neither.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.render import UNFINISHED, Json, is_clear, render_end, render_plan, running_hints
from dagengine.runtime.clock import SystemClock

if TYPE_CHECKING:
    from dagengine.client import Client, TlsConfig

PASSWORD_VARIABLE = "DAGENGINE_PASSWORD"  # noqa: S105  # the variable's name
_URL = re.compile(r"unix:.|https?://[^/]")
_TRUST_VARIABLES = ("DAGENGINE_CA_FILE", "DAGENGINE_CERT_FILE", "DAGENGINE_KEY_FILE")


def run(url: str, work: Callable[[Client], Awaitable[int]]) -> None:
    """Run a command's work with a client, and exit.

    Raises:
        typer.Exit: always; it carries the exit code.
    """
    import asyncio  # noqa: PLC0415

    opened = open_client(url)

    async def main() -> int:
        async with opened as client:
            return await work(client)

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


async def report_result(
    client: Client, result: Json, dry_run: bool, no_wait: bool, as_json: bool
) -> int:
    """Print the result of a call that creates a DAG, and return the exit code.

    The result is the plan (`dry_run`), the accepted DAG (`no_wait`), or the DAG at its end.
    """
    if not dry_run:
        return await _follow_accepted(client, result, no_wait, as_json)
    print_result(as_json, result, render_plan(result))
    return ExitCode.DONE if is_clear(result) else ExitCode.FAILED


async def _follow_accepted(client: Client, dag: Json, no_wait: bool, as_json: bool) -> int:
    if no_wait:
        print_result(as_json, dag, render_end(dag))
        return ExitCode.DONE
    sys.stderr.write(f"{messages.ACCEPTED(name=dag['name'], dag_id=dag['id'])}\n")
    return await follow_to_end(client, dag["id"], as_json)


async def read_waits(client: Client, dag: Json) -> dict[str, Json]:
    """Return the waits of the sub-tasks of each unfinished stage.

    The DAG's own data has only one wait per server, so they are read from the stages.
    """
    if dag["state"] not in UNFINISHED:
        return {}
    nodes = [await client.get_node(n["id"]) for n in dag["nodes"] if n["state"] in UNFINISHED]
    return {node["id"]: (node["additional_data"] or {}).get("wait", {}) for node in nodes}


def operate(
    dag_id: str,
    operator: str,
    reason: str,
    url: str,
    as_json: bool,
    *,
    good: Iterable[str],
    stage: int | None = None,
) -> None:
    """Apply an operator to a DAG (PASS: or to one stage, counted from 1), and follow the DAG.

    The exit code is 0 if the DAG ends in one of the `good` states.
    """

    async def work(client: Client) -> int:
        from dagengine.cli.progress import find_last_event  # noqa: PLC0415

        last = await find_last_event(client, dag_id)
        with _hint_on_interrupt(dag_id):
            if stage is not None:
                await _pass_node(client, dag_id, stage, reason)
            else:
                await client.operate_dag(dag_id, operator, reason=reason)
            dag = await _wait(client, dag_id, as_json, last)
        return ExitCode.DONE if dag["state"] in good else ExitCode.FAILED

    run(url, work)


async def _pass_node(client: Client, dag_id: str, stage: int, reason: str) -> None:
    nodes = (await client.get_dag(dag_id))["nodes"]
    if stage > len(nodes):
        raise typer.BadParameter(messages.NODE_UNKNOWN(stage=stage, stages=len(nodes)))
    await client.pass_node(nodes[stage - 1]["id"], reason=reason)


async def follow_to_end(client: Client, dag_id: str, as_json: bool) -> int:
    """Show a DAG until it ends; return the exit code."""
    with _hint_on_interrupt(dag_id):
        ended = await _wait(client, dag_id, as_json)
    return ExitCode.DONE if ended["state"] == "SUCCEED" else ExitCode.FAILED


@contextmanager
def _hint_on_interrupt(dag_id: str) -> Iterator[None]:
    """Print how to follow the DAG if an interrupt ends the command but not the DAG."""
    from asyncio import CancelledError  # noqa: PLC0415

    try:
        yield
    except CancelledError:
        following = "\n".join(running_hints(dag_id))
        sys.stderr.write(f"\n{messages.INTERRUPTED()}\n{following}\n")
        raise


async def _wait(client: Client, dag_id: str, as_json: bool, after: int = 0) -> Json:
    from dagengine.cli.progress import follow  # noqa: PLC0415

    stream = sys.stderr if as_json else sys.stdout
    dag = await follow(client, dag_id, stream, SystemClock(), after=after)
    if as_json:
        print_result(True, dag, [])
    return dag


def print_result(as_json: bool, value: Any, lines: Sequence[str]) -> None:
    """Print the value as one JSON document, or the lines; empty `lines` print nothing."""
    output_lines = [json.dumps(value, ensure_ascii=False, indent=2)] if as_json else lines
    sys.stdout.write("".join(f"{line}\n" for line in output_lines))


def open_client(url: str) -> Client:
    """Return a client that is not entered yet; prompt for a password if required and not set.

    Raises:
        typer.BadParameter: the URL is not valid for a controller.
    """
    if not _URL.match(url):
        raise typer.BadParameter(messages.URL_INVALID(url=url))
    from dagengine.client import Client  # noqa: PLC0415

    password = "" if url.startswith("unix:") else _read_password()
    return Client(url, password, trust=_read_trust())


def _read_password() -> str:
    """Read the password from the variable or, on a terminal, from a prompt.

    It is never taken from an argument.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and sys.stdin.isatty():
        return getpass.getpass(messages.PASSWORD_PROMPT())
    return password or ""


def _read_trust() -> TlsConfig:
    """Read the paths of the TLS files from the variables."""
    from dagengine.client import TlsConfig  # noqa: PLC0415

    paths = (os.environ.get(name) for name in _TRUST_VARIABLES)
    return TlsConfig(*(Path(value) if value else None for value in paths))

"""Shared parts of the client commands: connecting, following a DAG, printing results.

Functions import asyncio and the HTTP client themselves: `--help` needs neither.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dagengine.cli import messages
from dagengine.cli.confirmation import (
    ask,
    is_interactive,
    render_pass_effects,
    render_rollback_effects,
)
from dagengine.cli.dag_ids import resolve_dag_id
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.views.render import (
    UNFINISHED,
    Json,
    is_clear,
    render_end,
    render_plan,
    running_hints,
    server_label,
)
from dagengine.cli.views.screen import Screen, print_lines, write_screen
from dagengine.error_codes import Code
from dagengine.errors import ApiRefused, DagengineError
from dagengine.local_user import find_user_name
from dagengine.runtime.clock import SystemClock
from dagengine.runtime.terminal import write_document

if TYPE_CHECKING:
    from dagengine.client import Client, FleetClient, TlsConfig

PASSWORD_VARIABLE = "DAGENGINE_PASSWORD"  # noqa: S105  # the variable's name
TOKEN_VARIABLE = "DAGENGINE_TOKEN"  # noqa: S105
_SCOPED = ("start", "stop")
_URL = re.compile(r"unix:.|https?://[^/]")
_TRUST_VARIABLES = ("DAGENGINE_CA_FILE", "DAGENGINE_CERT_FILE", "DAGENGINE_KEY_FILE")


def run(
    url: str,
    work: Callable[[Client], Awaitable[int]],
    *,
    shows_notices: bool = True,
    review: Callable[[Client], Awaitable[list[str]]] | None = None,
    accepts_token: bool = True,
) -> None:
    """Run a command's work with a client, and exit.

    Args:
        url: URL of the controller.
        work: returns the exit code.
        shows_notices: False if the work prints the controller's notices itself, unless it fails.
        review: returns lines that list what the work affects; on a terminal they are printed, and
            the user must confirm them before the work is done. None, and no lines: no question.
        accepts_token: False for a command that needs the password of root@sys, or the socket.

    Raises:
        typer.Exit: it carries the exit code.
        DagengineError: the work failed, or the responses do not have the form of a controller's.
    """
    import asyncio  # noqa: PLC0415

    opened = open_client(url, accepts_token=accepts_token)

    async def list_effects(review: Callable[[Client], Awaitable[list[str]]]) -> list[str]:
        async with opened as client:
            return await review(client)

    async def main() -> int:
        async with opened as client:
            try:
                code = await work(client)
            except DagengineError:
                print_notices(client)
                raise
            if shows_notices:
                print_notices(client)
            return code

    try:
        # The question is asked outside the event loop, so that Ctrl-C ends it.
        effects = asyncio.run(list_effects(review)) if review and is_interactive() else []
        if effects and not ask(effects):
            print_lines(sys.stderr, [messages.NOTHING_CHANGED()])
            raise typer.Exit(ExitCode.FAILED)
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


async def report_result(
    client: Client,
    call: Awaitable[Json],
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    *,
    has_hints: bool = True,
) -> int:
    """Print the result of a call that creates a DAG, and return the exit code.

    The result is the plan (`dry_run`), the accepted DAG (`no_wait`), the DAG at its end, or the new
    plan if the call names another one.
    """
    try:
        result = await call
    except ApiRefused as exc:
        if exc.code != Code.PLAN_CHANGED or not isinstance(exc.data, dict):
            raise
        print_notices(client)
        print_error(exc.message, exc.code, ExitCode.FAILED, remedy=exc.remedy, as_json=False)
        print_result(as_json, exc.data, render_plan(exc.data))
        return ExitCode.FAILED
    print_notices(client)
    if not dry_run:
        return await _follow_accepted(client, result, no_wait, as_json, has_hints)
    print_result(as_json, result, render_plan(result))
    return ExitCode.DONE if is_clear(result) else ExitCode.FAILED


async def _follow_accepted(
    client: Client, dag: Json, no_wait: bool, as_json: bool, has_hints: bool
) -> int:
    if no_wait:
        print_result(as_json, dag, render_end(dag, await _read_controller(client)))
        return ExitCode.DONE
    print_lines(sys.stderr, [messages.ACCEPTED(name=dag["name"], dag_id=dag["id"])])
    return await follow_to_end(client, dag["id"], as_json, has_hints=has_hints)


async def read_waits(client: Client, dag: Json) -> dict[str, Json]:
    """Return the waits of the sub-tasks of each unfinished stage.

    The DAG's own data has only one wait per server, so they are read from the stages.
    """
    if dag["state"] not in UNFINISHED:
        return {}
    nodes = [await client.get_node(n["id"]) for n in dag["nodes"] or () if n["state"] in UNFINISHED]
    return {node["id"]: (node["additional_data"] or {}).get("wait", {}) for node in nodes}


async def with_current_logs(client: Client, dag: Json) -> Json:
    """Return the DAG with the log lines of the current attempt for each running sub-task.

    The DAG's own data has the lines of all attempts: an earlier error is not the current state.
    """
    nodes: list[Json] = []
    for node in dag["nodes"] or []:
        tasks: list[Json] = []
        for task in node["sub_tasks"] or []:
            if task["state"] == "RUNNING":
                attempts = await client.list_attempts(task["id"])
                logs = attempts[-1]["task_logs"] if attempts else None
                tasks.append({**task, "task_logs": logs})
            else:
                tasks.append(task)
        nodes.append({**node, "sub_tasks": tasks})
    return {**dag, "nodes": nodes}


def operate(
    dag_id: str,
    operator: str,
    reason: str,
    url: str,
    as_json: bool,
    *,
    good: Iterable[str],
    stage: int | None = None,
    is_agreed: bool = True,
) -> None:
    """Apply an operator to a DAG (PASS: or to one stage, counted from 1), and follow the DAG.

    The exit code is 0 if the DAG ends in one of the `good` states. Unless `is_agreed`, the user
    must confirm on a terminal.
    """

    async def work(client: Client) -> int:
        from dagengine.cli.views.progress import find_last_event  # noqa: PLC0415

        full_id = await resolve_dag_id(client, dag_id)
        last = await find_last_event(client, full_id)
        with _hint_on_interrupt(full_id):
            if stage is not None:
                await _pass_node(client, full_id, stage, reason)
            else:
                await client.operate_dag(full_id, operator, reason=reason)
            dag = await _wait(client, full_id, as_json, last)
        return ExitCode.DONE if dag["state"] in good else ExitCode.FAILED

    async def review(client: Client) -> list[str]:
        dag = await client.get_dag(await resolve_dag_id(client, dag_id))
        if operator == "ROLLBACK":
            return render_rollback_effects(dag, await _read_controller(client))
        return render_pass_effects(dag, stage)

    run(url, work, review=None if is_agreed else review)


async def _pass_node(client: Client, dag_id: str, stage: int, reason: str) -> None:
    nodes = (await client.get_dag(dag_id))["nodes"] or ()
    if stage > len(nodes):
        raise typer.BadParameter(messages.NODE_UNKNOWN(stage=stage, stages=len(nodes)))
    await client.pass_node(nodes[stage - 1]["id"], reason=reason)


async def _read_controller(client: Client) -> str:
    """Return the label of the controller; empty if it does not answer, as in a hand-over."""
    try:
        return server_label(await client.info())
    except DagengineError:
        return ""


async def follow_to_end(
    client: Client, dag_id: str, as_json: bool, *, has_hints: bool = True
) -> int:
    """Show a DAG until it ends; return the exit code.

    With `has_hints`, print the commands to run next after a failure or an interrupt.
    """
    with _hint_on_interrupt(dag_id) if has_hints else nullcontext():
        ended = await _wait(client, dag_id, as_json, has_hints=has_hints)
    return ExitCode.DONE if ended["state"] == "SUCCEED" else ExitCode.FAILED


async def wait_for_end(client: Client, dag_id: str, as_json: bool, timeout_s: float | None) -> int:
    """Wait until a DAG has ended, print how, and return the exit code; FAILED after the timeout."""
    import asyncio  # noqa: PLC0415
    from contextlib import aclosing  # noqa: PLC0415

    dag_id = await resolve_dag_id(client, dag_id)
    try:
        async with asyncio.timeout(timeout_s), aclosing(client.follow(dag_id)) as events:
            async for _ in events:
                pass
    except TimeoutError:
        dag = await client.get_dag(dag_id)
        message = messages.STILL_RUNNING(name=dag["name"], dag_id=dag_id, timeout_s=timeout_s)
        print_lines(sys.stderr, [message])
        print_result(as_json, dag, [])
        return ExitCode.FAILED
    dag = await client.get_dag(dag_id)
    print_result(as_json, dag, render_end(dag, await _read_controller(client)))
    return ExitCode.DONE if dag["state"] == "SUCCEED" else ExitCode.FAILED


@contextmanager
def _hint_on_interrupt(dag_id: str) -> Iterator[None]:
    """Print how to follow the DAG if an interrupt ends the command but not the DAG."""
    from asyncio import CancelledError  # noqa: PLC0415

    try:
        yield
    except CancelledError:
        lines = ["", messages.INTERRUPTED(), *running_hints(dag_id)]
        write_screen(sys.stderr, Screen.of(sys.stderr, os.environ), lines)
        raise


async def _wait(
    client: Client, dag_id: str, as_json: bool, after: int = 0, *, has_hints: bool = True
) -> Json:
    from dagengine.cli.views.progress import follow  # noqa: PLC0415

    stream = sys.stderr if as_json else sys.stdout
    dag = await follow(client, dag_id, stream, SystemClock(), after=after, has_hints=has_hints)
    if as_json:
        print_result(True, dag, [])
    return dag


def print_result(as_json: bool, value: Any, lines: Sequence[str]) -> None:
    """Print the value as one JSON document, or the lines; empty `lines` print nothing."""
    if as_json:
        write_document(sys.stdout, value, indent=2)
    else:
        write_screen(sys.stdout, current_screen(), lines)


def current_screen() -> Screen:
    """Return what stdout can display."""
    return Screen.of(sys.stdout, os.environ)


def print_error(message: str, code: str, exit_code: int, *, remedy: str, as_json: bool) -> None:
    """Print why a command failed on stderr and, with `--json`, as the document on stdout."""
    if as_json:
        error = {"message": message, "remedy": remedy, "code": code, "exit_code": int(exit_code)}
        write_document(sys.stdout, {"error": error}, indent=2)
    text = messages.ERROR_WITH_CODE(code=code, message=message) if code else message
    text = messages.ERROR_WITH_REMEDY(error=text, remedy=remedy) if remedy else text
    lines = [messages.ERROR(message=text)]
    write_screen(sys.stderr, Screen.of(sys.stderr, os.environ), lines)


def wants_json(argv: Sequence[str]) -> bool:
    """True if an error of this command line is to be a document as well."""
    return "--json" in argv


def usage_remedy(argv: Sequence[str], message: str, commands: Collection[str]) -> str:
    """Return what to do after wrong usage; `commands` are those with a help of their own."""
    command = argv[0] if argv else ""
    if command in _SCOPED and "unexpected extra argument" in message.lower():
        return messages.USE_TARGET_OPTION(command=command)
    return messages.SEE_HELP(command=f"dagengine {command}" if command in commands else "dagengine")


def print_notices(client: Client) -> None:
    """Print what the controller wants users to know, such as that its cluster file is refused."""
    print_lines(sys.stderr, [messages.NOTICE(notice=notice) for notice in client.notices])


def open_client(url: str, *, accepts_token: bool = True) -> Client:
    """Return a client that is not entered yet; prompt for a password if required and not set.

    A token in the variable takes the place of the password if `accepts_token`.

    Raises:
        typer.BadParameter: the URL is not valid for a controller.
    """
    if not _URL.match(url):
        raise typer.BadParameter(messages.URL_INVALID(url=url))
    from dagengine.client import Client  # noqa: PLC0415

    token = os.environ.get(TOKEN_VARIABLE, "").strip() if accepts_token else ""
    password = "" if token or url.startswith("unix:") else _read_password()
    return Client(url, password, trust=_read_trust(), claim=_read_claim(), token=token)


def open_fleet_client(url: str) -> FleetClient:
    """Return a client of the service that is not entered yet.

    Raises:
        typer.BadParameter: the URL is not valid for a service.
    """
    if not _URL.match(url):
        raise typer.BadParameter(messages.URL_INVALID(url=url))
    from dagengine.client import FleetClient  # noqa: PLC0415

    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return FleetClient(url, trust=_read_trust(), claim=_read_claim(), token=token)


def _read_password() -> str:
    """Read the password from the variable or, on a terminal, from a prompt.

    It is never taken from an argument.
    """
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None and sys.stdin.isatty():
        return getpass.getpass(messages.PASSWORD_PROMPT())
    return password or ""


def _read_claim() -> str:
    """Return the OS user and the host of this process, for the audit."""
    return f"{find_user_name()}@{socket.gethostname()}"


def _read_trust() -> TlsConfig:
    """Read the paths of the TLS files from the variables."""
    from dagengine.client import TlsConfig  # noqa: PLC0415

    paths = (os.environ.get(name) for name in _TRUST_VARIABLES)
    return TlsConfig(*(Path(value) if value else None for value in paths))

"""The commands: typer on one side, the client on the other. `serve` is in cli.py."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dagengine.cli_access import DEFAULT_URL, PASSWORD_VARIABLE, Url, open_client
from dagengine.cli_follow import find_last_event, follow
from dagengine.cli_options import (
    AsJson,
    DagId,
    DryRun,
    ForcePass,
    NoWait,
    Reason,
    Servers,
    SkipCheck,
    Zones,
    read_scope,
)
from dagengine.cli_plan import can_go_on, render_plan
from dagengine.cli_render import (
    UNFINISHED,
    Json,
    commands_while_it_runs,
    render_attempts,
    render_audit,
    render_dag,
    render_end,
    render_list,
    render_logs,
)
from dagengine.cli_verdict import read_verdict, render_verdict
from dagengine.client import Client
from dagengine.clock import SystemClock
from dagengine.config import load_config
from dagengine.errors import ApiRefused, ControllerUnreachable, DagengineError
from dagengine.loading import load_extension_points

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130

_WRONG_PASSWORD, _TOO_MANY_OF_THEM = 401, 429
_NOT_ALLOWED = (_WRONG_PASSWORD, _TOO_MANY_OF_THEM)

app = typer.Typer(
    name="dagengine",
    help="Start the servers of an OceanBase or seekdb cluster as tracked, durable tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def run_command(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code of design section 8."""
    try:
        if (extended := _run_extension_command(argv)) is not None:
            return extended
        # Out of standalone mode typer hands back what Exit carries.
        code = app(args=list(argv), standalone_mode=False)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        if message := exc.format_message():  # none when the help was shown for want of a command
            sys.stderr.write(f"dagengine: {message}\n")
        return EXIT_USAGE
    except typer.Abort:
        return EXIT_INTERRUPTED
    except DagengineError as exc:
        sys.stderr.write(f"dagengine: {exc}\n")
        if isinstance(exc, ApiRefused) and exc.status == _WRONG_PASSWORD:
            sys.stderr.write(f"what to do: set {PASSWORD_VARIABLE} to the password of root@sys\n")
        return _exit_code(exc)
    return code if isinstance(code, int) else EXIT_DONE


@app.command()
def serve() -> None:
    """Run the controller: `dagengine serve -c FILE`."""
    raise typer.Exit(EXIT_USAGE)  # cli.py takes this command before typer is loaded


@app.command()
def start(
    zone: Zones = None,
    server: Servers = None,
    force_pass: ForcePass = None,
    skip_check: SkipCheck = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Start the cluster, or some zones or servers of it, and wait."""
    scope, targets = read_scope(zone, server)

    async def work(client: Client) -> int:
        made = await client.start(scope, targets, force_pass, skip_check, dry_run=dry_run)
        return await _show_made(client, made, dry_run, no_wait, as_json)

    _run(url, work)


@app.command()
def stop(
    zone: Zones = None,
    server: Servers = None,
    force: Annotated[bool, typer.Option("--force", help="End the processes at once.")] = False,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="End the processes after a minor freeze.")
    ] = False,
    force_pass: ForcePass = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Stop the cluster, zones or servers: by SQL, or (--force, --terminate) their processes."""
    scope, targets = read_scope(zone, server)

    async def work(client: Client) -> int:
        made = await client.stop(
            *(scope, targets),
            force=force,
            terminate=terminate,
            force_pass=force_pass,
            dry_run=dry_run,
        )
        return await _show_made(client, made, dry_run, no_wait, as_json)

    _run(url, work)


@app.command("list")
def list_dags(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the DAGs, newest first."""

    async def work(client: Client) -> int:
        dags = await client.list_dags()
        _print(as_json, dags, render_list(dags))
        return EXIT_DONE

    _run(url, work)


@app.command()
def show(
    dag_id: Annotated[str, typer.Argument(metavar="[ID]", help="The DAG's id.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what happens to it until it has ended.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one DAG; without an id the one verdict on the cluster and what to type next."""
    if follow and not dag_id:
        raise typer.BadParameter("--follow needs the id of a DAG")

    async def work(client: Client) -> int:
        if follow:
            return await _follow_to_end(client, dag_id, as_json)
        if dag_id:
            dag = await client.get_dag(dag_id)
            waits = {} if as_json else await _read_waits(client, dag)
            _print(as_json, dag, render_dag(dag, SystemClock().now(), waits))
            return EXIT_DONE
        verdict = await read_verdict(client)
        document = {name: getattr(verdict, name) for name in ("newest", "by", "unfinished")}
        _print(as_json, document, render_verdict(verdict))
        return EXIT_DONE

    _run(url, work)


@app.command()
def logs(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Print every log line of a DAG."""

    async def work(client: Client) -> int:
        lines = render_logs(await client.get_dag(dag_id))
        _print(as_json, lines, lines)
        return EXIT_DONE

    _run(url, work)


@app.command()
def attempts(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Every attempt of a DAG: when, how it ended, what it said."""

    async def work(client: Client) -> int:
        dag = await client.get_dag(dag_id)
        found = {
            task["id"]: await client.list_attempts(task["id"])
            for node in dag["nodes"]
            for task in node["sub_tasks"]
        }
        _print(as_json, found, render_attempts(dag, found))
        return EXIT_DONE

    _run(url, work)


@app.command()
def audit(
    dag_id: Annotated[str, typer.Argument(metavar="[ID]", help="The DAG's id.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Who did what to a DAG, or to all of them, newest first."""

    async def work(client: Client) -> int:
        rows = await client.list_audit(dag_id)
        if dag_id and not rows:
            # What there was of a DAG outlives it; with no row the controller says if there is one.
            await client.get_dag(dag_id, details=False)
        _print(as_json, rows, render_audit(rows))
        return EXIT_DONE

    _run(url, work)


@app.command()
def retry(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Run the failed part of a DAG again, and wait."""
    _operate(dag_id, "RETRY", reason, url, as_json, good=("SUCCEED",))


@app.command()
def rollback(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Undo what a failed DAG did, and wait: ends the servers that it started."""
    _operate(dag_id, "ROLLBACK", reason, url, as_json, good=("SUCCEED",))


@app.command()
def cancel(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """End a running DAG, and wait until it has ended."""
    _operate(dag_id, "CANCEL", reason, url, as_json, good=("FAILED", "SUCCEED"))


@app.command("pass")
def pass_(
    dag_id: DagId,
    node: Annotated[
        int | None,
        typer.Option(min=1, help="Only this stage, counted from 1; the DAG goes on behind it."),
    ] = None,
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Call a failed DAG, or one failed stage of it, done."""
    _operate(dag_id, "PASS", reason, url, as_json, good=("SUCCEED",), stage=node)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The engine file.")],
) -> None:
    """Copy the store and its key, also while the controller runs (on its machine)."""
    from dagengine.wiring import back_up  # noqa: PLC0415  # the other commands start without it

    size_bytes = back_up(load_config(config, os.environ), file)
    sys.stdout.write(f"{file}: {size_bytes:,} bytes; its key is beside it\n")


# --- below: the parts ------------------------------------------------------------------------


async def _show_made(
    client: Client, made: Json, dry_run: bool, no_wait: bool, as_json: bool
) -> int:
    if not dry_run:
        return await _follow_accepted(client, made, no_wait, as_json)
    _print(as_json, made, render_plan(made))
    return EXIT_DONE if can_go_on(made) else EXIT_FAILED


async def _follow_accepted(client: Client, dag: Json, no_wait: bool, as_json: bool) -> int:
    if no_wait:
        _print(as_json, dag, render_end(dag))
        return EXIT_DONE
    sys.stderr.write(f"{dag['name']} {dag['id']} accepted\n")
    return await _follow_to_end(client, dag["id"], as_json)


async def _read_waits(client: Client, dag: Json) -> dict[str, Json]:
    """What the sub-tasks of each unfinished stage wait for: the DAG has but one of each server."""
    if dag["state"] not in UNFINISHED:
        return {}
    nodes = [await client.get_node(n["id"]) for n in dag["nodes"] if n["state"] in UNFINISHED]
    return {node["id"]: (node["additional_data"] or {}).get("wait", {}) for node in nodes}


def _operate(
    dag_id: str,
    operator: str,
    reason: str,
    url: str,
    as_json: bool,
    *,
    good: Iterable[str],
    stage: int | None = None,
) -> None:
    async def work(client: Client) -> int:
        last = await find_last_event(client, dag_id)
        with _saying_how_to_follow(dag_id):
            if stage is not None:
                await _pass_node(client, dag_id, stage, reason)
            else:
                await client.operate_dag(dag_id, operator, reason=reason)
            dag = await _wait(client, dag_id, as_json, last)
        return EXIT_DONE if dag["state"] in good else EXIT_FAILED

    _run(url, work)


async def _pass_node(client: Client, dag_id: str, stage: int, reason: str) -> None:
    nodes = (await client.get_dag(dag_id))["nodes"]
    if stage > len(nodes):
        raise typer.BadParameter(f"--node {stage}: the DAG has stages 1 to {len(nodes)}")
    await client.pass_node(nodes[stage - 1]["id"], reason=reason)


async def _follow_to_end(client: Client, dag_id: str, as_json: bool) -> int:
    with _saying_how_to_follow(dag_id):
        ended = await _wait(client, dag_id, as_json)
    return EXIT_DONE if ended["state"] == "SUCCEED" else EXIT_FAILED


@contextmanager
def _saying_how_to_follow(dag_id: str) -> Iterator[None]:
    """An interrupt ends the command and not the DAG: says so."""
    try:
        yield
    except asyncio.CancelledError:
        following = "\n".join(commands_while_it_runs(dag_id))
        sys.stderr.write(f"\ninterrupted; the DAG goes on\n{following}\n")
        raise


async def _wait(client: Client, dag_id: str, as_json: bool, after: int = 0) -> Json:
    stream = sys.stderr if as_json else sys.stdout
    dag = await follow(client, dag_id, stream, SystemClock(), after=after)
    if as_json:
        _print(True, dag, [])
    return dag


def _run(url: str, work: Callable[[Client], Awaitable[int]]) -> None:
    opened = open_client(url)

    async def main() -> int:
        async with opened as client:
            return await work(client)

    try:
        code = asyncio.run(main())
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def _print(as_json: bool, value: Any, lines: Sequence[str]) -> None:
    said = [json.dumps(value, ensure_ascii=False, indent=2)] if as_json else lines
    sys.stdout.write("".join(f"{line}\n" for line in said))


def _exit_code(exc: DagengineError) -> int:
    if isinstance(exc, ControllerUnreachable):
        return EXIT_UNREACHABLE
    if isinstance(exc, ApiRefused):
        return EXIT_REFUSED if exc.status in _NOT_ALLOWED else EXIT_USAGE
    return EXIT_USAGE


def _run_extension_command(argv: Sequence[str]) -> int | None:
    """A command that an extension adds, such as `demo`; None when this is none of them."""
    own = {
        command.name or command.callback.__name__  # type: ignore[union-attr]
        for command in app.registered_commands
        if command.callback is not _stand_in
    }
    if argv and argv[0] in own:
        return None
    loaded = load_extension_points()
    for notice in loaded.notices:
        sys.stderr.write(f"dagengine: {notice}\n")
    commands = {name: c for point in loaded.points for name, c in point.commands.items()}
    if not argv or argv[0].startswith("-"):
        for name, command in commands.items():
            app.command(name, help=command.help)(_stand_in)
        return None
    found = commands.get(argv[0])
    return None if found is None else found.run(argv[1:])


def _stand_in() -> None:
    """Lists an extension's command in typer's help; typer never gets to run it."""

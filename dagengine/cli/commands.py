"""The commands: typer on one side, the client on the other. `serve` is in `serve.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.options import (
    DEFAULT_URL,
    AsJson,
    DagId,
    DryRun,
    ForcePass,
    NoWait,
    Reason,
    Servers,
    SkipCheck,
    Url,
    Zones,
    read_scope,
)
from dagengine.cli.render import (
    render_attempts,
    render_audit,
    render_dag,
    render_list,
    render_logs,
)
from dagengine.cli.session import (
    PASSWORD_VARIABLE,
    follow_to_end,
    operate,
    print_result,
    read_waits,
    report_result,
    run,
)
from dagengine.cli.status import read_cluster_status, render_cluster_status
from dagengine.errors import ApiRefused, ControllerUnreachable, DagengineError
from dagengine.runtime.clock import SystemClock
from dagengine.server.plugins import load_extension_points

if TYPE_CHECKING:
    from dagengine.client import Client

_WRONG_PASSWORD, _TOO_MANY_ATTEMPTS = 401, 429
_NOT_ALLOWED = (_WRONG_PASSWORD, _TOO_MANY_ATTEMPTS)

app = typer.Typer(
    name="dagengine",
    help="Start and stop the servers of an OceanBase or seekdb cluster as tracked, durable tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def run_command(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    try:
        # Outside standalone mode, typer returns the code of `typer.Exit`.
        if (extension := _find_extension_app(argv)) is not None:
            name, *arguments = argv
            code = extension(
                arguments,
                prog_name=f"dagengine {name}",
                standalone_mode=False,
                help_option_names=["-h", "--help"],
            )
        else:
            code = app(list(argv), standalone_mode=False)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.TyperException as exc:
        if message := exc.format_message():  # empty if only the help was shown
            sys.stderr.write(f"{messages.ERROR(message=message)}\n")
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except DagengineError as exc:
        sys.stderr.write(f"{messages.ERROR(message=exc)}\n")
        if isinstance(exc, ApiRefused) and exc.status == _WRONG_PASSWORD:
            sys.stderr.write(f"{messages.SET_PASSWORD(variable=PASSWORD_VARIABLE)}\n")
        return _exit_code(exc)
    return code if isinstance(code, int) else ExitCode.DONE


@app.command()
def serve() -> None:
    """Run the controller: `dagengine serve -c FILE`."""
    raise typer.Exit(ExitCode.USAGE)  # `main` takes this command before typer is loaded


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
        result = await client.start(scope, targets, force_pass, skip_check, dry_run=dry_run)
        return await report_result(client, result, dry_run, no_wait, as_json)

    run(url, work)


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
        result = await client.stop(
            *(scope, targets),
            force=force,
            terminate=terminate,
            force_pass=force_pass,
            dry_run=dry_run,
        )
        return await report_result(client, result, dry_run, no_wait, as_json)

    run(url, work)


@app.command("list")
def list_dags(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the DAGs, newest first."""

    async def work(client: Client) -> int:
        dags = await client.list_dags()
        print_result(as_json, dags, render_list(dags))
        return ExitCode.DONE

    run(url, work)


@app.command()
def show(
    dag_id: Annotated[str, typer.Argument(metavar="[ID]", help="The DAG's id.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the DAG until it has ended.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one DAG; without an id show the status of the cluster and the next command."""
    if follow and not dag_id:
        raise typer.BadParameter(messages.FOLLOW_NEEDS_ID())

    async def work(client: Client) -> int:
        if follow:
            return await follow_to_end(client, dag_id, as_json)
        if dag_id:
            dag = await client.get_dag(dag_id)
            waits = {} if as_json else await read_waits(client, dag)
            print_result(as_json, dag, render_dag(dag, SystemClock().now(), waits))
            return ExitCode.DONE
        verdict = await read_cluster_status(client)
        document = {name: getattr(verdict, name) for name in ("newest", "by", "unfinished")}
        print_result(as_json, document, render_cluster_status(verdict))
        return ExitCode.DONE

    run(url, work)


@app.command()
def logs(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Print every log line of a DAG."""

    async def work(client: Client) -> int:
        lines = render_logs(await client.get_dag(dag_id))
        print_result(as_json, lines, lines)
        return ExitCode.DONE

    run(url, work)


@app.command()
def attempts(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the attempts of a DAG: their times, their outcomes and their log lines."""

    async def work(client: Client) -> int:
        dag = await client.get_dag(dag_id)
        attempts_by_task = {
            task["id"]: await client.list_attempts(task["id"])
            for node in dag["nodes"]
            for task in node["sub_tasks"]
        }
        print_result(as_json, attempts_by_task, render_attempts(dag, attempts_by_task))
        return ExitCode.DONE

    run(url, work)


@app.command()
def audit(
    dag_id: Annotated[str, typer.Argument(metavar="[ID]", help="The DAG's id.")] = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the actions of users on a DAG, or on all DAGs, newest first."""

    async def work(client: Client) -> int:
        rows = await client.list_audit(dag_id)
        if dag_id and not rows:
            # Audit rows outlive their DAG; without rows, check that the DAG exists.
            await client.get_dag(dag_id, details=False)
        print_result(as_json, rows, render_audit(rows))
        return ExitCode.DONE

    run(url, work)


@app.command()
def retry(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Run the failed part of a DAG again, and wait."""
    operate(dag_id, "RETRY", reason, url, as_json, good=("SUCCEED",))


@app.command()
def rollback(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Undo what a failed DAG did, and wait: ends the servers that it started."""
    operate(dag_id, "ROLLBACK", reason, url, as_json, good=("SUCCEED",))


@app.command()
def cancel(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """End a running DAG, and wait until it has ended."""
    operate(dag_id, "CANCEL", reason, url, as_json, good=("FAILED", "SUCCEED"))


@app.command("pass")
def pass_(
    dag_id: DagId,
    node: Annotated[
        int | None,
        typer.Option(min=1, help="Only this stage, counted from 1; the DAG continues after it."),
    ] = None,
    reason: Reason = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Mark a failed DAG, or one failed stage, as passed."""
    operate(dag_id, "PASS", reason, url, as_json, good=("SUCCEED",), stage=node)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    config: Annotated[Path, typer.Option("--config", "-c", help="The engine file.")],
) -> None:
    """Copy the store and its key, also while the controller runs (on its machine)."""
    # Imported here: the commands that call a controller do not need it.
    from dagengine.server.config import load_config  # noqa: PLC0415
    from dagengine.server.controller import backup_controller, key_file_of  # noqa: PLC0415

    size_bytes = backup_controller(load_config(config, os.environ), file)
    # A store that no controller has served yet has no key.
    if (key := key_file_of(file)).exists():
        message = messages.BACKUP_WRITTEN(file=file, size_bytes=size_bytes, key=key)
    else:
        message = messages.BACKUP_WRITTEN_NO_KEY(file=file, size_bytes=size_bytes)
    sys.stdout.write(f"{message}\n")


# --- internal functions ---


def _exit_code(exc: DagengineError) -> int:
    if isinstance(exc, ControllerUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(exc, ApiRefused):
        return ExitCode.REFUSED if exc.status in _NOT_ALLOWED else ExitCode.USAGE
    return ExitCode.USAGE


def _find_extension_app(argv: Sequence[str]) -> typer.Typer | None:
    """Return the command of an extension, such as `demo`; None if the arguments name no such one.

    For a command line without a command, add the extensions' commands to the help.
    """
    own = {
        command.name or command.callback.__name__  # type: ignore[union-attr]
        for command in app.registered_commands
        if command.callback is not _stand_in
    }
    if argv and argv[0] in own:
        return None
    loaded = load_extension_points()
    for notice in loaded.notices:
        sys.stderr.write(f"{messages.ERROR(message=notice)}\n")
    commands = {name: c for point in loaded.points for name, c in point.commands.items()}
    if not argv or argv[0].startswith("-"):
        for name, command in commands.items():
            app.command(name, help=command.help)(_stand_in)
        return None
    return commands[argv[0]].app() if argv[0] in commands else None


def _stand_in() -> None:
    """List an extension's command in the help without importing the command."""

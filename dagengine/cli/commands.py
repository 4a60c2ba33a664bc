"""The commands: typer on one side, the client on the other. `serve` is in `serve.py`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dagengine.cli import messages
from dagengine.cli.administration.fleet import FLEET_EXAMPLES, fleet
from dagengine.cli.administration.tokens import TOKEN_EXAMPLES, token
from dagengine.cli.application import app, render_epilog
from dagengine.cli.confirmation import (
    is_risky_stop,
    read_force_pass_effects,
    read_stop_effects,
    resolve_force_pass,
)
from dagengine.cli.dag_ids import resolve_dag_id
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.local_commands import STORE_EXAMPLES, backup, print_completion, store
from dagengine.cli.options import (
    DEFAULT_URL,
    AsJson,
    DagId,
    DryRun,
    EngineFile,
    ForcePass,
    Hints,
    IfPlan,
    NoWait,
    OptionalDagId,
    Reason,
    Servers,
    SkipCheck,
    Url,
    Yes,
    Zones,
    read_scope,
    takes_config,
)
from dagengine.cli.session import (
    current_screen,
    follow_to_end,
    operate,
    print_result,
    read_waits,
    report_result,
    run,
    wait_for_end,
    with_current_logs,
)
from dagengine.cli.views.render import (
    Json,
    render_attempts,
    render_dag,
    render_logs,
    server_label,
)
from dagengine.cli.views.status import show_status, watch_status
from dagengine.cli.views.tables import render_audit, render_list
from dagengine.runtime.clock import SystemClock
from dagengine.server.extension import CommandGroup

if TYPE_CHECKING:
    from dagengine.client import Client


@app.command(
    rich_help_panel=CommandGroup.SETUP, epilog=render_epilog("dagengine serve -c engine.yaml")
)
def serve(
    config: EngineFile,
    log_format: Annotated[
        Literal["auto", "text", "json"],
        typer.Option(
            help="text: lines for people; json: one JSON object per line; auto: text on a terminal."
        ),
    ] = "auto",
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        typer.Option(help="Lowest level of the events that are logged."),
    ] = "info",
) -> None:
    """Run the controller until Ctrl-C or SIGTERM."""
    del config, log_format, log_level
    raise typer.Exit(ExitCode.USAGE)  # `main` takes this command before typer is loaded


@app.command(
    rich_help_panel=CommandGroup.CHANGE,
    epilog=render_epilog('dagengine start --zone zone1 --reason "after maintenance"'),
)
def start(
    zone: Zones = None,
    server: Servers = None,
    force_pass: ForcePass = None,
    skip_check: SkipCheck = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    if_plan: IfPlan = "",
    no_wait: NoWait = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
    has_hints: Hints = True,
) -> None:
    """Start the cluster, or some zones or servers of it, and wait."""
    scope, targets = read_scope(zone, server)
    is_agreed = yes or dry_run or not force_pass

    async def work(client: Client) -> int:
        passed = await resolve_force_pass(client, force_pass or (), is_reviewed=not is_agreed)
        call = client.start(
            *(scope, targets, passed, skip_check), dry_run=dry_run, if_plan=if_plan, reason=reason
        )
        return await report_result(client, call, dry_run, no_wait, as_json, has_hints=has_hints)

    async def review(client: Client) -> list[str]:
        return await read_force_pass_effects(client, force_pass or ())

    run(url, work, shows_notices=False, review=None if is_agreed else review)


@app.command(
    rich_help_panel=CommandGroup.CHANGE,
    epilog=render_epilog("dagengine stop --terminate --server 10.0.0.1:2886"),
)
def stop(
    zone: Zones = None,
    server: Servers = None,
    force: Annotated[bool, typer.Option("--force", help="End the processes at once.")] = False,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="End the processes after a minor freeze.")
    ] = False,
    force_pass: ForcePass = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    if_plan: IfPlan = "",
    no_wait: NoWait = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Stop the cluster, zones or servers: by SQL, or (--force, --terminate) their processes."""
    scope, targets = read_scope(zone, server)
    modes = {"force": force, "terminate": terminate}
    is_agreed = yes or dry_run or not (is_risky_stop(scope, **modes) or force_pass)

    async def work(client: Client) -> int:
        passed = await resolve_force_pass(client, force_pass or (), is_reviewed=not is_agreed)
        call = client.stop(
            *(scope, targets),
            force=force,
            terminate=terminate,
            force_pass=passed,
            dry_run=dry_run,
            if_plan=if_plan,
            reason=reason,
        )
        return await report_result(client, call, dry_run, no_wait, as_json)

    async def review(client: Client) -> list[str]:
        effects = await read_stop_effects(client, scope, targets, **modes)
        return effects and [*await read_force_pass_effects(client, force_pass or ()), *effects]

    run(url, work, shows_notices=False, review=None if is_agreed else review)


@app.command("list", rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine list"))
def list_dags(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the DAGs, newest first."""

    async def work(client: Client) -> int:
        dags = await client.list_dags()
        lines = render_list(dags, SystemClock().now(), current_screen())
        print_result(as_json, dags, lines)
        return ExitCode.DONE

    run(url, work)


@app.command(
    rich_help_panel=CommandGroup.FOLLOW,
    epilog=render_epilog("dagengine show --follow 1210000000001"),
)
def show(
    dag_id: OptionalDagId = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the DAG until it has ended.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Show one DAG; without an id show the status of the cluster, as `status` does."""
    if follow and not dag_id:
        raise typer.BadParameter(messages.FOLLOW_NEEDS_ID())

    async def work(client: Client) -> int:
        if not dag_id:
            return await show_status(client, as_json)
        full_id = await resolve_dag_id(client, dag_id)
        if follow:
            return await follow_to_end(client, full_id, as_json)
        dag: Json = await client.get_dag(full_id)
        if as_json:
            print_result(True, dag, [])
            return ExitCode.DONE
        waits, now, screen = await read_waits(client, dag), SystemClock().now(), current_screen()
        controller = server_label(await client.info())
        dag = await with_current_logs(client, dag)
        print_result(False, dag, render_dag(dag, now, waits, screen, controller))
        return ExitCode.DONE

    run(url, work)


@app.command(rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine status --watch"))
def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again whenever it changes.")
    ] = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Probe every server, and show them, the lock and the DAGs; 1 if a server is not up.

    With --watch and --json, print one document per line.
    """

    async def work(client: Client) -> int:
        if watch:
            return await watch_status(client, as_json)
        return await show_status(client, as_json)

    run(url, work)


@app.command(
    rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine logs 1210000000001")
)
def logs(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Print every log line of a DAG."""

    async def work(client: Client) -> int:
        lines = render_logs(await client.get_dag(await resolve_dag_id(client, dag_id)))
        print_result(as_json, lines, lines)
        return ExitCode.DONE

    run(url, work)


@app.command(
    rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine attempts 1210000000001")
)
def attempts(dag_id: DagId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List the attempts of a DAG: their times, their outcomes and their log lines."""

    async def work(client: Client) -> int:
        dag = await client.get_dag(await resolve_dag_id(client, dag_id))
        attempts_by_task = {
            task["id"]: await client.list_attempts(task["id"])
            for node in dag["nodes"] or ()
            for task in node["sub_tasks"] or ()
        }
        lines = render_attempts(dag, attempts_by_task, SystemClock().now(), current_screen())
        print_result(as_json, attempts_by_task, lines)
        return ExitCode.DONE

    run(url, work)


@app.command(rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine audit --json"))
def audit(
    dag_id: OptionalDagId = "",
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """List the actions of users on a DAG, or on all DAGs, newest first."""

    async def work(client: Client) -> int:
        full_id = await resolve_dag_id(client, dag_id) if dag_id else ""
        rows = await client.list_audit(full_id)
        if full_id and not rows:
            # Audit rows outlive their DAG; without rows, check that the DAG exists.
            await client.get_dag(full_id, details=False)
        dags = [] if as_json else await client.list_dags()
        names = {dag["id"]: dag["name"] for dag in dags}
        lines = render_audit(rows, names, SystemClock().now(), current_screen())
        print_result(as_json, rows, lines)
        return ExitCode.DONE

    run(url, work)


@app.command(
    rich_help_panel=CommandGroup.FOLLOW, epilog=render_epilog("dagengine wait 1210000000001")
)
def wait(
    dag_id: DagId,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop waiting after this time: exit code 1."),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Wait until a DAG has ended, without output until then."""
    if timeout is not None and not timeout >= 0:  # also refuses NaN
        raise typer.BadParameter(messages.TIMEOUT_INVALID(timeout=timeout))

    async def work(client: Client) -> int:
        return await wait_for_end(client, dag_id, as_json, timeout)

    run(url, work)


@app.command(
    rich_help_panel=CommandGroup.OPERATE,
    epilog=render_epilog('dagengine retry 1210000000001 --reason "the disk was full"'),
)
def retry(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Run the failed part of a DAG again, and wait."""
    operate(dag_id, "RETRY", reason, url, as_json, good=("SUCCEED",))


@app.command(
    rich_help_panel=CommandGroup.OPERATE, epilog=render_epilog("dagengine rollback 1210000000001")
)
def rollback(
    dag_id: DagId,
    reason: Reason = "",
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Undo what a failed DAG did, and wait: ends the servers that it started."""
    operate(dag_id, "ROLLBACK", reason, url, as_json, good=("SUCCEED",), is_agreed=yes)


@app.command(
    rich_help_panel=CommandGroup.OPERATE, epilog=render_epilog("dagengine cancel 1210000000001")
)
def cancel(
    dag_id: DagId, reason: Reason = "", url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """End a running DAG, and wait until it has ended."""
    operate(dag_id, "CANCEL", reason, url, as_json, good=("FAILED", "SUCCEED"))


@app.command(
    "pass",
    rich_help_panel=CommandGroup.OPERATE,
    epilog=render_epilog("dagengine pass 1210000000001 --node 2"),
)
def pass_(
    dag_id: DagId,
    node: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Only this stage, counted from 1; the DAG continues after it.",
        ),
    ] = None,
    reason: Reason = "",
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Mark a failed DAG, or one failed stage, as passed."""
    operate(dag_id, "PASS", reason, url, as_json, good=("SUCCEED",), stage=node, is_agreed=yes)


app.command(rich_help_panel=CommandGroup.SETUP, epilog=render_epilog(*TOKEN_EXAMPLES))(token)
for command in app.registered_commands:
    if command.callback is not None and "url" in inspect.signature(command.callback).parameters:
        command.callback = takes_config(command.callback)
app.command(rich_help_panel=CommandGroup.CHANGE, epilog=render_epilog(*FLEET_EXAMPLES))(fleet)
app.command(
    rich_help_panel=CommandGroup.STORE,
    epilog=render_epilog("dagengine backup copy.sqlite -c engine.yaml"),
)(backup)
app.command(rich_help_panel=CommandGroup.STORE, epilog=render_epilog(*STORE_EXAMPLES))(store)
app.command(
    "completion",
    rich_help_panel=CommandGroup.OTHER,
    epilog=render_epilog('eval "$(dagengine completion bash)"'),
)(print_completion)

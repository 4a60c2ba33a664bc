"""Completion in a shell: ids of DAGs, zones, servers and names of checks.

Values come from the controller. A completion never prompts, never prints an error, and gives up
after a short time.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from dagengine.cli.views.render import server_label
from dagengine.errors import DagengineError

if TYPE_CHECKING:
    from dagengine.client import Client
    from dagengine.server.extension import CliCommand

PROGRAM = "dagengine"
_VARIABLE = "_DAGENGINE_COMPLETE"
_WORDS_VARIABLES = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")  # bash; zsh and fish
_LIMIT_S = 2.0
_NEWEST = 50
# A server's name contains a colon, at which bash would split it.
_BASH_HEAD = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:/}\n"


class Shell(StrEnum):
    """The shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def render_script(shell: Shell) -> str:
    """Return the script that a shell evaluates to complete the commands."""
    # typer re-exports both names without listing them in `__all__`.
    from typer.completion import (  # type: ignore[attr-defined]  # noqa: PLC0415
        get_completion_script,
    )

    script: str = get_completion_script(
        prog_name=PROGRAM, complete_var=_VARIABLE, shell=shell.value
    )
    return _BASH_HEAD + script if shell is Shell.BASH else script


def complete_command_line(
    app: typer.Typer, load_commands: Callable[[], Mapping[str, CliCommand]]
) -> int | None:
    """Print the completions that the shell requests; return None if it does not request any.

    Args:
        app: the application, without the commands of extensions.
        load_commands: returns the commands of extensions.
    """
    if _VARIABLE not in os.environ:
        return None
    from typer.completion import (  # type: ignore[attr-defined]  # noqa: PLC0415
        completion_init,
    )
    from typer.main import get_command  # noqa: PLC0415

    complete_app = copy.copy(app)
    complete_app.registered_commands = [*app.registered_commands]
    complete_app.registered_groups = [*app.registered_groups]
    command_name = _find_command(os.environ)
    for name, command in load_commands().items():
        # Only the command that is typed is imported; the others are needed for their names.
        extension = command.app() if name == command_name else _make_stand_in(command.help)
        _add(complete_app, name, extension)
    completion_init()
    try:
        get_command(complete_app).main(prog_name=PROGRAM, complete_var=_VARIABLE)
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0
    return 0


def complete_dag_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a DAG, the newest first."""
    del incomplete  # typer selects

    async def read(client: Client) -> list[tuple[str, str]]:
        query = f"/task/dags?limit={_NEWEST}"
        dags = (await client.get(query))["contents"]
        return [(dag["id"], f"{dag['name']}, {dag['state']}") for dag in dags]

    return _read(ctx, read)


def complete_zones(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the last of several zones that are separated by commas."""

    async def read(client: Client) -> list[str]:
        return [agent["zone"] for agent in await client.list_servers()]

    return complete_last(incomplete, dict.fromkeys(_read(ctx, read)))


def complete_servers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the last of several servers that are separated by commas."""

    async def read(client: Client) -> list[str]:
        return [server_label(agent) for agent in await client.list_servers()]

    return complete_last(incomplete, _read(ctx, read))


def complete_clusters(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the last of several clusters: of the engine file, else of the service."""
    config = ctx.params.get("config")
    if config is not None:
        from dagengine.server.config import load_config  # noqa: PLC0415

        try:
            names = [*load_config(config, os.environ).clusters]
        except DagengineError:
            return []
        return complete_last(incomplete, names)
    return complete_last(incomplete, _read_clusters(str(ctx.params.get("url"))))


def complete_checks(incomplete: str) -> list[str]:
    """Complete the name of a check."""
    del incomplete  # typer selects
    from dagengine.server.plugins import load_extension_points  # noqa: PLC0415

    return [name for point in load_extension_points().points for name in point.check_names()]


def complete_last(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the completions of the last name in a list that is separated by commas."""
    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{name}" for name in names if name not in given]


# --- internal functions ---


def _find_command(environ: Mapping[str, str]) -> str:
    """Return the command that the shell completes; empty while it is being typed."""
    words = next((environ[name].split() for name in _WORDS_VARIABLES if name in environ), [])
    return words[1] if len(words) > 1 else ""


def _add(app: typer.Typer, name: str, extension: typer.Typer) -> None:
    if len(extension.registered_commands) != 1 or extension.registered_groups:
        app.add_typer(extension, name=name)
        return
    (command,) = extension.registered_commands
    command.name = name
    app.registered_commands.append(command)


def _make_stand_in(help_text: str) -> typer.Typer:
    stand_in = typer.Typer(add_completion=False)

    @stand_in.command(help=help_text)
    def do_nothing() -> None:
        """List the command without importing it."""

    return stand_in


def _read_clusters(url: str) -> list[str]:
    """Return the names of the clusters of a service; nothing if it cannot be called."""
    import asyncio  # noqa: PLC0415

    from dagengine.cli.session import open_fleet_client  # noqa: PLC0415

    async def main() -> list[str]:
        async with asyncio.timeout(_LIMIT_S), open_fleet_client(url) as client:
            return [str(cluster["name"]) for cluster in await client.list_clusters()]

    try:
        return asyncio.run(main())
    except (DagengineError, typer.BadParameter, OSError, TimeoutError, LookupError):
        return []


def _read(ctx: typer.Context, work: Callable[[Client], Awaitable[list[Any]]]) -> list[Any]:
    """Return what the controller lists; nothing if it cannot be called without a question."""
    import asyncio  # noqa: PLC0415

    from dagengine.cli.session import PASSWORD_VARIABLE, open_client  # noqa: PLC0415

    os.environ.setdefault(PASSWORD_VARIABLE, "")  # never prompt

    async def main() -> list[Any]:
        async with asyncio.timeout(_LIMIT_S), open_client(str(ctx.params.get("url"))) as client:
            return await work(client)

    try:
        return asyncio.run(main())
    except (DagengineError, typer.BadParameter, OSError, TimeoutError, LookupError):
        return []

"""All commands with their options, for the documentation."""

from __future__ import annotations

from dataclasses import dataclass

from typer.main import get_command_from_info
from typer.models import CommandInfo

import dagengine.cli.commands  # noqa: F401  # adds the commands to `app`
from dagengine.cli.application import app
from dagengine.server.extension import CommandGroup
from dagengine.server.plugins import load_extension_points

_EXAMPLE = "Example: "


@dataclass(frozen=True, slots=True)
class CommandDescription:
    """A command, as its help describes it.

    Attributes:
        name: the command.
        group: heading in `dagengine --help`.
        help: what the command does.
        example: one command line.
        options: names of each option and argument, and its help.
    """

    name: str
    group: CommandGroup
    help: str
    example: str
    options: tuple[tuple[str, str], ...]


def list_commands() -> list[CommandDescription]:
    """Return the commands, also those of extensions, in the order of the help."""
    own = [
        _describe(info, CommandGroup(str(info.rich_help_panel)))
        for info in app.registered_commands
        if isinstance(info.rich_help_panel, str) and info.epilog
    ]
    extended = [
        _describe(info, command.group, name)
        for point in load_extension_points().points
        for name, command in point.commands.items()
        for info in command.app().registered_commands
    ]
    return [*own, *extended]


def _describe(info: CommandInfo, group: CommandGroup, name: str = "") -> CommandDescription:
    command = get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode=None)
    epilog = (info.epilog or "").partition("\n")[0]
    options = [
        (
            ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts)),
            getattr(parameter, "help", None) or "",
        )
        for parameter in command.params
        if not getattr(parameter, "hidden", False)
    ]
    return CommandDescription(
        name or command.name or "",
        group,
        " ".join((command.help or "").split()),
        epilog.removeprefix(_EXAMPLE),
        tuple(options),
    )

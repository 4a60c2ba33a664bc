"""The commands that extensions add, imported only to run them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from dagengine.cli import messages
from dagengine.cli.application import app
from dagengine.cli.views.screen import print_lines
from dagengine.errors import ConfigError
from dagengine.server.plugins import load_extension_points

if TYPE_CHECKING:
    from dagengine.server.extension import CliCommand


def find_extension_app(argv: Sequence[str]) -> typer.Typer | None:
    """Return the command of an extension, such as `demo`; None if the arguments name no such one.

    For a command line without a command, add the extensions' commands to the help.
    """
    if argv and argv[0] in find_own_commands():
        return None
    commands = load_extension_commands()
    if not argv or argv[0].startswith("-"):
        for name, command in commands.items():
            app.command(name, help=command.help, rich_help_panel=command.group)(_stand_in)
        return None
    return commands[argv[0]].app() if argv[0] in commands else None


def find_own_commands() -> set[str]:
    """Return the names of the commands that no extension adds."""
    return {
        command.name or command.callback.__name__  # type: ignore[union-attr]
        for command in app.registered_commands
        if command.callback is not _stand_in
    }


def find_command_names() -> set[str]:
    """Return the names of all commands, also of those of extensions that can be loaded."""
    try:
        points = load_extension_points().points
    except ConfigError:  # reported by the commands that need extensions
        points = ()
    return find_own_commands() | {name for point in points for name in point.commands}


def load_extension_commands() -> dict[str, CliCommand]:
    loaded = load_extension_points()
    for notice in loaded.notices:
        print_lines(sys.stderr, [messages.ERROR(message=notice)])
    return {name: c for point in loaded.points for name, c in point.commands.items()}


def _stand_in() -> None:
    """List an extension's command in the help without importing the command."""

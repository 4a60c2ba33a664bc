"""The command line's application, and the style that all commands share.

Extensions use `new_app` and `render_epilog` too, so that every `--help` has the same parts:
options, an example and the exit codes.
"""

from __future__ import annotations

import inspect
import platform
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

import dagengine
from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.runtime.terminal import write_lines

HELP_OPTIONS = ("-h", "--help")

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Command(TyperCommand):
    """A command whose help is wrapped at the width of the terminal, not of its source."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        paragraphs = inspect.cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


class _App(typer.Typer):
    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        return super().command(name, **{"cls": _Command, **settings})


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Return the parameters; typer shows `<bool>` behind a flag, which takes no value."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


def new_app(*, help_text: str | None = None, epilog: str | None = None) -> typer.Typer:
    """Return an application without commands, in the common style."""
    return _App(
        cls=_Group,
        help=help_text,
        epilog=epilog,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": [*HELP_OPTIONS]},
    )


def render_epilog(*examples: str) -> str:
    """Return the end of a command's help: examples, the most typical first, and the exit codes."""
    paragraphs = [messages.HELP_EXAMPLE(command=example) for example in examples]
    return "\n\n".join([*paragraphs, render_exit_codes()])


def render_exit_codes() -> str:
    """Return the exit codes with their meanings, as one sentence."""
    meanings = "; ".join(f"{code:d} {code.meaning}" for code in ExitCode)
    return messages.HELP_EXIT_CODES(codes=meanings)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        version = messages.VERSION(version=dagengine.__version__, python=platform.python_version())
        write_lines(sys.stdout, [version])
        raise typer.Exit(ExitCode.DONE)


app = new_app(
    help_text="Start and stop the servers of an OceanBase or seekdb cluster as tracked, durable "
    "tasks.",
    epilog=render_epilog("dagengine start --zone zone1"),
)


@app.callback(no_args_is_help=True)
def main_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    """Take the options without a command."""
    del version  # its callback has ended the command

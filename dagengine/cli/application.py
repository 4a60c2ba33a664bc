"""The command line's application, and the style that all commands share.

Extensions use `new_app` and `render_epilog` too, so that every `--help` has the same parts:
options, an example and the exit codes.
"""

from __future__ import annotations

import platform
import sys
from typing import Annotated

import typer

import dagengine
from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.runtime.terminal import write_lines

HELP_OPTIONS = ("-h", "--help")


def new_app(*, help_text: str | None = None, epilog: str | None = None) -> typer.Typer:
    """Return an application without commands, in the common style."""
    return typer.Typer(
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

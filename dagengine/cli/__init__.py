"""Entry point of the command line: `serve` runs directly, all other commands use typer.

Each side is imported when it is needed: a controller loads no typer, and a command that only calls
a controller loads neither the engine nor SSH nor SQLite.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dagengine.cli.interrupts import INTERRUPTED, exit_on_interrupt, raise_on_interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None for those of the process, which ends
            afterwards.

    Returns:
        0 success, 1 the DAG failed, 2 wrong usage or configuration, 3 the controller is
            unreachable, 4 permission denied, 130 interrupted.
    """
    if argv is not None:
        return _run(list(argv))
    exit_on_interrupt()
    try:
        return _run(sys.argv[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        exit_on_interrupt()


def _run(arguments: list[str]) -> int:
    is_help = bool({"-h", "--help"} & {*arguments})
    if arguments[:1] == ["serve"] and not is_help:  # typer renders the help of every command
        from dagengine.cli.serve import run_serve  # noqa: PLC0415

        return run_serve(arguments[1:])
    from dagengine.cli.dispatch import run_command  # noqa: PLC0415

    raise_on_interrupt()
    return run_command(arguments)

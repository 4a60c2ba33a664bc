"""Entry point of the command line: `serve` runs directly, all other commands use typer.

Each side is imported when it is needed: a controller loads no typer, and a command that only calls
a controller loads neither the engine nor SSH nor SQLite.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        0 success, 1 the DAG failed, 2 wrong usage or configuration, 3 the controller is
            unreachable, 4 permission denied, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["serve"]:
        from dagengine.cli.serve import run_serve  # noqa: PLC0415

        return run_serve(arguments[1:])
    from dagengine.cli.commands import run_command  # noqa: PLC0415

    return run_command(arguments)

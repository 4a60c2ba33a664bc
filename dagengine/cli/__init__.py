"""Entry point of the command line: `serve` runs directly, all other commands use typer.

A controller runs for months, so `serve` does not load typer: this module imports the other commands
only when they are needed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from dagengine.errors import DagengineError
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.plugins import load_extension_points

EXIT_DONE = 0
EXIT_USAGE = 2


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
        return run_serve(arguments[1:])
    from dagengine.cli.commands import run_command  # noqa: PLC0415

    return run_command(arguments)


def run_serve(argv: Sequence[str]) -> int:
    """Run a controller until a signal stops it."""
    parser = argparse.ArgumentParser("dagengine serve", description="Run the controller.")
    parser.add_argument(
        "-c", "--config", type=Path, required=True, metavar="FILE", help="the engine file"
    )
    options = parser.parse_args(argv)
    configure_logs()
    # Imported here: commands that only call a controller do not need it.
    from dagengine.server.controller import serve  # noqa: PLC0415

    try:
        loaded = load_extension_points()
        for notice in loaded.notices:
            structlog.get_logger("dagengine").warning("foreign_module_skipped", notice=notice)
        config = load_config(options.config, os.environ)
        asyncio.run(serve(config, loaded.points, _announce))
    except DagengineError as exc:
        sys.stderr.write(f"dagengine: {exc}\n")
        return EXIT_USAGE
    return EXIT_DONE


def _announce(url: str) -> None:
    sys.stdout.write(f"dagengine ready on {url}\n")
    sys.stdout.flush()

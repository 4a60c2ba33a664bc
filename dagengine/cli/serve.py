"""The command `serve`. A controller runs for months, so this module does not load typer."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.errors import DagengineError
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.plugins import load_extension_points


def run_serve(argv: Sequence[str]) -> int:
    """Run a controller until a signal stops it."""
    parser = argparse.ArgumentParser("dagengine serve", description="Run the controller.")
    parser.add_argument(
        "-c", "--config", type=Path, required=True, metavar="FILE", help="The engine file."
    )
    options = parser.parse_args(argv)
    configure_logs()
    # Imported after the arguments were checked: it takes most of the time.
    from dagengine.server.controller import serve  # noqa: PLC0415

    try:
        loaded = load_extension_points()
        for notice in loaded.notices:
            structlog.get_logger("dagengine").warning("foreign_module_skipped", notice=notice)
        config = load_config(options.config, os.environ)
        asyncio.run(serve(config, loaded.points, _announce))
    except DagengineError as exc:
        sys.stderr.write(f"{messages.ERROR(message=exc)}\n")
        return ExitCode.USAGE
    return ExitCode.DONE


def _announce(url: str) -> None:
    sys.stdout.write(f"{messages.READY(url=url)}\n")
    sys.stdout.flush()

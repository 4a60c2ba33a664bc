"""The command `serve`. A controller runs for months, so this module does not load typer."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from dagengine.cli import messages
from dagengine.cli.exit_codes import ExitCode
from dagengine.cli.interrupts import raise_on_interrupt
from dagengine.cli.usage.serve_options import LEVELS, LogFormat, parse_serve_options
from dagengine.cli.views.screen import print_lines
from dagengine.errors import ConfigError, DagengineError
from dagengine.runtime.logging import configure_logs
from dagengine.runtime.timers import run_in_process_time
from dagengine.server.config import find_engine_file, load_config
from dagengine.server.plugins import load_extension_points

if TYPE_CHECKING:
    from dagengine.server.cluster_service import ClusterService
    from dagengine.server.controller import Controller


def run_serve(argv: Sequence[str]) -> int:
    """Run a controller until a signal stops it."""
    try:
        options = parse_serve_options(argv)
    except ConfigError as exc:
        print_lines(sys.stderr, [messages.ERROR(message=exc)])
        return ExitCode.USAGE
    configure_logs(
        level=LEVELS[options.log_level],
        is_text=is_text_log(LogFormat(options.log_format), is_terminal=sys.stderr.isatty()),
    )
    # Imported after the arguments were checked: it takes most of the time.
    from dagengine.ownership.exit_timer import ExitTimer  # noqa: PLC0415
    from dagengine.server.controller import STOP_LIMIT_S, serve  # noqa: PLC0415

    raise_on_interrupt()
    limit = ExitTimer(STOP_LIMIT_S, lambda: os._exit(os.EX_TEMPFAIL), "stop_late")
    try:
        loaded = load_extension_points()
        for notice in loaded.notices:
            structlog.get_logger("dagengine").warning("foreign_module_skipped", notice=notice)
        config = load_config(options.config or find_engine_file(), os.environ)
        run_in_process_time(serve(config, loaded.points, _announce, limit.start))
    except DagengineError as exc:
        print_lines(sys.stderr, [messages.ERROR(message=exc)])
        return ExitCode.USAGE
    finally:
        limit.cancel()
    return ExitCode.DONE


def is_text_log(log_format: LogFormat, *, is_terminal: bool) -> bool:
    """Return whether the log has lines for people instead of JSON lines."""
    return log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and is_terminal)


def render_ready(controller: Controller, *, is_terminal: bool) -> list[str]:
    """Render the ready lines and, for a terminal, what the controller serves and what to do next.

    A controller with one cluster has one ready line, with several one for each.
    """
    served, service = controller.served, controller.service
    ready: list[str]
    if len(served) == 1 and service is None:
        ready = [messages.READY(url=served[0].url)]
    else:
        ready = [messages.READY_FOR(url=each.url, name=each.name) for each in served]
    if service is not None:
        url = service.url or f"unix:{service.socket}"
        ready.append(messages.READY_SERVICE(url=url))
    if not is_terminal:
        return ready
    lines = [*ready, *(line for each in served for line in _describe(each))]
    if service is None:
        lines.append(messages.READY_NEXT(url=served[0].url))
    else:
        lines.append(messages.READY_FLEET(path=service.socket))
    return [*lines, messages.READY_STOP()]


def _describe(served: ClusterService) -> list[str]:
    servers = served.cluster.servers
    zones = len({server.zone for server in servers})
    lines: list[str] = [
        messages.READY_CLUSTER(name=served.name, servers=len(servers), zones=zones),
        *(f"           {server.zone}  {server.name}" for server in servers),
    ]
    if (path := served.listener.socket) is not None:
        lines.append(messages.READY_SOCKET(path=path))
    return lines


def _announce(controller: Controller) -> None:
    print_lines(sys.stdout, render_ready(controller, is_terminal=sys.stdout.isatty()))

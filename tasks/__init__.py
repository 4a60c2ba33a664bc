"""Operations on database servers, with their HTTP routes and commands.

Importing this package loads none of its modules: `dagengine --help` and the commands that only call
a controller do so too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from dagengine.extension import CliCommand, CommandGroup, Extension, ExtensionContext, Plugin

if TYPE_CHECKING:
    import typer


def _open(context: ExtensionContext) -> AbstractAsyncContextManager[Extension]:
    from tasks.extension import open_extension  # noqa: PLC0415

    return open_extension(context)


def _demo() -> typer.Typer:
    from tasks.demo.command import app  # noqa: PLC0415

    return app


def _hosts() -> typer.Typer:
    from tasks.cli.hosts import app  # noqa: PLC0415

    return app


def _doctor() -> typer.Typer:
    from tasks.cli.doctor_report import app  # noqa: PLC0415

    return app


def _init() -> typer.Typer:
    from tasks.cli.setup import init_app  # noqa: PLC0415

    return init_app


def _config() -> typer.Typer:
    from tasks.cli.setup import config_app  # noqa: PLC0415

    return config_app


def _explain() -> typer.Typer:
    from tasks.cli.explain import app  # noqa: PLC0415

    return app


def _list_checks() -> Iterable[str]:
    from tasks.preflight.checks import CHECKS  # noqa: PLC0415

    return [check.name for check in CHECKS]


EXTENSION = Plugin(
    "oceanbase",
    _open,
    {
        "init": CliCommand(
            "Write an engine file and a cluster file to start from.", _init, CommandGroup.SETUP
        ),
        "config": CliCommand(
            "Check the engine file and the cluster file: `check`.", _config, CommandGroup.SETUP
        ),
        "hosts": CliCommand(
            "Pin the keys of the hosts: `trust`; take a home over: `claim`.",
            _hosts,
            CommandGroup.SETUP,
        ),
        "doctor": CliCommand(
            "Check the whole installation; report problems and remedies.",
            _doctor,
            CommandGroup.SETUP,
        ),
        "demo": CliCommand("Three real servers, started end to end.", _demo, CommandGroup.SETUP),
        "explain": CliCommand("Explain an error code, or a check.", _explain, CommandGroup.OTHER),
    },
    _list_checks,
)

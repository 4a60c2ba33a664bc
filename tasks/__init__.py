"""Operations on database servers, with their HTTP routes and commands.

Importing this package loads none of its modules: `dagengine --help` and the commands that only call
a controller do so too.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from dagengine.extension import CliCommand, Extension, ExtensionContext, Plugin

if TYPE_CHECKING:
    import typer


def _open(context: ExtensionContext) -> AbstractAsyncContextManager[Extension]:
    from tasks.routes.extension import open_extension  # noqa: PLC0415

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


EXTENSION = Plugin(
    "oceanbase",
    _open,
    {
        "demo": CliCommand("Three real servers, started end to end.", _demo),
        "doctor": CliCommand(
            "Check the whole installation; report problems and remedies.", _doctor
        ),
        "hosts": CliCommand("Show the keys of the hosts and pin them: `trust`.", _hosts),
    },
)

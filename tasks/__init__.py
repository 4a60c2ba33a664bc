"""Operations on database servers, with their HTTP routes and commands.

Importing this package loads none of its modules: `dagengine --help` and the commands that only call
a controller do so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from dagengine.extension import CliCommand, Extension, ExtensionContext, Plugin


def _open(context: ExtensionContext) -> AbstractAsyncContextManager[Extension]:
    from tasks.routes.extension import open_extension  # noqa: PLC0415

    return open_extension(context)


def _demo(arguments: Sequence[str]) -> int:
    from tasks.demo.command import run_demo  # noqa: PLC0415

    return run_demo(arguments)


def _hosts(arguments: Sequence[str]) -> int:
    from tasks.cli.hosts import run_hosts  # noqa: PLC0415

    return run_hosts(arguments)


def _doctor(arguments: Sequence[str]) -> int:
    from tasks.cli.doctor_report import run_doctor  # noqa: PLC0415

    return run_doctor(arguments)


EXTENSION = Plugin(
    "oceanbase",
    _open,
    {
        "demo": CliCommand("Three real servers, started end to end.", _demo),
        "doctor": CliCommand("Look at the whole set-up and say what to mend.", _doctor),
        "hosts": CliCommand("Show the keys of the hosts and pin them: `trust`.", _hosts),
    },
)

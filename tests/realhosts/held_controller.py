"""A controller whose steps can be held at any stage while it runs; for tests only.

argv: a directory, -c FILE. While the directory has a file `3-before` (or `3-after`), every step of
stage 3 makes a file `3-before-<server or "cluster">` there and waits until `3-before` is removed.
While it has a file `send-dagengine-start`, the command of that name waits before it is sent.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from dagengine.extension import Extension, ExtensionContext
from dagengine.model.operation import Operation
from dagengine.model.outcome import Outcome
from dagengine.model.step import StepContext
from dagengine.remote import Command, CommandResult
from dagengine.remote.ssh import pool
from dagengine.remote.ssh.runner import SshRunner
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.controller import Controller, serve
from dagengine.testing import eventually, gated
from tasks import EXTENSION

HOLDS = Path(sys.argv[1])


async def wait_at(hold: str, place: str) -> None:
    file = HOLDS / hold
    if not file.exists():
        return
    (HOLDS / f"{hold}-{place}").touch()

    async def is_open() -> bool:
        return not file.exists()

    await eventually(is_open, timeout_s=600, what=f"the opening of {hold}")


def held(operation: Operation) -> Operation:
    """Return the operation with a hold before and after the step of every stage."""
    for number, stage in enumerate(operation.stages, start=1):

        async def before(context: StepContext, number: int = number) -> None:
            await wait_at(f"{number}-before", context.target or "cluster")

        async def after(context: StepContext, _outcome: Outcome, number: int = number) -> None:
            await wait_at(f"{number}-after", context.target or "cluster")

        operation = gated(operation, stage.name, before=before, after=after)
    return operation


class HeldRunner(SshRunner):
    """Holds commands after the step has decided on them and before they are sent."""

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        for word in command.argv:
            if isinstance(word, str) and word.startswith("dagengine-"):
                await wait_at(f"send-{word}", self.address.host)
        return await super().run(command, timeout_s=timeout_s)


@asynccontextmanager
async def open_held(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
    async with EXTENSION.open(surroundings) as extension:
        yield replace(extension, operations=[held(o) for o in extension.operations])


def announce(controller: Controller) -> None:
    sys.stdout.write(f"dagengine ready on {controller.url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure_logs()
    vars(pool)["SshRunner"] = HeldRunner
    config = load_config(Path(sys.argv[3]), os.environ)
    asyncio.run(serve(config, [replace(EXTENSION, open=open_held)], announce))

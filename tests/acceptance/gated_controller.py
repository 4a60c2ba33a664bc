"""A controller whose operation can be held in a stage, for tests only.

argv: a JSON object {"stage": name, "side": "before" | "after", "reached": file}, -c FILE.
The held step creates the file `reached` and waits until the test kills the process or removes
the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from dagengine.extension import Extension, ExtensionContext
from dagengine.model.outcome import Outcome
from dagengine.model.step import StepContext
from dagengine.runtime.logging import configure_logs
from dagengine.server.config import load_config
from dagengine.server.controller import Controller, serve
from dagengine.testing import eventually, gated
from tasks import EXTENSION

LATCH = json.loads(sys.argv[1])


async def hold(_context: StepContext, _outcome: Outcome | None = None) -> None:
    reached = Path(LATCH["reached"])
    reached.touch()

    async def is_open() -> bool:
        return not reached.exists()

    await eventually(is_open, timeout_s=600, what="the opening of the latch")


@asynccontextmanager
async def open_gated(surroundings: ExtensionContext) -> AsyncIterator[Extension]:
    side = {LATCH["side"]: hold}
    async with EXTENSION.open(surroundings) as extension:
        operations = [gated(o, LATCH["stage"], **side) for o in extension.operations]
        yield replace(extension, operations=operations)


def announce(controller: Controller) -> None:
    sys.stdout.write(f"dagengine ready on {controller.url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    configure_logs()
    config = load_config(Path(sys.argv[3]), os.environ)
    asyncio.run(serve(config, [replace(EXTENSION, open=open_gated)], announce))

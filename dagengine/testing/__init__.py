"""The public test kit: replacements for real parts in tests of operations and the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from dagengine.errors import StoreUnavailable
from dagengine.model.changes import Batch
from dagengine.model.operation import Operation, Stage
from dagengine.model.outcome import Outcome
from dagengine.model.step import StepContext
from dagengine.store.contract import BatchRefused
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing.fake_clock import FakeClock
from dagengine.testing.local_runner import LocalRunner, LocalRunnerPool

__all__ = [
    "CrashingStore",
    "FakeClock",
    "Latch",
    "LocalRunner",
    "LocalRunnerPool",
    "eventually",
    "gated",
]
from dagengine.testing import messages


class CrashingStore(SqliteStore):
    """A real store whose commits fail, as on a full disk, at scripted positions."""

    def __init__(self, path: str, *, refuse: Iterable[int] = ()) -> None:
        """Set the numbers of the commits to `refuse`, counting from 1."""
        super().__init__(path)
        self.commits = 0
        self._refuse = frozenset(refuse)

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        self.commits += 1
        if self.commits in self._refuse:
            raise StoreUnavailable(messages.COMMIT_REFUSED(number=self.commits))
        return await super().commit(batches)


class Latch:
    """Holds steps at a stage until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def wait(self) -> None:
        """Signal that the step has arrived, and hold it until the latch is opened."""
        self.reached.set()
        await self._open.wait()


def gated(
    operation: Operation,
    stage_name: str,
    *,
    before: Callable[[StepContext], Awaitable[None]] | None = None,
    after: Callable[[StepContext, Outcome], Awaitable[None]] | None = None,
) -> Operation:
    """Return the operation with a function awaited before or after one stage's step."""

    def wrap(stage: Stage) -> Stage:
        if stage.name != stage_name:
            return stage
        inner = stage.run

        async def run(context: StepContext) -> Outcome:
            if before is not None:
                await before(context)
            outcome = await inner(context)
            if after is not None:
                await after(context, outcome)
            return outcome

        return replace(stage, run=run)

    return replace(operation, stages=tuple(wrap(stage) for stage in operation.stages))


async def eventually(
    condition: Callable[[], Awaitable[bool]],
    *,
    timeout_s: float = 20.0,
    every_s: float = 0.02,
    what: str = "it",
) -> None:
    """Wait until a condition holds, by polling; for conditions without a notification.

    Args:
        condition: checks the condition once.
        timeout_s: how long to poll, in seconds.
        every_s: pause between two checks, in seconds.
        what: name of the condition in the error message.

    Raises:
        AssertionError: the condition did not hold within `timeout_s` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110  # nothing announces it
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen within {timeout_s:g} s") from None

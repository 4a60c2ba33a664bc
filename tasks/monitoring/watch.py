"""The watch of one host: one script over its SSH connection that reports changes of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Protocol

import structlog

from dagengine.errors import RemoteError
from dagengine.extension import Backoff
from dagengine.remote import LineStream, Runner
from tasks.cluster.servers import Server
from tasks.hosts.commands import LIFE_S, watch_command
from tasks.hosts.watch import ProcessChanged, ProcessState, SignOfLife, parse_event, refuse_watch
from tasks.monitoring import messages

SILENCE_S = 2.0 * LIFE_S + 5.0
"""Time without a line of the watch after which the state of its servers is unknown, in seconds."""

_EXPIRE_S = 2.0  # between two searches for outdated states while a host is not watched
_OPEN_S = 60.0  # limit on connecting, logging in and opening a session
_STABLE_S = 60.0  # after so long, the end of a watch counts as the first one
_RETRY = Backoff((1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0), jitter=0.2)

_log = structlog.get_logger("tasks")


class WatchReceiver(Protocol):
    """The owner of the states that watches report."""

    def record_process(self, server: Server, state: ProcessState) -> None: ...

    def record_life(self, servers: Sequence[Server]) -> None: ...

    def record_loss(self, servers: Sequence[Server], reason: str) -> None: ...

    def expire(self, servers: Sequence[Server], reason: str) -> None: ...


class HostWatch:
    """Watches the servers of one address; repeats a watch that ends, at growing intervals.

    Attributes:
        servers: at least one.
    """

    def __init__(self, runner: Runner, servers: tuple[Server, ...], receiver: WatchReceiver):
        self.servers = servers
        self._runner = runner
        self._receiver = receiver
        self._random = Random()  # noqa: S311  # spreads the attempts
        self._task: asyncio.Task[None] | None = None
        self._has_life = False

    def start(self) -> None:
        """Begin to watch."""
        name = f"watch {self._runner.address}"
        self._task = asyncio.create_task(self._run(), name=name)

    def cancel(self) -> asyncio.Task[None]:
        """Cancel the watch; return the task that ends then."""
        assert self._task is not None
        self._task.cancel()
        return self._task

    async def _run(self) -> None:
        failures = 0
        while True:
            started_s = asyncio.get_running_loop().time()
            reason = refuse_watch(self._runner.address) or await self._watch()
            lasted_s = asyncio.get_running_loop().time() - started_s
            if self._has_life and lasted_s >= _STABLE_S:
                failures = 0
            if failures == 0:
                _log.warning("host_not_watched", host=str(self._runner.address), reason=reason)
            await self._wait(_RETRY.pause_s(failures, self._random), reason)
            failures += 1

    async def _watch(self) -> str:
        """Follow one watch to its end; return the reason of the end."""
        self._has_life = False
        try:
            async with self._runner.stream(watch_command(self.servers), timeout_s=_OPEN_S) as lines:
                reason = await self._follow(lines)
        except RemoteError as exc:
            reason = exc.message
        except TimeoutError:
            reason = messages.WATCH_SILENT(limit_s=SILENCE_S)
        if self._has_life:
            self._receiver.record_loss(self.servers, reason)
        return reason

    async def _follow(self, lines: LineStream) -> str:
        while True:
            async with asyncio.timeout(SILENCE_S):
                line = await lines.read_line()
            if line is None:
                return messages.WATCH_ENDED()
            match parse_event(line, len(self.servers)):
                case ProcessChanged(index, state):
                    self._has_life = True
                    self._receiver.record_process(self.servers[index], state)
                case SignOfLife():
                    self._has_life = True
                    lines.write_line("")
                    self._receiver.record_life(self.servers)
                case None:
                    pass

    async def _wait(self, pause_s: float, reason: str) -> None:
        """Wait until the next attempt, and forget states that are outdated by then."""
        while pause_s > 0:
            self._receiver.expire(self.servers, reason)
            await asyncio.sleep(min(pause_s, _EXPIRE_S))
            pause_s -= _EXPIRE_S

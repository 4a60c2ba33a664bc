"""Queries to a host: they change nothing, so a lost query may be repeated."""

from __future__ import annotations

from dagengine.errors import ConnectionLost
from dagengine.remote import Command, CommandResult, Runner


async def run_query(runner: Runner, question: Command) -> CommandResult:
    """Run a read-only command within the host's command time-out.

    If the connection breaks, the command is repeated once over a new one: this succeeds after a
    restart of sshd, and otherwise reports why the host is unreachable.

    Raises:
        RemoteError: see Runner.run.
    """
    timeout_s = runner.address.command_timeout_s
    try:
        return await runner.run(question, timeout_s=timeout_s)
    except ConnectionLost:
        return await runner.run(question, timeout_s=timeout_s)

"""Asking a host: questions change nothing, so one that was lost may be asked again."""

from __future__ import annotations

from dagengine import Command, CommandResult, ConnectionLost, Runner


async def ask(runner: Runner, question: Command) -> CommandResult:
    """Run a command that only looks, within the host's time for a question.

    When the connection breaks under it, it is asked once more over a new one: that heals a
    restarted sshd, and else says why the host cannot be reached any more.

    Raises:
        RemoteError: see Runner.run.
    """
    timeout_s = runner.address.command_timeout_s
    try:
        return await runner.run(question, timeout_s=timeout_s)
    except ConnectionLost:
        return await runner.run(question, timeout_s=timeout_s)

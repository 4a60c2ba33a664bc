"""Running scripts on a host, and the report of one that did not complete."""

from __future__ import annotations

from dagengine.errors import ConnectionLost, RemoteError
from dagengine.remote import Command, CommandResult, Runner
from tasks.errors import Code
from tasks.hosts import messages

_EXCERPT_LENGTH = 300


class ScriptFailed(RemoteError):
    """Raised when a script on a host ended with an error of its own."""

    err_code = Code.REQUEST_FAILED


async def run_query(runner: Runner, question: Command, *, may_fail: bool = False) -> CommandResult:
    """Run a read-only command within the host's command time-out.

    If the connection breaks, the command is repeated once over a new one: this succeeds after a
    restart of sshd, and otherwise reports why the host is unreachable.

    Args:
        runner: for the host.
        question: the command.
        may_fail: whether the caller evaluates the exit status.

    Raises:
        ScriptFailed: the exit status is not 0.
        RemoteError: see Runner.run.
    """
    timeout_s = runner.address.command_timeout_s
    try:
        result = await runner.run(question, timeout_s=timeout_s)
    except ConnectionLost:
        result = await runner.run(question, timeout_s=timeout_s)
    if not may_fail:
        ensure_completed(result, question, runner)
    return result


def ensure_completed(result: CommandResult, command: Command, runner: Runner) -> None:
    """Raise ScriptFailed unless the exit status is 0."""
    if failure := describe_failure(result):
        name = command.render_short().split(" ", 1)[0]
        raise ScriptFailed(
            messages.SCRIPT_FAILED(script=name, address=runner.address, failure=failure),
            host=str(runner.address),
            remedy=messages.CORRECT_HOST(),
        )


def describe_failure(result: CommandResult) -> str:
    """Return how a script failed, with the end of its error output; empty if it did not."""
    if result.exit_status == 0:
        return ""
    output = " ".join(result.stderr.split())[-_EXCERPT_LENGTH:] or messages.OUTPUT_EMPTY()
    if result.exit_status is None:
        return messages.SCRIPT_SIGNALLED(signal=result.signal, output=output)
    return messages.SCRIPT_STATUS(status=result.exit_status, output=output)

"""A program of its own that runs two operations durably. `python docs/howto/embed.py FILE`."""

from __future__ import annotations

import asyncio
import sys

import structlog

from dagengine import (
    DagUpdated,
    Engine,
    Failed,
    Flags,
    Operation,
    Operator,
    Outcome,
    Problem,
    SqliteStore,
    Stage,
    StageKind,
    StepContext,
    Submission,
    Succeeded,
)

RUNNING: set[str] = set()  # stands for what is out there


async def choose(context: StepContext) -> Outcome:
    """A normal stage: once for the whole DAG."""
    if (reply := await context.acquire_lock()).holder is not None:
        who = await context.describe_holder(reply.holder)
        return Failed(Problem("Example.Locked", f"another one is at work: {who}", "wait for it"))
    await context.log(f"{len(context.targets)} machines, colour {context.params['colour']}")
    return Succeeded()


async def start(context: StepContext) -> Outcome:
    """A parallel stage: once for each target. Look first: it may run again after a crash."""
    machine = context.target or ""
    if machine in RUNNING:
        await context.log(f"{machine} runs already, nothing to do")
        return Succeeded({"started": False})
    if machine == "broken":
        return Failed(Problem("Example.Broken", f"{machine} does not start", "mend it, then RETRY"))
    context.wait_for("machine", f"the start of {machine}", next_in_s=0.01)
    await asyncio.sleep(0.01)
    RUNNING.add(machine)
    await context.log(f"{machine} runs")
    return Succeeded({"started": True}, evidence={"level": "running"})


async def stop(context: StepContext) -> Outcome:
    """Undoes `start` for a rollback."""
    RUNNING.discard(context.target or "")
    await context.log(f"{context.target} stopped")
    return Succeeded()


async def gone(context: StepContext) -> bool:
    """Asked after a cancel: does nothing of `start` run on?"""
    return context.target not in RUNNING


START_MACHINES = Operation(
    "Start machines",
    (
        Stage("Choose", StageKind.NORMAL, choose, flags=Flags(can_rollback=True)),
        Stage(
            "Start",
            StageKind.PARALLEL,
            start,
            undo=stop,
            confirm_stopped=gone,
            flags=Flags(can_rollback=True),
            timeout_s=30,
        ),
    ),
    lock_key="machines",
    takes_lock="Choose",
    timeout_s=120,
)


async def main(path: str) -> list[str]:
    """Returns what it saw."""
    seen = []
    async with Engine(store=SqliteStore(path), operations=[START_MACHINES]) as engine:
        with engine.subscribe() as events:
            accepted = await engine.submit(
                Submission("Start machines", targets=("a", "b"), params={"colour": "red"}),
                by="example",
            )
            async for event in events:
                if isinstance(event, DagUpdated) and event.state.is_final:
                    seen.append(f"DAG {event.dag_id} is {event.state}")
                    break
        ended = await engine.wait(accepted.dag.dag_id)
        for node in ended.nodes or ():
            for task in node.sub_tasks:
                seen += [f"{node.node.name}: {line.content}" for line in task.logs]

        wish = Submission("Start machines", targets=("c", "broken"), params={"colour": "blue"})
        failed = await engine.wait((await engine.submit(wish)).dag.dag_id)
        seen.append(f"DAG {failed.dag.dag_id} is {failed.dag.state}")
        await engine.operate_dag(failed.dag.dag_id, Operator.ROLLBACK, by="example", reason="shown")
        undone = await engine.wait(failed.dag.dag_id)
        seen.append(f"DAG {undone.dag.dag_id} is {undone.dag.state} + {undone.dag.operator}")
        seen += [f"audit: {row.action} by {row.by}" for row in await engine.list_audit()]
    return seen


if __name__ == "__main__":
    # What the engine logs would else be printed between the lines of this program.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.stdout.writelines(f"{line}\n" for line in asyncio.run(main(sys.argv[1])))

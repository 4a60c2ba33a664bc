"""A launch, or a change of files before it, that does not end on its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine import Failed, Outcome, ResultUnknown, SystemClock
from dagengine.remote import Command, CommandResult, HostAddress
from dagengine.testing import LocalRunner, LocalRunnerPool
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS
from tasks.operations.start import CHECK, START, start_operation
from tests.support.hostile_cluster import FIRST, FakeContext


class RecordedHost(LocalRunner):
    """Responds to every command with the recorded output of a start script."""

    def __init__(self, address: HostAddress, output: str) -> None:
        super().__init__(address)
        self.output = output

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        del command, timeout_s
        return CommandResult(0, None, self.output, "", truncated=False)


class RecordedPool(LocalRunnerPool):
    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output

    def runner(self, address: HostAddress) -> LocalRunner:
        return RecordedHost(address, self.output)


async def run_start(directory: Path, output: str) -> Outcome:
    """Run the stage that starts a server, on a host with that response to the script."""
    (directory / "cluster.yaml").write_text(
        "name: c\nid: 1\nflavour: seekdb\nroot_password: none\n"
        f"zones: {{z: [{{ip: 127.0.0.1, home: {directory}}}]}}\n"
    )
    cluster = ClusterFile(directory / "cluster.yaml", FLAVOURS)
    operation = start_operation(ClusterAccess(cluster, RecordedPool(output), SystemClock()))
    (stage,) = (stage for stage in operation.stages if stage.name == START)
    context = FakeContext(
        FIRST,
        params={"scope": {"type": "GLOBAL", "target": []}},
        data={CHECK: {"kind": "first", "awaits_password": True}},
    )
    return await stage.run(context.as_context())


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        pytest.param(
            "log_from=0\noutcome=hung\n",
            [
                "it is not known whether the server of {home} was started",
                "{home}/bin/seekdb",
                "unmount or repair",
            ],
            id="process not found",
        ),
        pytest.param(
            "log_from=0\noutcome=hung\ndoubt=unexamined 6\ndoubt=killed 7\n",
            ["whether the server of {home} was started", "(pid 7)", "unmount or repair"],
            id="process found",
        ),
        pytest.param(
            "log_from=0\noutcome=hung\npid=7\nstarted=8\n",
            ["whether the server of {home} was started"],
            id="identified",
        ),
        pytest.param(
            "stuck=7\noutcome=stuck\n",
            ["which files of {home} were moved or written", "pid 7", "thaw a frozen file system"],
            id="files",
        ),
    ],
)
async def test_start_stage_hung_command_is_result_unknown(
    tmp_path: Path, output: str, texts: list[str]
) -> None:
    outcome = await run_start(tmp_path, output)
    assert isinstance(outcome, ResultUnknown)
    text = outcome.problem.render()
    missing = [part for part in [*texts, "RETRY"] if part.format(home=tmp_path) not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        ("outcome=locked\nholder=7 mv\nholder=8 sh\n", ["(mv, pid 7)"]),
        ("outcome=locked\n", ["this login cannot see"]),
        ("outcome=doubtful\ndoubt=killed 7\n", ["pid 7 in {home} was sent SIGKILL", "wait until"]),
        (
            "status=0\noutcome=launched\ndoubt=name 7\ndoubt_program=7 /usr/bin/dash\n",
            ["pid 7 works in {home}", "/usr/bin/dash"],
        ),
        ("status=137\noutcome=launched\n", ["the program ended with status 137"]),
    ],
)
async def test_start_stage_after_a_hung_command_names_process(
    tmp_path: Path, output: str, texts: list[str]
) -> None:
    outcome = await run_start(tmp_path, output)
    assert isinstance(outcome, Failed)
    text = outcome.problem.render()
    assert [part for part in texts if part.format(home=tmp_path) not in text] == []

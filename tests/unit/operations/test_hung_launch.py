"""A launch that does not end on its host: whether the server was started is not known."""

from __future__ import annotations

from pathlib import Path

from dagengine import ResultUnknown, SystemClock
from dagengine.remote import Command, CommandResult, HostAddress
from dagengine.testing import LocalRunner, LocalRunnerPool
from tasks.cluster.access import ClusterAccess
from tasks.cluster.cluster_file import ClusterFile
from tasks.flavours.select import FLAVOURS
from tasks.operations.start import CHECK, START, start_operation
from tests.support.hostile_cluster import FIRST, FakeContext


class HungHost(LocalRunner):
    """Responds to every command as a start script with a hung launch."""

    async def run(self, command: Command, *, timeout_s: float) -> CommandResult:
        del command, timeout_s
        return CommandResult(0, None, "log_from=0\noutcome=hung\n", "", truncated=False)


class HungPool(LocalRunnerPool):
    def runner(self, address: HostAddress) -> LocalRunner:
        return HungHost(address)


async def test_start_stage_with_hung_launch_is_result_unknown(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(
        "name: c\nid: 1\nflavour: seekdb\nroot_password: none\n"
        f"zones: {{z: [{{ip: 127.0.0.1, home: {tmp_path}}}]}}\n"
    )
    cluster = ClusterFile(tmp_path / "cluster.yaml", FLAVOURS)
    operation = start_operation(ClusterAccess(cluster, HungPool(), SystemClock()))
    (stage,) = (stage for stage in operation.stages if stage.name == START)
    context = FakeContext(
        FIRST,
        params={"scope": {"type": "GLOBAL", "target": []}},
        data={CHECK: {"kind": "first", "awaits_password": True}},
    )
    outcome = await stage.run(context.as_context())
    assert isinstance(outcome, ResultUnknown)
    text = outcome.problem.render()
    assert f"it is not known whether the server of {tmp_path} was started" in text
    assert str(tmp_path / "bin/seekdb") in text
    assert "unmount or repair" in text
    assert "RETRY" in text

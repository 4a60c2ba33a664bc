"""The limit of a command that may hang, run on this machine."""

from __future__ import annotations

import pytest

from dagengine.remote.command import script
from dagengine.testing import LocalRunner
from tasks.hosts.scripts import read_script


async def run(text: str, pause_s: float) -> str:
    """Run commands; each `sleep` takes longer, as on a host that is busy or was paused."""
    slow_sleep = f"mounts=''; sleep() {{ echo poll; command sleep {pause_s}; }}\n"
    command = script(f"{read_script('bounded')}\n{slow_sleep}{text}", "test")
    return (await LocalRunner().run(command, timeout_s=60)).stdout


@pytest.mark.parametrize("pause_s", [0.1, 0.3])
async def test_wait_for_child_lasts_by_clock_with_least_polls(pause_s: float) -> None:
    """Of 20 polls in a second, half are required."""
    output = await run('tail -f /dev/null & wait_for_child "$!" 1 10 || echo over', pause_s)
    assert output == "poll\n" * 10 + "over\n"


async def test_bounded_on_busy_host_waits_for_all_polls() -> None:
    """A command that the host does not run in time does not hang."""
    output = await run('bounded 1 exec tail -f /dev/null; echo "status=$?"', 0.1)
    assert output == "poll\n" * 20 + "status=124\n"

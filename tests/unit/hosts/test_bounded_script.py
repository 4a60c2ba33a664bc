"""The limit of a command that may hang, run on this machine."""

from __future__ import annotations

import pytest

from dagengine.remote.command import script
from dagengine.testing import LocalRunner
from tasks.hosts.scripts import read_script


@pytest.mark.parametrize("pause_s", [0.1, 0.3])
async def test_bounded_waits_by_clock_but_polls_after_pause(pause_s: float) -> None:
    """Each `sleep` takes twice as long, as on a busy host, or longer, as on one that is paused."""
    text = f"""{read_script("bounded")}
mounts=''
sleep() {{ echo poll; command sleep {pause_s}; }}
bounded 1 exec tail -f /dev/null
echo "status=$?"
"""
    output = (await LocalRunner().run(script(text, "test"), timeout_s=60)).stdout
    assert output == "poll\n" * 10 + "status=124\n"  # of 20

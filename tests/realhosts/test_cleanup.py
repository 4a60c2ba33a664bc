"""Nothing of the hosts is left on this machine, however a session ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.realhosts.conftest import skip_reason
from tests.realhosts.host_cluster import find_leftovers, until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
async def test_hosts_of_killed_process_leave_nothing(
    number: signal.Signals,
) -> None:
    if (reason := skip_reason()) is not None:
        pytest.skip(reason)
    maker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.realhosts.orphaned_start"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert maker.stdout is not None
    try:
        async with asyncio.timeout(400):
            details = json.loads(await maker.stdout.readline())
        # Held open, so that the namespace numbers are not reused.
        files = [os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY) for pid in details["inits"]]
        arguments = (Path(details["directory"]), [os.fstat(file).st_ino for file in files])
        assert len(find_leftovers(*arguments)) > len(files)
        maker.send_signal(number)
        async with asyncio.timeout(120):
            await maker.wait()
    finally:
        if maker.returncode is None:
            maker.kill()
            await maker.wait()
    await until(lambda: find_leftovers(*arguments) == [], f"an end of {find_leftovers(*arguments)}")
    for file in files:
        os.close(file)

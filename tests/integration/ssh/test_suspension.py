"""The controller is suspended, or its clock jumps, while hosts work: no host is blamed for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dagengine.testing import eventually
from tests.support.sshd import MISSING, SshLab
from tests.support.suspended_engine import KINDS, LIMIT_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
ROOT = Path(__file__).parents[3]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SUSPENDED_S, JUMPING_S = LIMIT_S + 4, LIMIT_S - 2

Disturb = Callable[[asyncio.subprocess.Process, str], None]
"""Called when all commands have `started`, and when all have `ended`."""


def suspend(engine: asyncio.subprocess.Process, moment: str) -> None:
    engine.send_signal(signal.SIGSTOP if moment == "started" else signal.SIGCONT)


def jump(file: Path, jump_s: int, engine: asyncio.subprocess.Process, moment: str) -> None:
    """Set the wall clock of the engine; the file controls libfaketime."""
    file.write_text(f"{jump_s:+d}\n" if moment == "started" else "+0\n")


async def disturbed_run(
    lab: SshLab,
    loop: str,
    seconds: int,
    disturb: Disturb,
    environ: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Disturb an engine whose commands take some seconds; return its DAGs and its log."""
    host, key = await lab.sshd(), await lab.key("key")
    lab.let_in(key, host)
    address = lab.address(host, key_file=key, keepalive_interval_s=0.5)
    names = ("host", "port", "user", "known_hosts", "key_file", "keepalive_interval_s")
    fields = json.dumps({name: getattr(address, name) for name in names}, default=str)
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.suspended_engine", fields),
        *(str(lab.directory), loop, str(seconds)),
        cwd=ROOT,
        env=os.environ | (environ or {}),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        for moment in ("started", "ended"):

            async def is_reached(moment: str = moment) -> bool:
                assert engine.returncode is None
                return all((lab.directory / f"{kind}.{moment}").exists() for kind in KINDS)

            await eventually(is_reached, timeout_s=60, what=f"all commands {moment}")
            disturb(engine, moment)
        out, _ = await engine.communicate()
    finally:
        if engine.returncode is None:
            engine.kill()
            await engine.wait()
    *log, results = out.decode().splitlines()
    return json.loads(results), log


def check_no_deadline_passed(dags: dict[str, Any]) -> None:
    ends = {kind: (dag["state"], dag["operator"]) for kind, dag in dags.items()}
    expected = dict.fromkeys(KINDS, ("SUCCEED", "RUN"))
    assert ends == expected | {"confirmation": ("FAILED", "CANCEL")}, dags
    assert not [line for line in dags["confirmation"]["lines"] if "ERROR" in line]


async def test_suspension_extends_all_deadlines(lab: SshLab) -> None:
    dags, log = await disturbed_run(lab, "process time", SUSPENDED_S, suspend)
    check_no_deadline_passed(dags)
    assert [line for line in log if "process_suspended" in line]


async def test_suspension_in_foreign_loop_is_named(lab: SshLab) -> None:
    dags, _ = await disturbed_run(lab, "asyncio", SUSPENDED_S, suspend)
    failures = [dag["lines"][-1] for dag in dags.values() if dag["state"] == "FAILED"]
    assert failures
    assert all("the controller was suspended for" in line for line in failures), failures


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
@pytest.mark.parametrize("jump_s", [3600, -3600], ids=["ahead", "behind"])
async def test_clock_jump_is_no_suspension(lab: SshLab, jump_s: int) -> None:
    file = lab.directory / "clock"
    file.write_text("+0\n")
    environ = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    disturb = partial(jump, file, jump_s)
    dags, log = await disturbed_run(lab, "process time", JUMPING_S, disturb, environ)
    check_no_deadline_passed(dags)
    assert not [line for line in log if "process_suspended" in line]

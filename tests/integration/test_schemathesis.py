"""schemathesis asks everything that the OpenAPI document allows, and much that it does not."""

from __future__ import annotations

import asyncio
import os
import sysconfig
from pathlib import Path

import pytest

from tests.integration.test_api import PASSWORD, World, world

__all__ = ["world"]  # the fixture

pytestmark = pytest.mark.slow

SETUP = Path(__file__).with_name("schemathesis_setup")
BUDGET_S = 60
SEED = 20240110


def pass_time(world: World) -> None:
    """A minute every 20 ms: an address that sent spoiled headers has to pause, but not for ever."""
    world.clock.advance(60)
    asyncio.get_running_loop().call_later(0.02, pass_time, world)


async def test_no_answer_is_undocumented_or_unexpected(world: World, tmp_path: Path) -> None:
    await world.ended(await world.start())
    pass_time(world)
    program = Path(sysconfig.get_path("scripts")) / "schemathesis"
    process = await asyncio.create_subprocess_exec(
        program,
        *("--config-file", SETUP / "schemathesis.toml"),
        *("run", f"{world.url}/openapi.json"),
        *("--exclude-path", "/api/v1/odd"),  # it breaks on purpose
        *("--exclude-path-regex", "/events$"),  # it goes on as long as its DAG does
        *("--request-timeout", "30"),
        *(
            "--exclude-checks",
            "unsupported_method",
            "--seed",
            str(SEED),
            "--max-time",
            str(BUDGET_S),
        ),
        *("--max-examples", "10", "--continue-on-failure", "--generation-database", "none"),
        *("--no-color", "--generation-with-security-parameters", "false"),
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "openapi_hooks",
            "PYTHONPATH": str(SETUP),
            "WIRE_PASSWORD": PASSWORD,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    said = out.decode(errors="replace")
    assert process.returncode == 0, said[-30_000:]
    assert "Tested" in said or "passed" in said, said

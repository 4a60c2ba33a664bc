"""schemathesis asks everything that the OpenAPI document allows, and much that it does not.

The document is the shipped one: the operations and routes are those of the shipped extension. Its
hosts do not answer, so every task ends soon.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sysconfig
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from dagengine import Engine, SqliteStore, Submission
from dagengine.api.app import build_app
from dagengine.api.connections import Limits
from dagengine.extension import ExtensionContext, Route
from dagengine.remote.ssh.pool import SshPool
from dagengine.runtime.clock import SystemClock
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.server.listener import serving
from dagengine.testing import FakeClock
from tasks import EXTENSION
from tests.support.api_controller import AGENT, CLUSTER, KEY, PASSWORD

pytestmark = pytest.mark.slow

SETUP = Path(__file__).with_name("schemathesis_setup")
BUDGET_S = 60
EXAMPLES = 10
SEED = 20240110
DAGS = 5  # the ids in the document's examples are then those of real ones


@dataclass(frozen=True)
class Shipped:
    """A controller with what is shipped, at a clock of its own."""

    url: str
    engine: Engine
    clock: FakeClock
    routes: Sequence[Route]

    def pass_time(self) -> None:
        """A minute every 20 ms: who sent spoiled headers has to pause, but not for ever."""
        self.clock.advance(60)
        asyncio.get_running_loop().call_later(0.02, self.pass_time)


@pytest_asyncio.fixture
async def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shipped]:
    monkeypatch.setenv("WIRE_PASSWORD", PASSWORD)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    clock, store = FakeClock(), SqliteStore(tmp_path / "store.sqlite")
    key, pool = ServerKey(KEY), SshPool(clock, Random(1))
    async with EXTENSION.open(
        ExtensionContext(tmp_path / "cluster.yaml", pool, clock)
    ) as extension:
        engine = Engine(store=store, operations=extension.operations, advertise=AGENT, clock=clock)
        async with engine:
            app = build_app(
                engine=engine,
                cluster=extension.cluster,
                routes=extension.routes,
                key=key,
                replay=ReplayGuard(clock, store),
                clock=clock,
                version="1.2.3-4",
                root_password=extension.cluster.root_password,
                agent_password=str,
                before_retry=extension.reload,
            )
            listener = socket.create_server(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            # Connections live by the true clock: they would all be late by the other.
            async with serving(app, Limits(), SystemClock(), [(listener, None)]):
                yield Shipped(url, engine, clock, extension.routes)
    await pool.close()
    key.close()


async def document(shipped: Shipped) -> dict[str, Any]:
    async with ClientSession() as session, session.get(f"{shipped.url}/openapi.json") as answer:
        document: dict[str, Any] = await answer.json()
        return document


async def test_openapi_generated_requests_get_documented_responses(
    shipped: Shipped, tmp_path: Path
) -> None:
    shipped.pass_time()
    for _ in range(DAGS):
        params = {"scope": {"type": "GLOBAL", "target": []}, "force_pass": []}
        accepted = await shipped.engine.submit(Submission("Start OB", ("10.0.0.1:2886",), params))
        await shipped.engine.wait(accepted.dag.dag_id)
    operations = [
        (method.upper(), path, operation)
        for path, methods in (await document(shipped))["paths"].items()
        for method, operation in methods.items()
    ]
    probed = tmp_path / "probed"
    process = await asyncio.create_subprocess_exec(
        Path(sysconfig.get_path("scripts")) / "schemathesis",
        *("--config-file", SETUP / "schemathesis.toml"),
        *("run", f"{shipped.url}/openapi.json", "--request-timeout", "30"),
        *("--seed", str(SEED), "--max-time", str(BUDGET_S), "--max-examples", str(EXAMPLES)),
        *("--continue-on-failure", "--generation-database", "none", "--no-color"),
        *("--generation-with-security-parameters", "false"),
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "openapi_hooks",
            "PYTHONPATH": str(SETUP),
            "WIRE_PASSWORD": PASSWORD,
            "WIRE_PROBED": str(probed),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    output = out.decode(errors="replace")
    assert process.returncode == 0, output[-30_000:]
    assert "Tested" in output or "passed" in output, output
    # The hooks' own checks were really made, of each route.
    assert set(probed.read_text().splitlines()) == {
        *(f"method {path}" for _, path, _ in operations),
        *(f"login {method} {path}" for method, path, entry in operations if entry["security"]),
    }
    for route in shipped.routes:
        assert (route.method, f"/api/v1{route.path}") in {operation[:2] for operation in operations}

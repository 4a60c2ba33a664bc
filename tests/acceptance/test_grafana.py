"""The dashboard and the alert rules, with a Prometheus that scrapes a controller of seekdb."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from dagengine.testing import eventually
from tasks.demo.hosts import free_port
from tests.acceptance.conftest import OpenTestbed, only_owner, wait_dag

GRAFANA = Path(__file__).parents[2] / "configs" / "grafana"
RULE_TESTS = Path(__file__).parents[1] / "support" / "prometheus" / "alerts_test.yaml"
COMPARISON = re.compile(r"^(.*) (==|>|<) [\d.]+$")
VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Debian's package prometheus is not installed"
)


def read_rules() -> dict[str, str]:
    """Return the expressions of the alerts."""
    (group,) = yaml.safe_load((GRAFANA / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def list_expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression with its place; that of an alert without the comparison."""
    for panel in json.loads((GRAFANA / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            expression: str = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression
    for alert, expression in read_rules().items():
        compared = COMPARISON.match(expression)
        assert compared is not None, alert
        yield alert, compared[1]


@needs_prometheus
def test_each_alert_has_a_firing_and_a_silent_case() -> None:
    subprocess.run(["promtool", "test", "rules", RULE_TESTS], check=True, capture_output=True)
    cases = [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    assert sorted(cases) == sorted(
        (name, fires) for name in read_rules() for fires in (True, False)
    )


@asynccontextmanager
async def prometheus(directory: Path, target: str) -> AsyncIterator[str]:
    """Run a Prometheus with this project's configuration, scraping every 0.5 s; yield its URL."""
    config = yaml.safe_load((GRAFANA / "prometheus.yaml").read_text())
    config["global"]["scrape_interval"] = "500ms"
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(GRAFANA / "alerts.yaml", directory)
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


async def query(session: aiohttp.ClientSession, url: str, expression: str) -> list[Any]:
    """Return the samples of an expression, as of now."""
    params = {"query": expression}
    async with session.get(f"{url}/api/v1/query", params=params) as response:
        body = await response.json()
    assert body["status"] == "success", (expression, body)
    result: list[Any] = body["data"]["result"]
    return result


@needs_prometheus
@pytest.mark.slow
@only_owner
async def test_each_expression_returns_data_of_a_controller(
    open_testbed: OpenTestbed, tmp_path: Path
) -> None:
    async with open_testbed(1) as testbed, testbed.client() as client:
        await testbed.start_controller()
        target = testbed.cluster.url.removeprefix("http://")
        async with prometheus(tmp_path, target) as url, aiohttp.ClientSession() as session:

            async def is_scraped() -> bool:
                try:
                    return len(await query(session, url, "count_over_time(up[1m]) > 2")) == 1
                except aiohttp.ClientError:
                    return False

            await eventually(is_scraped, timeout_s=60)
            dag = await wait_dag(client, (await client.start("GLOBAL"))["id"])
            assert dag["state"] == "SUCCEED"

            async def list_empty() -> list[str]:
                return [
                    f"{place}: {expression}"
                    for place, expression in list_expressions()
                    if not await query(session, url, expression)
                ]

            async def has_data() -> bool:
                return not await list_empty()

            try:
                await eventually(has_data, timeout_s=30)
            except AssertionError:
                assert await list_empty() == []
            (up,) = await query(session, url, "dagengine_server_up")
            assert (up["value"][1], up["metric"]["server"]) == ("1", "1")
            assert len(list(list_expressions())) > 20

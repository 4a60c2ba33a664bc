"""Real sshd, seekdb and controller processes, and the official client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import requests

from dagengine.client import Client
from dagengine.testing import eventually
from tasks.demo.cluster import DemoCluster
from tasks.demo.hosts import DemoHosts
from tests.acceptance.testbed import ClusterTestbed, ForwardingTestbed
from tests.support.leftovers import assert_nothing_left
from tests.support.strict_decoder import DecodedResponses, attach_counts, record_responses

OpenTestbed = Callable[[int], AbstractAsyncContextManager[ClusterTestbed]]


@asynccontextmanager
async def make_testbed(
    count: int, kind: type[ClusterTestbed] = ClusterTestbed
) -> AsyncIterator[ClusterTestbed]:
    """Open a testbed for one test, and check that nothing is left on its hosts."""
    async with DemoHosts(count) as hosts:
        testbed = kind(hosts, DemoCluster(hosts))
        try:
            yield testbed
            await testbed.check()
        finally:
            await testbed.close()
        await assert_nothing_left(hosts)


CALLED = [
    pytest.param(ClusterTestbed, id="owner"),
    pytest.param(ForwardingTestbed, id="non-owner", marks=pytest.mark.slow),
]
"""Which controller the clients call."""

only_owner = pytest.mark.parametrize("open_testbed", CALLED[:1], indirect=True)
"""For tests that do more with the controller than call its API."""


other_controller_in_soak = pytest.mark.parametrize(
    "open_testbed",
    [CALLED[0], pytest.param(ForwardingTestbed, id="non-owner", marks=pytest.mark.outside_sample)],
    indirect=True,
)
"""For tests that take long: CI calls the owner, `make soak` the other controller as well."""


@pytest.fixture(params=CALLED)
def open_testbed(request: pytest.FixtureRequest) -> OpenTestbed:
    return partial(make_testbed, kind=request.param)


@pytest.fixture(autouse=True, scope="module")
def received_responses() -> Iterator[DecodedResponses]:
    """Decode each response strictly, also those that fixtures of the module receive."""
    received = DecodedResponses()
    send = requests.Session.send  # of the official client

    def send_and_record(
        session: requests.Session, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        response = send(session, request, **options)
        method, path = request.method or "", request.path_url
        received.record(method, path, response.status_code, response.content)
        return response

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(requests.Session, "send", send_and_record)
        with record_responses(monkeypatch, received):
            yield received
    assert received.violations == []  # of fixtures that ended after the last test


@pytest.fixture(autouse=True)
def decoded_responses(
    request: pytest.FixtureRequest, received_responses: DecodedResponses
) -> Iterator[DecodedResponses]:
    """The responses to this test, and to fixtures since the previous one; fails on a violation."""
    yield received_responses
    decoded = received_responses.take()
    attach_counts(request.node, decoded.counts)
    assert decoded.violations == []


def sub_tasks(dag: dict[str, Any], stage: int) -> dict[str, dict[str, Any]]:
    """Return the sub-tasks of a stage by server."""
    tasks = dag["nodes"][stage - 1]["sub_tasks"]
    return {f"{t['execute_agent']['ip']}:{t['execute_agent']['port']}": t for t in tasks}


def all_log_lines(dag: dict[str, Any]) -> str:
    """All log lines of a DAG, for the message of a failed test."""
    return "\n".join(
        line for n in dag["nodes"] for t in n["sub_tasks"] for line in t["task_logs"] or []
    )


async def wait_dag(client: Client, dag_id: str) -> dict[str, Any]:
    """Follow a DAG to its end."""
    polled: list[dict[str, Any]] = []

    async def has_ended() -> bool:
        polled.append(await client.get_dag(dag_id))
        return polled[-1]["state"] in ("SUCCEED", "FAILED")

    await eventually(has_ended, timeout_s=120, what=f"the end of DAG {dag_id}")
    return polled[-1]

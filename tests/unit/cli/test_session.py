"""The end of a command whose DAG is known, while the controller no longer answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from dagengine.cli.session import wait_for_end
from dagengine.client import Client
from dagengine.errors import ControllerUnreachable
from tests.support.screens import ID, dag


class LostController:
    """Answers until the DAG has ended, and then no longer, as in a hand-over."""

    async def follow(self, dag_id: str) -> AsyncIterator[object]:
        yield {"id": dag_id}

    async def get_dag(self, dag_id: str) -> dict[str, Any]:
        return {**dag("SUCCEED", []), "id": dag_id}

    async def info(self) -> dict[str, Any]:
        raise ControllerUnreachable("the controller does not answer")


async def test_wait_reports_the_end_without_the_controllers_address(
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = cast("Client", LostController())
    assert await wait_for_end(client, ID, as_json=True, timeout_s=None) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "SUCCEED"

"""The page of one DAG: what it shows, its files, and its actions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagengine import Problem, State
from dagengine.testing import Latch
from tests.support.fake_cluster import FIRST, SECOND
from tests.support.page_controller import PageController, open_page_controller

CHECKS = [{"check": "disk", "level": "block", "cause": "91 % full", "remedy": "free 12 GB"}]


async def fail(controller: PageController) -> str:
    """Run a DAG that fails on the second server; return its id."""
    controller.broken = {SECOND}
    controller.problem = Problem("Disk.Full", "the disk is full", "free 12 GB")
    controller.evidence = {"level": "none", "checks": CHECKS}
    return await controller.run(reason="after maintenance")


async def test_task_page_says_which_server_failed_and_why(controller: PageController) -> None:
    response = await controller.get(f"/task/{await fail(controller)}")
    assert "1 of 2 servers have succeeded" in response.words
    assert f"{SECOND} failed at Check servers: the disk is full; free 12 GB" in response.words
    assert "after maintenance" in response.words
    for stage in ("1. Check operation lock", "2. Check servers", "4. Verify the cluster"):
        assert stage in response.words
    assert f"Check servers: {SECOND}" in response.words  # the pane of the failure
    assert "91 % full" in response.words
    assert "[1] at work" in response.words


async def test_task_page_selects_an_attempt_by_link(controller: PageController) -> None:
    dag_id = await fail(controller)
    response = await controller.get(f"/task/{dag_id}?task=2&attempt=1")
    assert f"Check servers: {FIRST}" in response.words
    assert response.text.count('aria-current="true"') == 2  # the bar and the row


async def test_retry_by_form_runs_the_failed_server_again(controller: PageController) -> None:
    dag_id = await fail(controller)
    controller.broken = set()
    response = await controller.post(f"/task/{dag_id}", action="retry", reason="repaired")
    assert (response.status, response.headers["Location"]) == (303, f"/ui/task/{dag_id}")
    await controller.wait(dag_id)
    words = (await controller.get(f"/task/{dag_id}?task=3")).words
    assert "Succeeded after" in words
    assert "attempt 2 of 2" in words
    assert "RETRY root@sys from 127.0.0.1 repaired" in words
    assert controller.reloads == 1


async def test_stage_pass_by_form_continues_after_the_stage(controller: PageController) -> None:
    dag_id = await fail(controller)
    page = await controller.get(f"/task/{dag_id}?task=3&attempt=1")
    assert f"Marks Check servers as done without running it ({SECOND})" in page.words
    assert f'action="/ui/task/{dag_id}?task=3&amp;attempt=1"' in page.text
    controller.broken = set()
    path = f"/task/{dag_id}?task=3&attempt=1"
    response = await controller.post(path, action="pass-stage", stage="2", reason="checked by hand")
    assert (response.status, response.headers["Location"]) == (303, f"/ui/task/{dag_id}")
    await controller.wait(dag_id)
    words = (await controller.get(f"/task/{dag_id}?task=3")).words
    assert "2 of 2 servers have succeeded" in words
    assert "PASS root@sys from 127.0.0.1 checked by hand" in words
    assert controller.reloads == 1


@pytest.mark.parametrize(
    ("stage", "reason", "status", "problem"),
    [
        ("2", " ", 400, "The reason is missing"),
        ("1", "x", 400, "not FAILED"),
        ("9", "x", 404, "no stage"),
        ("", "x", 404, "no stage"),
    ],
)
async def test_stage_pass_that_is_refused_changes_nothing(
    controller: PageController, stage: str, reason: str, status: int, problem: str
) -> None:
    dag_id = await fail(controller)
    before = await controller.engine.find_dag(controller.row_id(dag_id))
    response = await controller.post(
        f"/task/{dag_id}", action="pass-stage", stage=stage, reason=reason
    )
    assert response.status == status
    assert problem in response.words
    assert await controller.engine.find_dag(controller.row_id(dag_id)) == before


async def test_stage_pass_without_form_token_is_refused(controller: PageController) -> None:
    dag_id = await fail(controller)
    response = await controller.post(
        f"/task/{dag_id}", csrf="x", action="pass-stage", stage="2", reason="x"
    )
    assert response.status == 403
    detail = await controller.engine.find_dag(controller.row_id(dag_id))
    assert detail is not None
    assert detail.dag.state is State.FAILED


@pytest.mark.parametrize("reason", ["", "  ", "x" * 4001])
async def test_action_without_reason_does_nothing(controller: PageController, reason: str) -> None:
    dag_id = await fail(controller)
    response = await controller.post(f"/task/{dag_id}", action="pass", reason=reason)
    assert response.status == 400
    assert "The reason is missing or too long" in response.words
    assert "Actions" in response.words  # the page itself, with the error
    detail = await controller.engine.find_dag(controller.row_id(dag_id))
    assert detail is not None
    assert detail.dag.state is State.FAILED


async def test_action_that_is_refused_shows_cause(controller: PageController) -> None:
    dag_id = await controller.run()
    response = await controller.post(f"/task/{dag_id}", action="retry", reason="x")
    assert response.status == 400
    assert "not FAILED" in response.words


async def test_cancel_by_form_ends_a_running_dag(controller: PageController) -> None:
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    page = await controller.get(f"/task/{dag_id}")
    assert "Ends the running steps on" in page.words
    assert 'data-active="true"' in page.text
    response = await controller.post(f"/task/{dag_id}", action="cancel", reason="stop it")
    assert response.status == 303
    await controller.wait(dag_id)
    assert "Cancelled after" in (await controller.get(f"/task/{dag_id}")).words


async def test_task_page_names_dag_and_last_event(controller: PageController) -> None:
    dag_id = await controller.run()
    last = await controller.engine.last_event(controller.row_id(dag_id))
    assert f'data-dags="{dag_id}:{last}"' in (await controller.get(f"/task/{dag_id}")).text


async def test_raw_json_is_that_of_the_api(controller: PageController) -> None:
    dag_id = await fail(controller)
    response = await controller.get(f"/task/{dag_id}/json")
    assert response.headers["Content-Disposition"] == f'inline; filename="{dag_id}.json"'
    assert json.loads(response.text)["id"] == dag_id
    assert "Content-Security-Policy" in response.headers


async def test_log_download_has_lines_of_all_attempts(controller: PageController) -> None:
    dag_id = await fail(controller)
    await controller.post(f"/task/{dag_id}", action="retry", reason="x")
    await controller.wait(dag_id)
    response = await controller.get(f"/task/{dag_id}/log/3")
    assert response.headers["Content-Disposition"].startswith("attachment")
    lines = [line.split(" ", 1)[1] for line in response.text.splitlines()]
    error = "ERROR: [Disk.Full]: the disk is full; free 12 GB"
    assert lines == ["[1] at work", f"[1] {error}", "[2] at work", f"[2] {error}"]


@pytest.mark.parametrize("path", ["1", "x", "2" * 40, "201684300810288699"])
async def test_unknown_task_is_an_html_404(controller: PageController, path: str) -> None:
    for suffix in ("", "/json", "/log/1"):
        response = await controller.get(f"/task/{path}{suffix}")
        assert response.status == 404
        assert "does not exist" in response.words


async def test_log_of_another_task_is_not_found(controller: PageController) -> None:
    first, second = await controller.run(), await controller.run()
    assert (await controller.get(f"/task/{first}/log/1")).status == 200
    assert (await controller.get(f"/task/{second}/log/1")).status == 404


async def test_task_page_of_unknown_operation_refuses_its_steps(tmp_path: Path) -> None:
    async with open_page_controller(tmp_path) as controller:
        dag_id = await fail(controller)
    async with open_page_controller(tmp_path, operation="Renamed") as controller:
        response = await controller.get(f"/task/{dag_id}")
        # Retry and Rollback of the task, and Pass of the selected stage
        assert response.words.count("is not registered in this engine") == 3
        refused = await controller.post(f"/task/{dag_id}", action="retry", reason="x")
        assert "is not registered in this engine" in refused.words
        passed = await controller.post(f"/task/{dag_id}", action="pass", reason="by hand")
        assert passed.status == 303

"""The lists: tasks, locks, audit and log."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import structlog

from dagengine.runtime.logging import LogRing, configure_logs, open_log_ring
from dagengine.testing import Latch
from tests.support.fake_cluster import SECOND
from tests.support.page_controller import PageController, open_page_controller


def hrefs(text: str) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*><a href="/ui/task/([0-9]+)"', text)


async def test_tasks_page_lists_runs_newest_first(controller: PageController) -> None:
    first = await controller.run(reason="nightly", by="alice from 10.0.0.9")
    controller.broken = {SECOND}
    second = await controller.run()
    response = await controller.get("/tasks")
    assert hrefs(response.text) == [second, first]
    assert "2 of 2" in response.words
    assert "1 of 2" in response.words
    assert "alice from 10.0.0.9 nightly" in response.words
    assert "failed at Check servers" in response.words  # in the grid


async def test_tasks_page_filters_by_state_and_name(controller: PageController) -> None:
    good = await controller.run()
    bad = await controller.run(name="Fixed")
    assert hrefs((await controller.get("/tasks?state=FAILED")).text) == [bad]
    assert hrefs((await controller.get("/tasks?name=Start+OB")).text) == [good]
    assert "No task matches" in (await controller.get("/tasks?name=x")).words


async def test_tasks_page_filters_by_time(controller: PageController) -> None:
    old = await controller.run()
    controller.clock.advance(2 * 3600)
    new = await controller.run()
    assert hrefs((await controller.get("/tasks?period=1h")).text) == [new]
    assert hrefs((await controller.get("/tasks?period=24h")).text) == [new, old]


async def test_tasks_pages_follow_each_other_without_gap(controller: PageController) -> None:
    ids = [await controller.run(name="Fixed") for _ in range(30)]
    first = await controller.get("/tasks?name=Fixed")
    match = re.search(r'href="(\?[^"]*before=[^"]*)"', first.text)
    assert match is not None
    await controller.run(name="Fixed")  # does not move the second page
    second = await controller.get("/tasks" + match[1].replace("&amp;", "&"))
    assert hrefs(first.text) + hrefs(second.text) == ids[::-1]


async def test_locks_page_names_the_holder(controller: PageController) -> None:
    assert "No lock was ever taken" in (await controller.get("/locks")).words
    controller.latch = Latch()
    dag_id = await controller.submit()
    await controller.latch.reached.wait()
    response = await controller.get("/locks")
    assert f'<a href="/ui/task/{dag_id}">Start OB</a>' in response.text
    assert "● held" in response.words
    controller.latch.open()
    await controller.wait(dag_id)
    assert "○ free" in (await controller.get("/locks")).words


async def test_audit_page_filters_by_caller_and_action(controller: PageController) -> None:
    await controller.run(by="alice from 10.0.0.9", reason="one")
    dag_id = await controller.run(name="Fixed", by="bob from 10.0.0.8", reason="two")
    await controller.post(f"/task/{dag_id}", action="cancel", reason="three")
    words = (await controller.get("/audit?caller=10.0.0.9")).words
    assert "alice 10.0.0.9 START" in words
    assert "bob" not in words
    assert "No action matches" in (await controller.get("/audit?action=ROLLBACK")).words
    of_dag = (await controller.get(f"/audit?dag={dag_id}")).words
    assert ("two" in of_dag, "one" in of_dag) == (True, False)


async def test_each_task_of_a_page_has_its_servers_done(controller: PageController) -> None:
    for _ in range(12):
        await controller.run()
    assert (await controller.get("/tasks")).words.count(" 2 of 2 ") == 12


async def test_audit_pages_follow_each_other(controller: PageController) -> None:
    for number in range(60):
        await controller.run(name="Fixed", reason=f"reason-{number}-")
    first = await controller.get("/audit?caller=root")
    assert "Newest" not in first.words
    match = re.search(r'href="(\?[^"]*before=[^"]*)"', first.text)
    assert match is not None
    second = await controller.get("/audit" + match[1].replace("&amp;", "&"))
    assert '<a href="?caller=root">Newest</a>' in second.text
    reasons = re.findall(r"reason-(\d+)-", first.text + second.text)
    assert reasons == [str(number) for number in range(59, -1, -1)]


async def test_audit_export_has_all_rows_as_text(controller: PageController) -> None:
    for number in range(60):
        await controller.run(name="Fixed", reason=f"=cmd|{number}")
    response = await controller.get("/audit/csv?action=start")
    assert response.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.reader(io.StringIO(response.text.removeprefix("\ufeff"))))
    assert len(rows) == 61
    assert rows[1][5] == "'=cmd|59"


async def test_log_page_shows_events_of_its_cluster(tmp_path: Path) -> None:
    configure_logs(io.StringIO())
    try:
        structlog.get_logger("other").info("before_the_ring")
        ring = open_log_ring()
        async with open_page_controller(tmp_path, ring=ring) as controller:
            await controller.run()
            structlog.get_logger("mine").warning("disk_slow", password="x", dag_id="77")
            response = await controller.get("/log?level=warning")
            assert "disk_slow" in response.words
            assert "password=***" in response.words
            assert "dag_submitted" not in response.words
            assert "dag_submitted" in (await controller.get("/log")).words
            assert "before_the_ring" not in response.words
            assert "disk_slow" in (await controller.get("/log?dag=77")).words
            assert "No event matches" in (await controller.get("/log?dag=78")).words
    finally:
        structlog.reset_defaults()


def test_log_ring_of_another_context_gets_nothing() -> None:
    assert list(LogRing().newest_first()) == []

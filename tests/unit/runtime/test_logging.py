"""Content of log lines, and values that are never logged."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from dagengine.runtime.logging import LogScope, configure_logs

Lines = Callable[[], list[dict[str, Any]]]


@contextmanager
def logging_to(stream: io.StringIO, *, is_text: bool = False) -> Iterator[None]:
    """Send the logs of the process to a stream; restore its logging afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(stream, is_text=is_text)
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Yield a reader of the logged JSON lines."""
    stream = io.StringIO()
    with logging_to(stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_configure_logs_event_is_one_json_object_per_line(lines: Lines) -> None:
    structlog.get_logger("dagengine.x").info("dag_submitted", dag_id=7, text="two\nlines")
    (line,) = lines()
    assert line["event"] == "dag_submitted"
    assert (line["level"], line["logger"], line["dag_id"]) == ("info", "dagengine.x", 7)
    assert line["timestamp"].endswith("Z")


def test_log_scope_completes_ids_and_names_cluster(lines: Lines) -> None:
    log, scope = structlog.get_logger("dagengine.x"), LogScope("demo", "22130706433")
    with scope.entered():
        log.info("dag_submitted", dag_id=7, node_id=8, stage=1)
        logging.getLogger("library").warning("text")
        scope.id_prefix = ""
        log.info("dag_submitted", dag_id=7)
    log.info("dag_submitted", dag_id=7)
    first, library, without_prefix, outside = lines()
    assert (first["dag_id"], first["node_id"], first["stage"]) == (
        "221307064337",
        "221307064338",
        1,
    )
    assert {line["cluster"] for line in (first, library, without_prefix)} == {"demo"}
    assert (without_prefix["dag_id"], outside["dag_id"]) == (7, 7)
    assert "cluster" not in outside


async def test_log_scope_applies_to_tasks_created_in_it(lines: Lines) -> None:
    async def log_later() -> None:
        await released.wait()
        structlog.get_logger("dagengine.x").info("dag_submitted")

    released = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            with LogScope(name).entered():
                group.create_task(log_later(), name=name)
        released.set()
    assert [line["cluster"] for line in lines()] == ["a", "b"]


def test_configure_logs_standard_library_has_same_format(lines: Lines) -> None:
    logging.getLogger("library").warning("%d of %d", 1, 2)
    (line,) = lines()
    assert (line["event"], line["logger"], line["level"]) == ("1 of 2", "library", "warning")


def test_configure_logs_traceback_stays_within_line(lines: Lines) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger("a").exception("loop_failed")
        logging.getLogger("b").exception("loop failed")
    for line in lines():
        assert "ValueError: odd" in line["exception"]


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "s3cret"},
        {"root_password": "s3cret"},
        {"Auth": "s3cret"},
        {"headers": {"X-OCS-Header": "s3cret"}},
        {"calls": [{"keys": "s3cret"}]},
    ],
)
def test_configure_logs_secret_field_is_masked(lines: Lines, fields: dict[str, Any]) -> None:
    structlog.get_logger("a").info("request_received", **fields)
    (line,) = lines()
    assert "s3cret" not in json.dumps(line)
    assert "***" in json.dumps(line)


def test_configure_logs_info_of_libraries_is_dropped(lines: Lines) -> None:
    logging.getLogger("asyncssh").info("command: cat /etc/passwd")
    logging.getLogger("aiohttp.access").info("GET /")
    assert lines() == []


@pytest.mark.parametrize("text", ["\x9b31m", "\x7f", "\u202e", "\u2028", "\x1b[2J\nFORGED"])
def test_configure_logs_line_has_no_control_characters(text: str) -> None:
    stream = io.StringIO()
    with logging_to(stream):
        structlog.get_logger("a").info("peer_refused", error=text)
        logging.getLogger("b").warning(text)
    first, second = stream.getvalue().splitlines()
    assert (first + second).isprintable()
    assert (json.loads(first)["error"], json.loads(second)["event"]) == (text, text)


def test_configure_logs_text_has_one_readable_line_per_event() -> None:
    stream = io.StringIO()
    with logging_to(stream, is_text=True):
        structlog.get_logger("dagengine.x").info("dag_submitted", dag_id=7, password="secret")
        logging.getLogger("library").warning("the host printed \x1b[2J %s", "a\nb")
        structlog.get_logger("dagengine.x").warning(
            "host_failed", reason="a\nb\x1b[31m", x=["\x07"]
        )
    first, second, third = stream.getvalue().splitlines()
    assert re.match(r"\d\d:\d\d:\d\d \[info +\] dag_submitted +\[dagengine.x\] ", first)
    assert "dag_id=7" in first
    assert "secret" not in first
    assert "the host printed" in second
    assert all(line.isprintable() for line in (first, second, third))


def test_configure_logs_text_prints_traceback_below_event() -> None:
    stream = io.StringIO()
    with logging_to(stream, is_text=True):
        try:
            raise ValueError("odd \x1b[2J")
        except ValueError:
            structlog.get_logger("a").exception("loop_failed")
    first, *lines = stream.getvalue().splitlines()
    assert "loop_failed" in first
    assert lines[-1] == r"ValueError: odd \x1b[2J"
    assert all(line.isprintable() for line in lines)

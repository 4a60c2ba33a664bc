"""Content of log lines, and values that are never logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from dagengine.runtime.logging import configure_logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Yield a reader of the logged JSON lines; restore the process's logging afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_configure_logs_event_is_one_json_object_per_line(lines: Lines) -> None:
    structlog.get_logger("dagengine.x").info("dag_submitted", dag_id=7, text="two\nlines")
    (line,) = lines()
    assert line["event"] == "dag_submitted"
    assert (line["level"], line["logger"], line["dag_id"]) == ("info", "dagengine.x", 7)
    assert line["timestamp"].endswith("Z")


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

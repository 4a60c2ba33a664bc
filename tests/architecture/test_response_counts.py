"""The summary of a run of the acceptance tests: responses by route and state, of all processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.quick_cases import first_quick
from tests.support.strict_decoder import ROUTES

_CONFTEST = """
from collections import Counter

import pytest

from tests.conftest import pytest_sessionfinish, pytest_terminal_summary
from tests.support.strict_decoder import ROUTES, attach_counts


@pytest.fixture(autouse=True)
def counted(request):
    yield
    routes = [route for route in ROUTES if route != "GET info"]
    attach_counts(request.node, Counter({(route, "READY"): 2 for route in routes}))
"""
_OF_ACCEPTANCE = "from tests.acceptance.conftest import decoded_responses, received_responses\n"
_OF_MODULE = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": {"contents": [{"ip": "10.0.0.1", "port": "1"}]}}')


@pytest.fixture(scope="module")
def called():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        requests.get(f"http://127.0.0.1:{server.server_port}/api/v1/ob/agents")


def test_nothing(called):
    pass
"""
_EVERY, _ZONE = "test_every_route_passes_strict_decoder", "test_zone_stop_route_freezes_before_stop"


def run(directory: Path, source: str, *options: str, conftest: str = _CONFTEST) -> tuple[int, str]:
    """Return exit status and output of a run; by default, each test receives all routes but one."""
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_some.py").write_text(source)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*words, "--rootdir", directory, "-c", "/dev/null", directory],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("processes", first_quick(["0", "2"]))
def test_summary_sums_responses_of_all_processes(tmp_path: Path, processes: str) -> None:
    source = f"def {_EVERY}(): pass\ndef test_other(): pass\n"
    status, output = run(tmp_path, source, "-n", processes)
    assert status == 0, output
    assert "responses that a strict client decoded" in output
    assert dict(_lines(output)) == {f"{route} READY": 4 for route in ROUTES if route != "GET info"}


def test_summary_counts_each_attempt_once(tmp_path: Path) -> None:
    source = "seen = []\ndef test_again():\n    assert seen or seen.append(1)\n"
    status, output = run(tmp_path, source, "--reruns", "1")
    assert status == 0, output
    assert set(dict(_lines(output)).values()) == {4}


@pytest.mark.slow
def test_route_without_response_fails_a_whole_run(tmp_path: Path) -> None:
    source = f"def {_EVERY}(): pass\ndef {_ZONE}(): pass\n"
    status, output = run(tmp_path, source, "-n", "2")
    assert status == 1, output
    assert "no response was decoded of: GET info" in output


@pytest.mark.slow
def test_response_to_module_fixture_is_decoded(tmp_path: Path) -> None:
    status, output = run(tmp_path, _OF_MODULE, conftest=_OF_ACCEPTANCE)
    assert status == 1, output
    assert 'GET ob/agents: data.contents[].port: int expected, "1" received' in output
    assert "1 passed, 1 error" in output


def _lines(output: str) -> list[tuple[str, int]]:
    found = re.findall(r"^ +(\d+) ((?:GET|POST) .*)$", output, re.MULTILINE)
    return [(name, int(count)) for count, name in found]

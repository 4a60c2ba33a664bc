"""What `serve` prints, and the format of its log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagengine.cli import main
from dagengine.cli.serve import is_text_log, render_ready
from dagengine.cli.usage.serve_options import LogFormat

URL = "http://127.0.0.1:2886"


@dataclass(frozen=True)
class Server:
    name: str
    zone: str


@dataclass(frozen=True)
class Cluster:
    name: str = "demo"
    servers: tuple[Server, ...] = (Server("10.0.0.1:2886", "z1"), Server("10.0.0.2:2886", "z2"))


@dataclass(frozen=True)
class Listener:
    socket: Path | None = None


@dataclass(frozen=True)
class Served:
    url: str
    name: str
    listener: Listener
    cluster: Any


@dataclass(frozen=True)
class Service:
    url: str | None
    socket: Path = Path("/run/service.sock")


@dataclass(frozen=True)
class Ready:
    """The part of a controller that is printed."""

    served: tuple[Served, ...]
    service: Service | None = None


def serving(name: str = "demo", url: str = URL, socket: Path | None = None) -> Served:
    return Served(url, name, Listener(socket), Cluster(name))


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "expected"),
    [
        (LogFormat.AUTO, True, True),
        (LogFormat.AUTO, False, False),
        (LogFormat.TEXT, False, True),
        (LogFormat.JSON, True, False),
    ],
)
def test_log_format_depends_on_option_and_terminal(
    log_format: LogFormat, is_terminal: bool, expected: bool
) -> None:
    assert is_text_log(log_format, is_terminal=is_terminal) is expected


def test_ready_without_terminal_is_one_line() -> None:
    ready: Any = Ready((serving(socket=Path("/run/s.sock")),))
    assert render_ready(ready, is_terminal=False) == [f"dagengine ready on {URL}"]


@pytest.mark.parametrize("socket", [None, Path("/run/s.sock")])
def test_ready_on_terminal_names_cluster_and_next_command(socket: Path | None) -> None:
    ready: Any = Ready((serving(socket=socket),))
    first, *lines = render_ready(ready, is_terminal=True)
    text = "\n".join(lines)
    assert first == f"dagengine ready on {URL}"
    for part in ("demo: 2 servers in 2 zones", "z1  10.0.0.1:2886", "z2  10.0.0.2:2886"):
        assert part in text
    assert f"dagengine start --dry-run --url {URL}" in text
    assert ("unix:/run/s.sock" in text) is (socket is not None)


@pytest.mark.parametrize(
    ("url", "expected"), [(None, "unix:/run/service.sock"), ("https://x:2880", "https://x:2880")]
)
def test_ready_with_several_clusters_has_a_line_for_each(url: str | None, expected: str) -> None:
    ready: Any = Ready((serving("a"), serving("b", "http://127.0.0.1:2887")), Service(url))
    assert render_ready(ready, is_terminal=False) == [
        f"dagengine ready on {URL} for a",
        "dagengine ready on http://127.0.0.1:2887 for b",
        f"dagengine ready on {expected} for all clusters",
    ]
    text = "\n".join(render_ready(ready, is_terminal=True))
    assert "dagengine fleet --url unix:/run/service.sock" in text


@pytest.mark.parametrize(
    ("options", "part"),
    [(["--confg", "x"], "--confg"), (["-c", "x", "--log-level", "loud"], "'loud'")],
)
def test_serve_wrong_usage_is_one_line_and_exits_2(
    capsys: pytest.CaptureFixture[str], options: list[str], part: str
) -> None:
    code = main(["serve", *options])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("dagengine: ")
    assert part in err

"""The program `serve` with several clusters: isolation, log, reload, and the command fleet."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagengine.cli import main
from dagengine.cli.exit_codes import ExitCode
from dagengine.client import Client
from dagengine.testing import eventually
from tasks.demo.hosts import free_port

BOUND_S = 60.0


def write_files(directory: Path, ssh_ports: dict[str, int]) -> dict[str, str]:
    """Write the files of one cluster for each SSH port; return the URLs of their APIs."""
    (directory / "known_hosts").touch()
    urls, clusters = {}, {}
    for number, (name, port) in enumerate(ssh_ports.items(), start=1):
        (directory / f"{name}.yaml").write_text(
            f"name: {name}\nid: {number}\nflavour: seekdb\nroot_password: none\n"
            f"ssh: {{port: {port}, known_hosts: known_hosts}}\n"
            f"zones: {{z: [{{ip: 127.0.0.1, home: /srv/{name}}}]}}\n"
        )
        api_port = free_port()
        clusters[name] = {"file": f"{name}.yaml", "port": api_port}
        urls[name] = f"http://127.0.0.1:{api_port}"
    engine = {"store": {"directory": "var"}, "clusters": clusters}
    (directory / "engine.yaml").write_text(json.dumps(engine))
    return urls


@contextmanager
def silent_host() -> Iterator[int]:
    """A host that accepts connections and never answers; yields its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@asynccontextmanager
async def served(directory: Path, lines: int) -> AsyncIterator[tuple[Any, list[str]]]:
    """Run the program; yield it and its ready lines. It must stop cleanly on SIGTERM."""
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dagengine", "serve", "-c", str(directory / "engine.yaml")),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            ready = [(await process.stdout.readline()).decode().strip() for _ in range(lines)]
        yield process, ready
        process.terminate()
        async with asyncio.timeout(BOUND_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def read_log(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log").read_text().splitlines()]


@pytest.mark.slow
async def test_dead_hosts_of_one_cluster_do_not_delay_another(tmp_path: Path) -> None:
    with silent_host() as port:
        urls = write_files(tmp_path, {"dead": port, "refusing": free_port()})
        async with (
            served(tmp_path, 3) as (_, ready),
            Client(urls["dead"], "") as dead,
            Client(urls["refusing"], "") as refusing,
        ):
            assert ready == [
                f"dagengine ready on {urls['dead']} for dead",
                f"dagengine ready on {urls['refusing']} for refusing",
                f"dagengine ready on unix:{tmp_path / 'var' / 'service.sock'} for all clusters",
            ]
            slow = await dead.start("GLOBAL", [])
            quick = await refusing.start("GLOBAL", [])
            async for _ in refusing.follow(quick["id"]):
                pass
            assert (await refusing.get_dag(quick["id"]))["state"] == "FAILED"
            assert (await dead.get_dag(slow["id"]))["state"] == "RUNNING"
    lines = read_log(tmp_path)
    moved = {line["cluster"]: line for line in lines if line["event"] == "dag_submitted"}
    assert {name: line["dag_id"] for name, line in moved.items()} == {
        "dead": slow["id"],
        "refusing": quick["id"],
    }
    started = {line["cluster"] for line in lines if line["event"] == "controller_started"}
    assert started == {"dead", "refusing"}


@pytest.mark.slow
async def test_reload_opens_a_corrected_cluster(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    urls = write_files(tmp_path, {"good": free_port(), "bad": free_port()})
    content = (tmp_path / "bad.yaml").read_text()
    (tmp_path / "bad.yaml").write_text("zones: [")
    words = ["fleet", "-c", str(tmp_path / "engine.yaml"), "--json"]
    async with served(tmp_path, 2) as (process, ready):
        assert [line.rpartition(" for ")[2] for line in ready] == ["good", "all clusters"]
        assert await asyncio.to_thread(main, words) == ExitCode.FAILED
        clusters = json.loads(capfd.readouterr().out)["clusters"]
        assert {each["name"]: each["condition"] for each in clusters} == {
            "bad": "refused",
            "good": "served",
        }
        (tmp_path / "bad.yaml").write_text(content)
        process.send_signal(signal.SIGHUP)
        await eventually(lambda: _lists(urls["bad"]))
        assert await asyncio.to_thread(main, words) == ExitCode.DONE
    events = [(line["event"], line.get("cluster")) for line in read_log(tmp_path)]
    assert ("cluster_refused", "bad") in events
    assert ("cluster_opened", "bad") in events
    assert ("cluster_file_reloaded", "good") in events


async def _lists(url: str) -> bool:
    from dagengine.errors import ClientError  # noqa: PLC0415

    try:
        async with Client(url, "") as client:
            return await client.list_dags() == []
    except ClientError:
        return False


@pytest.mark.slow
async def test_commands_choose_a_cluster(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGENGINE_PASSWORD", "")
    write_files(tmp_path, {"one": free_port(), "two": free_port()})
    engine_file = str(tmp_path / "engine.yaml")
    service = f"unix:{tmp_path / 'var' / 'service.sock'}"

    async def run(*words: str) -> tuple[int, str, str]:
        code = await asyncio.to_thread(main, [*words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    async with served(tmp_path, 3):
        code, out, err = await run("fleet", "start", "--cluster", "two", "-c", engine_file)
        assert (code, err) == (ExitCode.FAILED, "")
        assert out.startswith("two: Start OB ")
        for words in (["-c", engine_file], ["--url", service]):
            code, out, err = await run("list", "--cluster", "two", "--json", *words)
            assert (code, len(json.loads(out)), err) == (0, 1, "")
            code, out, err = await run("list", "--cluster", "one", "--json", *words)
            assert (code, json.loads(out)) == (0, [])
        code, _, err = await run("list", "-c", engine_file)
        assert code == ExitCode.USAGE
        assert "--cluster: one, two" in err
        code, _, err = await run("list", "--cluster", "x", "--url", service)
        assert code == ExitCode.USAGE
        assert "one, two" in err
        code, _, err = await run("fleet", "forget", "two", "--yes", "-c", engine_file)
        assert (code, "is configured" in err) == (ExitCode.USAGE, True)
        code, out, _ = await run("fleet", "--url", service)
        assert code == 0
        assert out.splitlines()[0].split() == [
            *("CLUSTER", "STATE", "OWNER", "SERVERS", "RUNNING", "LAST", "TASK")
        ]
        code, out, _ = await run("backup", str(tmp_path / "copy"), "-c", engine_file)
        assert code == ExitCode.USAGE
        code, out, _ = await run(
            *("backup", str(tmp_path / "copy"), "-c", engine_file, "--cluster", "two")
        )
        assert code == 0
    code, _, err = await run("fleet", "-c", engine_file)
    assert code == ExitCode.UNREACHABLE
    assert "service.sock" in err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["fleet"], "--url"),
        (["fleet", "start", "-c", "x"], "fleet start --cluster"),
        (["fleet", "forget", "-c", "x"], "fleet forget NAME"),
        (["fleet", "list", "--cluster", "a", "-c", "x"], "fleet start --cluster"),
    ],
)
def test_fleet_wrong_usage_exits_2(
    capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    assert "DAGENGINE_URL" not in os.environ
    assert main(words) == ExitCode.USAGE
    assert part in capsys.readouterr().err

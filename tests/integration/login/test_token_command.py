"""The command `token`, and the unix socket that it uses."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dagengine.client import Client
from dagengine.errors import ApiRefused
from dagengine.server.config import load_config
from tests.support.listening_controller import PASSWORD, open_controller


async def run(directory: Path, *argv: str, **environ: str) -> tuple[int, str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAGENGINE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dagengine", *argv),
        cwd=directory,
        env=clean | {"PYTHONPATH": str(Path(__file__).parents[3])} | environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_token_create_prints_token_alone_on_last_line(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        create = ("token", "create", "--name", "ci")
        code, out, err = await run(tmp_path, *create, "-c", "engine.yaml")
        token = out.splitlines()[-1]
        assert (code, out) == (0, f"{token}\n")
        assert "ci was created" in err
        by_password = {"DAGENGINE_URL": controller.url, "DAGENGINE_PASSWORD": PASSWORD}
        used = {"DAGENGINE_URL": controller.url, "DAGENGINE_TOKEN": token}
        code, out, _ = await run(tmp_path, "list", **used)
        assert code == 0
        # A token in the variable is not used to manage tokens.
        assert (await run(tmp_path, "token", "list", **used))[0] == 4
        code, out, _ = await run(tmp_path, "token", "list", **(used | by_password))
        assert (code, "ci" in out) == (0, True)
        code, out, _ = await run(tmp_path, "token", "revoke", "--name", "ci", **by_password)
        assert code == 0
        code, _, err = await run(tmp_path, "list", **used)
        assert code == 4
        assert "set DAGENGINE_TOKEN to a valid token" in err


async def test_read_only_token_plans_and_does_not_start(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        async with Client(f"unix:{controller.socket}", "") as local:
            token = (await local.create_token("ro", read_only=True))["token"]
        async with Client(controller.url, "", token=token) as client:
            assert (await client.start("GLOBAL", dry_run=True))["dry_run"] is True
            body = {"scope": {"type": "GLOBAL"}}
            for query in ("", "?dryRun=false", "?dryRun=", "?dryRun=x", "?dryRun=0&dryRun=1"):
                with pytest.raises(ApiRefused) as caught:
                    await client.post(f"/ob/start{query}", body)
                assert caught.value.status == 403, query
            assert await client.list_dags() == []


@pytest.mark.parametrize(
    "argv",
    [
        ("token", "create"),
        ("token", "revoke"),
        ("token", "list", "--name", "x"),
        ("token", "create", "--name", "x", "--expires", "soon"),
        ("token", "create", "--name", "x", "--expires", "0d"),
        ("token", "list", "-c", "engine.yaml", "--url", "http://127.0.0.1:1"),
        ("token", "list", "-c", "missing.yaml"),
        ("token", "rename", "--name", "x"),
        ("token", "create", "--name", "x", "--cluster", "a", "-c", "engine.yaml"),
        ("token", "create", "--name", "x", "--service", "--cluster", " , "),
    ],
)
async def test_token_wrong_usage_exits_with_2(tmp_path: Path, argv: tuple[str, ...]) -> None:
    (tmp_path / "engine.yaml").write_text("cluster: c.yaml\n")
    assert (await run(tmp_path, *argv))[0] == 2


async def test_config_option_names_the_missing_socket(tmp_path: Path) -> None:
    (tmp_path / "engine.yaml").write_text("api: {socket: none}\ncluster: c.yaml\n")
    code, _, err = await run(tmp_path, "list", "-c", "engine.yaml")
    assert (code, "disables the unix socket" in err) == (2, True)
    (tmp_path / "engine.yaml").write_text("cluster: c.yaml\n")
    code, _, err = await run(tmp_path, "list", "-c", "engine.yaml")
    assert (code, "dagengine.sock" in err) == (3, True)


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("", "var/dagengine.sock"),
        ("api: {socket: run/a.sock}\n", "run/a.sock"),
        ("api: {socket: none}\n", None),
        ("store: {path: data/x.db}\n", "data/x.sock"),
    ],
)
def test_socket_path_is_beside_the_store(tmp_path: Path, section: str, path: str | None) -> None:
    (tmp_path / "engine.yaml").write_text(f"{section}cluster: c.yaml\n")
    config = load_config(tmp_path / "engine.yaml", {})
    assert config.find_cluster(None).socket_path == (None if path is None else tmp_path / path)


async def test_controller_listens_beside_its_store(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        assert controller.socket == tmp_path / "store.sock"
        assert controller.socket.stat().st_mode & 0o777 == 0o666
        async with Client(f"unix:{controller.socket}", "") as client:
            assert await client.list_tokens() == []
    assert not (tmp_path / "store.sock").exists()


async def test_controller_without_socket_has_none(tmp_path: Path) -> None:
    async with open_controller(tmp_path, socket="none") as controller:
        assert controller.socket is None
        assert not (tmp_path / "store.sock").exists()


async def test_socket_with_long_path_is_reachable(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    async with open_controller(directory) as controller:
        assert controller.socket == directory / "store.sock"
        async with Client(f"unix:{controller.socket}", "") as client:
            assert await client.list_tokens() == []
        assert (await run(directory, "list", "-c", "engine.yaml"))[0] == 0
    assert not (directory / "store.sock").exists()
    async with (
        open_controller(directory, socket="other.sock"),
        Client(f"unix:{directory / 'other.sock'}", "") as client,
    ):
        assert await client.list_tokens() == []


async def test_default_socket_that_cannot_be_opened_is_logged(tmp_path: Path) -> None:
    (tmp_path / "store.sock").mkdir()
    with capture_logs() as logs:
        async with open_controller(tmp_path) as controller:
            assert controller.socket is None
            async with Client(controller.url, PASSWORD) as client:
                assert await client.list_dags() == []
    (line,) = [line for line in logs if line["event"] == "socket_not_opened"]
    assert "store.sock" in line["error"]
    assert "api.socket" in line["remedy"]

"""The examples with curl and tokens in the documentation, run against a controller."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.listening_controller import open_controller
from tests.support.quick_cases import first_quick

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ("README.md", "README.zh-CN.md", "docs/tutorial.md", "docs/howto/tokens.md")


def blocks_of(page: str) -> list[str]:
    """Return the shell examples of a page in order; of most pages, those of curl only."""
    blocks = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    if page.endswith("tokens.md"):  # the service has tests of its own
        return [block for block in blocks if "--service" not in block and "2880" not in block]
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith(("curl ", "DAGENGINE_TOKEN="))]


async def run(directory: Path, script: str) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DAGENGINE_")}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=directory,
        env=clean | {"PATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("page", first_quick(PAGES))
async def test_example_with_curl_succeeds(tmp_path: Path, page: str) -> None:
    more = {"socket": "run/dagengine.sock"} if page.endswith("tutorial.md") else {}
    blocks = blocks_of(page)
    assert blocks
    async with open_controller(tmp_path, **more) as controller:
        port = urlsplit(controller.url).port
        script = "\n".join(blocks).replace(":2886", f":{port}").replace("curl ", "curl -fsS ")
        script = f"export DAGENGINE_URL={controller.url}\n{script}"
        if not more:
            (tmp_path / "var").mkdir()
            (tmp_path / "var" / "dagengine.sock").symlink_to(tmp_path / "store.sock")
        out = await run(tmp_path, script)
    assert out.count('"successful":true') == script.count("curl ")


async def test_examples_of_tokens_show_what_they_describe(tmp_path: Path) -> None:
    async with open_controller(tmp_path) as controller:
        create = blocks_of("docs/howto/tokens.md")[0]
        url = f"export DAGENGINE_URL={controller.url}"
        out = await run(
            tmp_path, f'{url}\n{create}\necho "$DAGENGINE_TOKEN"; dagengine list --json'
        )
        token, document = out.split("\n", 1)
        assert re.fullmatch(r"dag_x_[A-Za-z0-9_-]{43}", token)
        assert json.loads(document) == []
        listed = await run(tmp_path, "dagengine token list --json -c engine.yaml")
        assert [row["name"] for row in json.loads(listed)] == ["ci"]

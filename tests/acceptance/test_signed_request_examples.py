"""The programs of docs/reference/signed_header.md sign requests that a controller accepts."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.listening_controller import PASSWORD, open_controller

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs/reference/signed_header.md").read_text(encoding="utf-8")
VECTORS = json.loads((ROOT / "tests/vectors.json").read_text(encoding="utf-8"))
PROGRAMS = {
    "signed_request.py": (sys.executable,),
    "signed_request.sh": ("bash",),
    "signed_request.mjs": ("node",),
    "signed_request.go": ("go", "run"),
}


async def run(*argv: str) -> tuple[int | None, dict[str, object]]:
    """Run a program; return its exit code and the envelope that it prints."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=os.environ | {"DAGENGINE_PASSWORD": PASSWORD},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        stdout, stderr = await process.communicate()
    assert stdout, stderr.decode()
    return process.returncode, json.loads(stdout)


@pytest.mark.parametrize(
    "name",
    [
        "signed_request.py",
        pytest.param("signed_request.sh"),
        pytest.param("signed_request.mjs", marks=pytest.mark.slow),
        pytest.param("signed_request.go", marks=pytest.mark.slow),  # compiled first
    ],
)
async def test_example_program_signs_with_and_without_body(name: str, tmp_path: Path) -> None:
    needed = [PROGRAMS[name][0], *(["curl", "openssl"] if name.endswith(".sh") else [])]
    if missing := [program for program in needed if shutil.which(program) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    program = (*PROGRAMS[name], str(EXAMPLES / name))
    async with open_controller(tmp_path) as controller:
        api = f"{controller.url}/api/v1"
        code, envelope = await run(*program, "GET", f"{api}/task/dags?limit=5")
        assert (code, envelope["successful"]) == (0, True), envelope
        # With the password and the keys, this target fills three blocks of RSA.
        code, envelope = await run(*program, "GET", f"{api}/task/dags?limit=5&note={'n' * 500}")
        assert (code, envelope["successful"]) == (0, True), envelope
        body = json.dumps({"scope": {"type": "ZONE", "target": ["zone 中"]}}, ensure_ascii=False)
        code, envelope = await run(*program, "POST", f"{api}/ob/start", body)
        assert (code, envelope["status"]) == (1, 400), envelope
        assert "zone 中" in str(envelope["error"])


def cell(name: str) -> str:
    """Return the value of a row of the worked example."""
    match = re.search(rf"^\| {re.escape(name)} \| `(.*)` \|$", PAGE, re.MULTILINE)
    assert match is not None, name
    return match[1]


def test_worked_example_is_a_vector() -> None:
    name = re.search(r"This one is `(\S+)`", PAGE)
    assert name is not None
    (vector,) = (v for v in VECTORS["valid"] if v["name"] == name[1])
    key = VECTORS["rsa_keys"][vector["rsa_key"]]["public_key_pkcs1_der_base64_as_served_by_secret"]
    assert cell("public key") == key
    assert cell("AES key") == vector["aes_key_hex"]
    assert cell("IV") == vector["aes_iv_hex"]
    assert cell("header, plain") == vector["header_plain"]
    assert cell("body, plain") == vector["body_plain"]
    assert cell("body, as sent") == vector["body_cipher"]
    keys = base64.b64decode(json.loads(cell("header, plain"))["keys"]).hex()
    assert keys == cell("AES key") + cell("IV")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_worked_example_command_encrypts_body() -> None:
    command = re.search(r"^printf %s .*? -A$", PAGE, re.MULTILINE | re.DOTALL)
    assert command is not None
    done = subprocess.run(
        ["bash", "-c", command[0]], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == cell("body, as sent")


def test_page_names_each_example_program() -> None:
    named = set(re.findall(r"\(\.\./examples/([\w.]+)\)", PAGE))
    assert named == {path.name for path in EXAMPLES.iterdir() if path.is_file()} == set(PROGRAMS)

"""The cases of wire_cases.yaml over real HTTP; no case may change the controller."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.support.api_controller import (
    ApiController,
    ApiResponse,
    dump,
    encrypt_body,
    open_api_controller,
)

FILE = Path(__file__).with_name("wire_cases.yaml")
SECTIONS: dict[str, list[dict[str, Any]]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
CASES = [
    pytest.param(case, id=f"{section}: {case['ask']} {number}")
    for section, cases in SECTIONS.items()
    for number, case in enumerate(cases, 1)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def controller(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiController]:
    """A controller with a DAG that has failed and one that has succeeded."""
    with pytest.MonkeyPatch.context() as patch:
        async with open_api_controller(tmp_path_factory.mktemp("wire"), patch) as controller:
            await controller.start_failing()
            controller.broken = set()
            await controller.wait_for_end(await controller.start())
            yield controller


async def send(controller: ApiController, case: dict[str, Any]) -> ApiResponse:
    method, _, target = case["ask"].partition(" ")
    target = target if target.startswith("/") else f"/api/v1/{target}"
    keys = secrets.token_bytes(32)
    body = case.get("raw")
    if "json" in case or "text" in case:
        plain = dump(case["json"]) if "json" in case else case["text"].encode()
        body = encrypt_body(plain, keys)
    changes = case.get("sign", {})
    headers = {}
    if changes != "none":
        headers = controller.sign(target, **({"keys": b64encode(keys).decode()} | changes))
    return await controller.send(method, target, headers=headers, body=body)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES)
async def test_api_wire_case_gets_expected_response(
    controller: ApiController, case: dict[str, Any]
) -> None:
    controller.clock.advance(60)  # otherwise the address would have to pause after some refusals
    before = await controller.engine.list_dags(limit=9, details=False)
    answer = await send(controller, case)
    status, *codes = str(case["is"]).split()
    assert answer.status == int(status), answer.text
    if codes:
        error = answer.body["error"]
        error_codes = [str(error["code"])] if "code" in error else []
        assert [*error_codes, error["errCode"]] == codes, answer.text
        assert case.get("says", "") in error["message"]
    assert await controller.engine.list_dags(limit=9, details=False) == before


def test_wire_cases_cover_every_section() -> None:
    assert len(CASES) >= 150
    assert min(map(len, SECTIONS.values())) >= 25

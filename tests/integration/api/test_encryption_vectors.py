"""Every vector of the hybrid encryption, through the real application over real HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from yarl import URL

from dagengine.api.app import build_app
from dagengine.engine.engine import Engine
from dagengine.errors import InvalidId
from dagengine.model.ids import AgentAddress, IdKind, decode_id, encode_id
from dagengine.model.operation import Operation, Stage
from dagengine.model.outcome import Succeeded
from dagengine.model.stage_kinds import StageKind
from dagengine.model.step import StepContext
from dagengine.security.replay import ReplayGuard
from dagengine.security.server_key import ServerKey
from dagengine.store.sqlite.store import SqliteStore
from dagengine.testing import FakeClock
from tasks.cluster.cluster_file import ClusterFile
from tasks.demo.hosts import free_port
from tasks.flavours.select import FLAVOURS
from tasks.operations.names import START_OB
from tasks.routes.start_stop import start_route

VECTORS = json.loads((Path(__file__).parents[2] / "vectors.json").read_text(encoding="utf-8"))
IDS = VECTORS["generic_ids"]
SHORTLY_BEFORE_TS = datetime.fromtimestamp(4102444740, UTC)

CLUSTER = """
name: vectors
id: 1
flavour: seekdb
root_password_env: VECTORS_PASSWORD
defaults: {home: /home/admin/seekdb}
zones:
  zone1: [{ip: 10.10.10.1}, {ip: "fe80::1"}]
  zone2: [{ip: 10.10.10.2}]
"""


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.text)
        return body


class Api:
    """The application, with the key of a vector."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        (tmp_path / "cluster.yaml").write_text(CLUSTER)
        self.cluster = ClusterFile(tmp_path / "cluster.yaml", FLAVOURS)

        async def step(context: StepContext) -> Succeeded:
            return Succeeded()

        self.store = SqliteStore(tmp_path / "store.sqlite")
        self.engine = Engine(
            store=self.store,
            operations=[Operation(START_OB, (Stage("only", StageKind.NORMAL, step),))],
        )

    async def send(self, vector: dict[str, Any], body: str | None) -> Answer:
        pem = VECTORS["rsa_keys"][vector["rsa_key"]]["private_key_pkcs1_pem"].encode()
        private = serialization.load_pem_private_key(pem, None)
        assert isinstance(private, rsa.RSAPrivateKey)
        key = ServerKey(private)
        self._monkeypatch.setenv("VECTORS_PASSWORD", vector.get("server_password", "p@ss"))
        app = build_app(
            engine=self.engine,
            cluster=self.cluster,
            routes=[start_route(self.cluster)],
            key=key,
            replay=ReplayGuard(FakeClock(SHORTLY_BEFORE_TS)),
            store=self.store,
            clock=FakeClock(SHORTLY_BEFORE_TS),
            version="0",
            root_password=self.cluster.root_password,
            agent_password=lambda: vector.get("server_agent_password", ""),
            before_retry=lambda: None,
        )
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        headers = {}
        if vector["header_name"]:
            headers[vector["header_name"]] = vector["header_cipher"]
        url = URL(f"http://127.0.0.1:{port}{vector['request_uri']}", encoded=True)
        try:
            async with (
                ClientSession() as session,
                session.request(vector["method"], url, headers=headers, data=body) as response,
            ):
                return Answer(response.status, await response.text())
        finally:
            await runner.cleanup()
            key.close()


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    api = Api(tmp_path, monkeypatch)
    async with api.engine:
        yield api


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
async def test_api_valid_vector_passes_authentication(api: Api, vector: dict[str, Any]) -> None:
    answer = await api.send(vector, vector["body_cipher"] or None)
    error = answer.body.get("error", {})
    assert not error.get("errCode", "").startswith(("Security.", "Request.")), error
    assert error.get("errCode") not in ("Common.Unexpected", "Common.BindJsonFailed")


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
async def test_api_invalid_vector_gets_obshell_response(api: Api, vector: dict[str, Any]) -> None:
    answer = await api.send(vector, vector["body"])
    if vector["name"] == "forcepass-as-list":  # accepted here: the published document's form
        assert answer.status == 200
        return
    expected = vector["expect"]
    error = answer.body["error"]
    assert (answer.status, error["errCode"], error.get("code")) == (
        expected["http_status"],
        expected["errCode"],
        expected["code"],
    )
    assert "p@ss" not in answer.text


@pytest.mark.parametrize("row", IDS["encode"], ids=lambda row: row["generic_id"])
def test_encode_id_matches_vectors(row: dict[str, Any]) -> None:
    agent = AgentAddress(row["ip"], row["port"])
    assert encode_id(IdKind(row["kind"]), agent, row["id"]) == row["generic_id"]


@pytest.mark.parametrize("row", IDS["decode"], ids=lambda row: row["generic_id"])
def test_decode_id_matches_vectors(row: dict[str, Any]) -> None:
    if "error" in row:
        with pytest.raises(InvalidId):
            decode_id(row["generic_id"])
        return
    decoded = decode_id(row["generic_id"])
    agent = row["agent"] and AgentAddress(row["agent"]["ip"], row["agent"]["port"])
    assert (decoded.row_id, decoded.agent) == (row["id"], agent)


def test_server_key_public_key_is_pkcs1() -> None:
    for bits in ("1024", "2048"):
        key = VECTORS["rsa_keys"][bits]
        private = serialization.load_pem_private_key(key["private_key_pkcs1_pem"].encode(), None)
        assert isinstance(private, rsa.RSAPrivateKey)
        served = ServerKey(private).public_key
        assert served == key["public_key_pkcs1_der_base64_as_served_by_secret"]
        assert base64.b64decode(served)[:1] == b"\x30"

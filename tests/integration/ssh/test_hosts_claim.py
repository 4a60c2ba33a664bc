"""`dagengine hosts claim` against a real sshd: a home changes hands only with consent."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from dagengine import FencingToken, SqliteStore
from dagengine.cli import main
from dagengine.extension import load_config, read_fencing_token
from tasks.hosts.fence import FENCE_FILE, FUTURE_S, parse_fence, render_token
from tests.support.sshd import MISSING, SshLab, user_name

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")

NAME = "127.0.0.1:2886"
OTHER = FencingToken("4f1c" + "0" * 28, 9, 9, "ctl-a:2886")
AT = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class ClaimLab:
    """A home on a host, and the store of a controller that may be running."""

    directory: Path
    run: Callable[..., Awaitable[tuple[int, str, Mapping[str, Any]]]]

    @property
    def fence(self) -> Path:
        return self.directory / "home" / FENCE_FILE

    @property
    def own_token(self) -> FencingToken:
        config = load_config(self.directory / "engine.yaml", {})
        return read_fencing_token(config.find_cluster(None))

    def recorded(self) -> FencingToken:
        text = self.fence.read_text().removeprefix("1 ").removesuffix("\n")
        record = parse_fence({"fence": [text]}).record
        assert record is not None
        return record.token


@pytest_asyncio.fixture
async def claim_lab(
    lab: SshLab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> ClaimLab:
    host, key = await lab.sshd(), await lab.key("id")
    lab.let_in(key, host)
    directory = lab.directory
    home = directory / "home"
    home.mkdir()
    server = {"ip": "127.0.0.1", "home": str(home), "sql_port": 1, "ssh": {"port": host.port}}
    cluster = {
        "name": "c",
        "id": 1,
        "flavour": "seekdb",
        "ssh": {"user": user_name(), "key_file": str(key), "known_hosts": "known_hosts"},
        "zones": {"z": [server]},
    }
    (directory / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    (directory / "engine.yaml").write_text("cluster: cluster.yaml\nstore: {path: s.sqlite}\n")
    (home / FENCE_FILE).write_text(f"1 {render_token(OTHER)} {AT}\n")

    async def run(
        *options: str, answer: str = "", name: str = NAME
    ) -> tuple[int, str, Mapping[str, Any]]:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        words = ["hosts", "claim", name, "--json", "-c", str(directory / "engine.yaml"), *options]
        code = await asyncio.to_thread(main, words)
        out, err = capsys.readouterr()
        return code, err, json.loads(out) if out else {}

    return ClaimLab(directory, run)


async def test_hosts_claim_needs_consent_and_is_audited(claim_lab: ClaimLab) -> None:
    """The controller runs at the same time."""
    store = SqliteStore(claim_lab.directory / "s.sqlite")
    await store.open()
    before = claim_lab.fence.read_bytes()
    for answer in ("", "n\n", "claim\n"):
        code, printed, document = await claim_lab.run(answer=answer)
        assert (code, document["result"]) == (1, "declined")
        assert claim_lab.fence.read_bytes() == before
    assert "store 4f1c0000…, controller ctl-a:2886, at 2026-01-02T03:04:05Z" in printed
    assert await store.list_audit(None, limit=9) == ()

    code, printed, document = await claim_lab.run(answer="y\n")
    assert (code, document["result"]) == (0, "claimed")
    assert document["fence_before"] == f"{render_token(OTHER)} {AT}"
    assert claim_lab.recorded() == claim_lab.own_token
    (row,) = await store.list_audit(None, limit=9)
    assert (row.action, row.dag_id) == ("CLAIM", 0)
    assert NAME in row.reason
    assert "store 4f1c0000…" in row.reason
    assert user_name() in row.by
    await store.close()

    code, _, document = await claim_lab.run()
    assert (code, document["result"]) == (0, "unnecessary")


async def test_hosts_claim_yes_replaces_damaged_fence_only(claim_lab: ClaimLab) -> None:
    store = SqliteStore(claim_lab.directory / "s.sqlite")
    await store.open()
    await store.close()
    claim_lab.fence.write_text("x")
    code, printed, document = await claim_lab.run("--yes")
    assert (code, document) == (
        0,
        {"server": NAME, "result": "claimed", "fence_before": "damaged"},
    )
    assert "is damaged or cannot be read" in printed
    newer = replace(claim_lab.own_token, epoch=2)
    claim_lab.fence.write_text(f"1 {render_token(newer)} {AT}\n")
    code, printed, document = await claim_lab.run("--yes")
    assert (code, document["result"]) == (1, "stale")
    assert "dagengine store new-epoch" in printed
    assert claim_lab.recorded() == newer


async def test_hosts_claim_repairs_epoch_in_future(claim_lab: ClaimLab) -> None:
    """A clock was wrong once, or the file is damaged: a new epoch may not reach it."""
    store = SqliteStore(claim_lab.directory / "s.sqlite")
    await store.open()
    for epoch in (int(time.time()) + 2 * FUTURE_S, 10**18 - 1):
        newer = replace(claim_lab.own_token, epoch=epoch)
        claim_lab.fence.write_text(f"1 {render_token(newer)} {AT}\n")
        code, printed, document = await claim_lab.run(answer="n\n")
        assert (code, document["result"]) == (1, "declined")
        assert "the recorded epoch lies in the future" in printed
        assert claim_lab.recorded() == newer
        code, _, document = await claim_lab.run(answer="y\n")
        assert (code, document["result"]) == (0, "claimed")
        assert claim_lab.recorded() == claim_lab.own_token
        row = (await store.list_audit(None, limit=1))[0]
        assert (row.action, str(epoch) in row.reason) == ("CLAIM", True)
    await store.close()


async def test_hosts_claim_without_store_or_server_is_wrong_usage(claim_lab: ClaimLab) -> None:
    before = claim_lab.fence.read_bytes()
    code, printed, _ = await claim_lab.run("--yes")
    assert (code, "s.sqlite does not exist" in printed) == (2, True)
    code, printed, _ = await claim_lab.run("--yes", name="127.0.0.1:1")
    assert (code, f"name one of {NAME}" in printed) == (2, True)
    code, printed, _ = await claim_lab.run("--replace", "127.0.0.1")
    assert (code, "needs -c" in printed) == (2, True)
    assert main(["hosts", "trust", NAME, "-c", str(claim_lab.directory / "engine.yaml")]) == 2
    assert main(["hosts", "claim", "-c", str(claim_lab.directory / "engine.yaml")]) == 2
    assert claim_lab.fence.read_bytes() == before
    assert not (claim_lab.directory / "s.sqlite").exists()

"""Password checks of `doctor`: a missing file fails; an open file or an empty password warns."""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

import pytest

from dagengine import SystemClock
from dagengine.extension import SelfCheckResult, SelfCheckStatus, inspect_controller
from dagengine.remote import HostAddress, SshPool
from tasks.cluster.cluster_file import ClusterFile
from tasks.doctor.examine import (
    examine,
    inspect_known_hosts,
    inspect_login_files,
    inspect_password,
    name_engine_file,
)
from tasks.flavours.select import FLAVOURS

ONE = "name: demo\nid: 1\nflavour: seekdb\nzones: {z1: [{ip: 10.0.0.1, home: /h}]}\n"


def cluster_of(tmp_path: Path, keys: str) -> ClusterFile:
    (tmp_path / "cluster.yaml").write_text(ONE + keys)
    return ClusterFile(tmp_path / "cluster.yaml", FLAVOURS)


@pytest.mark.parametrize(
    ("keys", "content", "mode", "health", "message_part"),
    [
        ("root_password_file: root\n", "pw\n", 0o600, SelfCheckStatus.OK, "mode 0600"),
        (
            "root_password_file: root\n",
            "pw\n",
            0o644,
            SelfCheckStatus.WARN,
            "other users may read it",
        ),
        ("root_password_file: root\n", "", 0o600, SelfCheckStatus.BAD, "is empty"),
        ("root_password_file: root\n", "", 0o644, SelfCheckStatus.BAD, "is empty"),
        ("root_password_file: gone\n", "", 0o600, SelfCheckStatus.BAD, "No such file"),
        ("root_password: none\n", "", 0o600, SelfCheckStatus.WARN, "root has an empty password"),
        ("root_password_env: DOCTOR_NOT_SET\n", "", 0o600, SelfCheckStatus.BAD, "is not set"),
        ("", "", 0o600, SelfCheckStatus.BAD, "are missing"),
    ],
)
def test_inspect_password_status_depends_on_configuration(
    tmp_path: Path, keys: str, content: str, mode: int, health: SelfCheckStatus, message_part: str
) -> None:
    (tmp_path / "root").write_text(content)
    (tmp_path / "root").chmod(mode)
    inspection = inspect_password(cluster_of(tmp_path, keys))
    assert (inspection.check, inspection.health) == ("root password", health)
    assert message_part in inspection.message
    assert bool(inspection.remedy) == (health is not SelfCheckStatus.OK)


@pytest.mark.parametrize(
    ("value", "message_part"), [(None, "not set"), ("", "the variable is empty"), ("x", None)]
)
def test_inspect_login_files_unusable_passphrase_variable_is_bad(
    monkeypatch: pytest.MonkeyPatch, value: str | None, message_part: str | None
) -> None:
    monkeypatch.delenv("DOCTOR_PHRASE", raising=False)
    if value is not None:
        monkeypatch.setenv("DOCTOR_PHRASE", value)
    address = HostAddress("192.0.2.1", key_passphrase_env="DOCTOR_PHRASE")
    bad = [each for each in inspect_login_files(address) if each.subject == "DOCTOR_PHRASE"]
    assert [message_part in each.message for each in bad if message_part] == [True] * (
        message_part is not None
    )
    assert len(bad) == (message_part is not None)


def test_inspect_known_hosts_unknown_home_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    (bad,) = dict.fromkeys(inspect_known_hosts([HostAddress("::1"), HostAddress("::2")]))
    assert (bad.check, bad.health) == ("known hosts", SelfCheckStatus.BAD)
    assert bad.remedy


@pytest.mark.parametrize(("content", "is_bad"), [("pw\n", False), ("", True), (" \n", True)])
def test_inspect_controller_blank_agent_password_is_bad(
    tmp_path: Path, content: str, is_bad: bool
) -> None:
    (tmp_path / "agent").write_text(content)
    (tmp_path / "agent").chmod(0o600)
    engine_file = tmp_path / "engine.yaml"
    engine_file.write_text(
        "cluster: c\nstore: {path: s}\napi: {port: 1, agent_password_file: agent}\n"
    )
    _, inspections = inspect_controller(engine_file, {})
    bad = [each for each in inspections if each.health is SelfCheckStatus.BAD]
    assert [each.check for each in bad] == ["agent password"] * is_bad


def test_remedies_name_the_engine_file() -> None:
    remedies = (
        "pin it: dagengine hosts trust shows its fingerprint and asks",
        "replace the key: dagengine hosts trust --replace 'h:22'",
        "something else",
    )
    results = [SelfCheckResult("h", "host key", SelfCheckStatus.BAD, "m", r) for r in remedies]
    assert [each.remedy for each in name_engine_file(results, Path("/a b/engine.yaml"))] == [
        "pin it: dagengine hosts trust -c '/a b/engine.yaml' shows its fingerprint and asks",
        "replace the key: dagengine hosts trust -c '/a b/engine.yaml' --replace 'h:22'",
        "something else",
    ]


async def test_examine_reports_remedies_with_the_engine_file(tmp_path: Path) -> None:
    engine_file = tmp_path / "my.yaml"
    engine_file.write_text("cluster: c.yaml\n")
    (tmp_path / "c.yaml").write_text(
        "{name: c, id: 1, flavour: seekdb, root_password: none, ssh: {known_hosts: none_yet},"
        " zones: {z: [{ip: 127.0.0.1, home: /h, ssh: {port: 1}}]}}"
    )
    clock = SystemClock()
    pool = SshPool(clock, SystemRandom())
    reported: list[SelfCheckResult] = []
    try:
        results = await examine(engine_file, pool, clock, reported.extend)
    finally:
        await pool.close()
    for shown in (results, reported):
        remedies = [each.remedy for each in shown if "hosts trust" in each.remedy]
        assert remedies
        assert all(f"hosts trust -c {engine_file}" in remedy for remedy in remedies)

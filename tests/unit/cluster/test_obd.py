"""obd's files used as the cluster file: the cases in tests/cases/obd, and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dagengine.errors import ConfigError
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.obd import COMPONENTS, convert_obd, is_obd_outline
from tasks.flavours.select import FLAVOURS

CASES = sorted((Path(__file__).parents[2] / "cases" / "obd").glob("*.yaml"))
EXPECTED = {file: json.loads(file.with_suffix(".json").read_text()) for file in CASES}
TAKEN = [file for file, expectation in EXPECTED.items() if "refused" not in expectation]
REFUSED = [file for file, expectation in EXPECTED.items() if "refused" in expectation]

GOOD = """
seekdb:
  servers: [10.1.1.1]
  global: {home_path: /h}
"""


def test_obd_case_files_reach_minimum_count() -> None:
    assert len(CASES) >= 40
    assert len(REFUSED) >= 15


@pytest.mark.parametrize("file", TAKEN, ids=lambda file: file.stem)
def test_obd_case_file_gives_expected_cluster(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    expectation = EXPECTED[file]
    cluster = load_cluster(file, FLAVOURS)
    assert (cluster.name, cluster.cluster_id, cluster.flavour.name) == (
        expectation["name"],
        expectation["id"],
        expectation["flavour"],
    )
    assert (cluster.password.value if cluster.password else None) == expectation["password"]
    assert [server.name for server in cluster.servers] == [
        s["name"] for s in expectation["servers"]
    ]
    for server, expected in zip(cluster.servers, expectation["servers"], strict=True):
        for key, value in expected.items():
            if key == "ssh":
                assert {name: getattr(server.address, name) for name in value} == value
            else:
                assert getattr(server, key) == value, key
    assert len(cluster.notices) == len(expectation["notices"])
    for notice, expected in zip(cluster.notices, expectation["notices"], strict=True):
        assert expected in notice


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_obd_invalid_case_file_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_cluster(file, FLAVOURS)
    message = str(caught.value)
    assert [part for part in (str(file), *EXPECTED[file]["refused"]) if part not in message] == []
    assert "s3cret" not in message


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_obd_file_secrets_are_not_kept(file: Path) -> None:
    try:
        rendered = repr(load_cluster(file, FLAVOURS))
    except ConfigError as exc:
        rendered = str(exc).replace("/other", "")
    for secret in ("s3cret", "other", "login-secret"):
        assert secret not in rendered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0123", "123"),
        ("12:30:45", "12:30:45"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("0o17", "15"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("089", "89"),
        ("123456", "123456"),
        ("'0123'", "0123"),
        ("1e3", "1000.0"),
        (".5e3", ".5e3"),
        ("0.10", "0.1"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31 10:00:00", "2024-01-31 10:00:00"),
        ("true", "True"),
        ("=", "="),
        ("!!str 0123", "0123"),
    ],
)
def test_obd_scalar_has_same_text_as_in_obd(tmp_path: Path, text: str, expected: str) -> None:
    """obd applies `str` to the value from ruamel.yaml, for passwords and zones alike."""
    assert str(YAML().load(f"a: {text}\n")["a"]) == expected
    file = tmp_path / "config.yaml"
    file.write_text(GOOD.replace("{home_path", f"{{zone: {text}, root_password: {text}, home_path"))
    cluster = load_cluster(file, FLAVOURS)
    assert cluster.password is not None
    assert (cluster.password.value, cluster.servers[0].zone) == (expected, expected)


def test_is_obd_outline_rejects_cluster_file() -> None:
    def is_obd(**keys: set[str]) -> bool:
        return is_obd_outline({key: frozenset(below) for key, below in keys.items()})

    assert all(is_obd_outline({name: frozenset()}) for name in COMPONENTS)
    assert is_obd(user={"username"}, monitor={"servers"})
    assert is_obd(oceanbase_ce={"servers", "global"})
    assert not is_obd(name=set(), zones=set(), seekdb=set())
    assert not is_obd(name=set(), zones={"servers"})
    assert not is_obd(nam=set(), zone={"z1"})
    assert not is_obd()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seekdb: {}\n", "seekdb.servers must be a list"),
        ("seekdb: {servers: []}\n", "seekdb.servers must be a list"),
        ("seekdb: {servers: [host1]}\n", "number 1 needs an ip address, not 'host1'"),
        ("seekdb: {servers: [{name: a}]}\n", "number 1 needs an ip address"),
        ("seekdb: {servers: [10.1.1.1]}\n", "home_path is missing"),
        ("seekdb: {servers: [10.1.1.1], global: {home_path: h}}\n", "absolute `home`"),
        ("seekdb: {servers: [10.1.1.1], global: 7}\n", "seekdb.global must be a mapping"),
        (GOOD + "  10.1.1.1: []\n", "seekdb.10.1.1.1 must be a mapping"),
        (GOOD + "  include: x.yaml\n", "include is not supported"),
        (GOOD + "oceanbase-ce: {servers: [10.1.1.2]}\n", "oceanbase-ce and seekdb"),
        (GOOD + "user: admin\n", "user must be a mapping"),
        (GOOD.replace("[10.1.1.1]", "[10.1.1.1, 10.1.1.1]"), "10.1.1.1 occurs twice"),
        (
            GOOD.replace("{home_path", "{mysql_port: many, home_path"),
            "mysql_port is not an integer: many",
        ),
        (GOOD.replace("{home_path", "{rpc_port: 0, home_path"), "rpc_port is not a port: 0"),
        (
            GOOD.replace("{home_path", "{cluster_id: x, home_path"),
            "cluster_id is not an integer: x",
        ),
        (GOOD.replace("{home_path", "{data_dir: x, home_path"), "absolute `data_dir`"),
        (GOOD + "user: {port: 99999}\n", "ssh.port"),
    ],
)
def test_obd_file_wrong_value_names_place(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "obd.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_cluster(file, FLAVOURS)
    assert named in str(caught.value)
    assert str(file) in str(caught.value)


def test_obd_different_passwords_are_not_shown(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "seekdb": {
            "servers": ["10.1.1.1", "10.1.1.2"],
            "global": {"home_path": "/h", "root_password": "one-secret"},
            "10.1.1.2": {"root_password": "two-secret"},
        }
    }
    with pytest.raises(ValueError, match="different values of root_password") as caught:
        convert_obd(raw, login="me")
    assert "secret" not in str(caught.value)

"""obd's cluster files in place of the cluster file: the cases in tests/cases/obd, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagengine import ConfigError
from tasks.obd import COMPONENTS, convert_obd, is_obd_file
from tasks.topology import ClusterFile, load_cluster

CASES = sorted((Path(__file__).parents[1] / "cases" / "obd").glob("*.yaml"))

GOOD = """
seekdb:
  servers: [10.1.1.1]
  global: {home_path: /h}
"""


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_an_obd_file_is_read_as_its_case_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "me")
    then = json.loads(file.with_suffix(".json").read_text())
    cluster = load_cluster(file)
    assert (cluster.name, cluster.cluster_id, cluster.flavour.name) == (
        then["name"],
        then["id"],
        then["flavour"],
    )
    assert (cluster.password.value if cluster.password else None) == then["password"]
    assert [server.name for server in cluster.servers] == [s["name"] for s in then["servers"]]
    for server, expected in zip(cluster.servers, then["servers"], strict=True):
        for key, value in expected.items():
            if key == "ssh":
                assert {name: getattr(server.address, name) for name in value} == value
            else:
                assert getattr(server, key) == value, key
    assert len(cluster.notices) == len(then["notices"])
    for notice, expected in zip(cluster.notices, then["notices"], strict=True):
        assert expected in notice


def test_secrets_of_an_obd_file_are_nowhere_in_what_is_kept() -> None:
    for file in CASES:
        shown = repr(load_cluster(file))
        assert "s3cret" not in shown
        assert "other" not in shown
        assert "login-secret" not in shown


def test_the_variable_wins_over_the_password_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "obd.yaml"
    file.write_text(GOOD.replace("{home_path", "{root_password: from-file, home_path"))
    cluster = ClusterFile(file)
    monkeypatch.delenv("DAGENGINE_ROOT_PASSWORD", raising=False)
    assert cluster.root_password() == "from-file"
    monkeypatch.setenv("DAGENGINE_ROOT_PASSWORD", "from-variable")
    assert cluster.root_password() == "from-variable"


def test_a_cluster_file_is_not_taken_for_one_of_obd() -> None:
    assert not is_obd_file({"name": "x", "zones": {}, "seekdb": {}})
    assert not is_obd_file({"obproxy-ce": {}})
    assert not is_obd_file({"seekdb": None})
    assert all(is_obd_file({name: {}}) for name in COMPONENTS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seekdb: {}\n", "seekdb.servers is no list"),
        ("seekdb: {servers: []}\n", "seekdb.servers is no list"),
        ("seekdb: {servers: [host1]}\n", "number 1 has no ip address, it has 'host1'"),
        ("seekdb: {servers: [{name: a}]}\n", "number 1 has no ip address"),
        ("seekdb: {servers: [10.1.1.1]}\n", "home_path is missing"),
        ("seekdb: {servers: [10.1.1.1], global: {home_path: h}}\n", "absolute `home`"),
        ("seekdb: {servers: [10.1.1.1], global: 7}\n", "seekdb.global holds no keys"),
        (GOOD + "  10.1.1.1: []\n", "seekdb.10.1.1.1 holds no keys"),
        (GOOD + "  include: x.yaml\n", "include is not followed"),
        (GOOD + "oceanbase-ce: {servers: [10.1.1.2]}\n", "oceanbase-ce and seekdb"),
        (GOOD + "user: admin\n", "user holds no keys"),
        (GOOD.replace("[10.1.1.1]", "[10.1.1.1, 10.1.1.1]"), "10.1.1.1 occurs twice"),
        (GOOD.replace("{home_path", "{mysql_port: many, home_path"), "mysql_port is no port"),
        (GOOD.replace("{home_path", "{rpc_port: 0, home_path"), "rpc_port is no port: 0"),
        (GOOD.replace("{home_path", "{cluster_id: x, home_path"), "id: Input should be"),
        (GOOD.replace("{home_path", "{data_dir: x, home_path"), "absolute `data_dir`"),
        (GOOD + "user: {port: 99999}\n", "ssh.port"),
    ],
)
def test_what_obd_would_not_take_either_is_refused_at_its_place(
    tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "obd.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_cluster(file)
    assert named in str(caught.value)
    assert str(file) in str(caught.value)


def test_different_root_passwords_are_refused_without_being_shown(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "seekdb": {
            "servers": ["10.1.1.1", "10.1.1.2"],
            "global": {"home_path": "/h", "root_password": "one-secret"},
            "10.1.1.2": {"root_password": "two-secret"},
        }
    }
    with pytest.raises(ValueError, match="different root_password") as caught:
        convert_obd(raw, login="me")
    assert "secret" not in str(caught.value)

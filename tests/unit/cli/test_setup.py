"""`dagengine init` and `dagengine config check`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dagengine.cli import main

CONFIGS = Path(__file__).parents[3] / "configs"
Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("options", "servers", "flavour"),
    [
        ([], ["10.0.0.1:2886", "10.0.0.2:2886", "10.0.0.3:2886"], "seekdb"),
        (["--server", "192.0.2.1", "--server", "::1"], ["192.0.2.1:2886", "[::1]:2886"], "seekdb"),
        (["--flavour", "oceanbase", "--user", "no", "--name", "12:30"], None, "oceanbase"),
    ],
)
def test_init_writes_files_that_config_check_accepts(
    tmp_path: Path, capsys: Output, options: list[str], servers: list[str] | None, flavour: str
) -> None:
    directory = tmp_path / "new" / "prod"
    assert main(["init", str(directory), *options]) == 0
    written = capsys.readouterr().out
    engine_file = directory / "engine.yaml"
    assert f"dagengine config check -c {engine_file}" in written
    assert f"dagengine serve -c {engine_file}" in written
    assert main(["config", "check", "-c", str(engine_file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["flavour"] == flavour
    if servers is not None:
        assert [each["server"] for each in document["servers"]] == servers
    assert main(["config", "check", "-c", str(engine_file)]) == 0
    assert f"{engine_file}: valid; API at 127.0.0.1:2886" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "cluster_file"),
    [("engine", None), ("fleet", None), ("service", "clusters/example.yaml")],
)
def test_config_check_accepts_shipped_examples(
    tmp_path: Path, name: str, cluster_file: str | None
) -> None:
    configs = tmp_path / "configs"
    shutil.copytree(CONFIGS, configs)
    if cluster_file is not None:  # service.yaml expects the user's own beside it
        shutil.copy(configs / cluster_file, configs / "cluster.yaml")
    assert main(["config", "check", "-c", str(configs / f"{name}.yaml")]) == 0


@pytest.mark.parametrize("name", ["engine.yaml", "cluster.yaml"])
def test_init_existing_file_is_not_changed(tmp_path: Path, capsys: Output, name: str) -> None:
    (tmp_path / name).write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert f"{tmp_path / name} exists already" in capsys.readouterr().err
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--server", "db1.example.org"], "--server 'db1.example.org' is not an IP address"),
        (["--server", ""], "--server '' is not an IP address"),
        (["--server", "10.0.0.1", "--server", "10.0.0.1"], "--server '10.0.0.1' occurs twice"),
        (["--home", "relative"], "--home 'relative' is not a directory's path from /"),
        (["--home", "/a\\b"], r"--home '/a\\b' is not a directory's path from /"),
        (["--flavour", "mysql"], "--flavour 'mysql' is not"),
        (["--name", ""], "--name '' is empty"),
        (["--user", "a\x07b"], r"--user 'a\x07b' is empty or has a control character"),
    ],
)
def test_init_invalid_option_is_named_and_leaves_nothing(
    tmp_path: Path, capsys: Output, options: list[str], what: str
) -> None:
    assert main(["init", str(tmp_path / "new" / "prod"), *options]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"dagengine: {what}")
    assert "see `dagengine init --help`" in message
    assert "cluster.yaml" not in message
    assert [*tmp_path.iterdir()] == []


def test_init_unwritable_file_leaves_no_directory(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "new"
    assert main(["init", str(directory)]) == 2
    assert f"{directory}/cluster.yaml cannot be written" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


def test_init_too_long_name_is_an_error(tmp_path: Path, capsys: Output) -> None:
    assert main(["init", str(tmp_path / ("d" * 300))]) == 2
    assert "cannot be written: File name too long" in capsys.readouterr().err


def test_config_check_invalid_file_names_file_and_key(tmp_path: Path, capsys: Output) -> None:
    assert main(["init", str(tmp_path)]) == 0
    cluster_file = tmp_path / "cluster.yaml"
    cluster_file.write_text(cluster_file.read_text().replace("sql_port", "sqlport"))
    capsys.readouterr()
    assert main(["config", "check", "-c", str(tmp_path / "engine.yaml")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert str(cluster_file) in err
    assert "sql_port" in err

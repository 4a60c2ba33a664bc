"""The engine file: precedence, invalid values, and remedies in the errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.server.config import EngineConfig, load_config

EXAMPLE = Path(__file__).parents[3] / "configs" / "engine.yaml"


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> EngineConfig:
    path = tmp_path / "engine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {})


def refusal(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    return str(caught.value)


def test_load_config_requires_only_cluster(tmp_path: Path) -> None:
    config = load(tmp_path, "cluster: c.yaml")
    assert (config.api.host, config.api.port) == ("127.0.0.1", 2886)
    assert config.store.path == tmp_path / "var" / "dagengine.sqlite"
    assert "cluster is missing" in refusal(tmp_path, "api: {port: 1}")


def test_load_config_example_file_has_defaults(tmp_path: Path) -> None:
    example_config = load_config(EXAMPLE, {})
    default = load(tmp_path, "cluster: x")
    assert example_config.api == default.api
    assert example_config.store.path == EXAMPLE.parent / "var" / "dagengine.sqlite"
    assert example_config.cluster == EXAMPLE.parent / "clusters" / "example.yaml"
    assert example_config.cluster.is_file()


def test_engine_config_example_file_describes_every_key() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    keys = [*EngineConfig.model_fields, "host", "port", "advertise", "agent_password_file", "path"]
    assert [key for key in keys if f"{key}:" not in text] == []


def test_load_config_resolves_relative_paths_against_file(tmp_path: Path) -> None:
    config = load(tmp_path, "{cluster: a/c.yaml, store: {path: /s}, api: {agent_password_file: p}}")
    assert config.cluster == tmp_path / "a" / "c.yaml"
    assert config.store.path == Path("/s")
    assert config.api.agent_password_file == tmp_path / "p"


def test_load_config_environment_overrides_file(tmp_path: Path) -> None:
    environ = {
        "DAGENGINE_API__PORT": "3000",
        "DAGENGINE_STORE__PATH": "other.sqlite",
        "DAGENGINE_CLUSTER": "d.yaml",
    }
    config = load(tmp_path, "{cluster: c.yaml, api: {host: 127.0.0.9, port: 2000}}", environ)
    assert (config.api.host, config.api.port) == ("127.0.0.9", 3000)
    assert config.store.path == tmp_path / "other.sqlite"
    assert config.cluster == tmp_path / "d.yaml"


def test_load_config_allowed_hosts_are_list_or_variable(tmp_path: Path) -> None:
    text = "{cluster: c.yaml, api: {allowed_hosts: [a.example, B]}}"
    assert load(tmp_path, text).api.allowed_hosts == ("a.example", "B")
    environ = {"DAGENGINE_API__ALLOWED_HOSTS": "c.example, d,"}
    assert load(tmp_path, text, environ).api.allowed_hosts == ("c.example", "d")


def test_load_config_empty_section_means_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "api:\nstore:\ncluster: c").api.port == 2886


def test_load_config_ignores_other_prefixed_variables(tmp_path: Path) -> None:
    load(tmp_path, "cluster: c", {"DAGENGINE_ROOT_PASSWORD": "x", "DAGENGINE_URL": "y"})


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("{cluster: c, api: {prot: 1}}", {}, ["engine.yaml", "api.prot", "did you mean port?"]),
        ("{clustr: c}", {}, ["engine.yaml", "clustr", "did you mean cluster?"]),
        ("{cluster: c, api: {port: 0}}", {}, ["engine.yaml", "api.port", "value 0"]),
        ("{cluster: c, api: {port: many}}", {}, ["api.port", "'many'"]),
        ("{cluster: c, api: {host: db1}}", {}, ["api.host", "'db1'"]),
        ("{cluster: c, api: {allowed_hosts: ['a:1']}}", {}, ["api.allowed_hosts", "'a:1'"]),
        ("{cluster: c, api: {allowed_hosts: [http://a]}}", {}, ["api.allowed_hosts", "http"]),
        ("{cluster: c, api: {allowed_hosts: ['*']}}", {}, ["api.allowed_hosts", "'*'"]),
        ("cluster: c", {"DAGENGINE_API__ALLOWED_HOSTS": "a b"}, ["ALLOWED_HOSTS", "'a b'"]),
        ("{cluster: c, api: 5}", {}, ["engine.yaml", "api", "5", "known keys of api"]),
        ("{cluster: c, api: {advertise: 10.0.0.1}}", {}, ["api.advertise", "10.0.0.1"]),
        ("{cluster: c, api: {advertise: '10.0.0.1:0'}}", {}, ["api.advertise", "port"]),
        ("{cluster: c, api: {advertise: '::2:2886'}}", {}, ["api.advertise", "brackets"]),
        ("{cluster: c, api: {advertise: '[::1]:2886'}}", {}, ["api.advertise", "zero byte"]),
        ("cluster: c", {"DAGENGINE_API__PORT": "x"}, ["variable DAGENGINE_API__PORT", "'x'"]),
        (
            "cluster: c",
            {"DAGENGINE_API__PROT": "1"},
            ["variable DAGENGINE_API__PROT", "did you mean DAGENGINE_API__PORT?"],
        ),
        ("[1, 2]", {}, ["engine.yaml", "mapping"]),
        ("a: b: c", {}, ["engine.yaml", "not YAML"]),
        ("cluster: c\napi: {port: 02886}", {}, ["engine.yaml", "api.port in line 2", "quote it"]),
        ("cluster: no", {}, ["engine.yaml", "cluster in line 1", "the value no,", "quote it"]),
        ("cluster: c\nstore: {keep_days: 1e3}", {}, ["store.keep_days in line 2", "quote it"]),
        ("cluster: c\ncluster: d", {}, ["engine.yaml", "the key 'cluster' occurs twice"]),
    ],
)
def test_load_config_invalid_value_names_place_key_and_value(
    tmp_path: Path, text: str, environ: dict[str, str], named: list[str]
) -> None:
    message = refusal(tmp_path, text, environ)
    assert [part for part in named if part not in message] == []


def test_load_config_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        load_config(tmp_path / "none.yaml", {})


def test_api_config_advertised_defaults_to_listen_address(tmp_path: Path) -> None:
    def api(keys: str) -> tuple[str, int]:
        return load(tmp_path, f"{{cluster: c, api: {{{keys}}}}}").api.advertised

    assert api("port: 7") == ("127.0.0.1", 7)
    assert api("host: localhost") == ("127.0.0.1", 2886)
    assert api("host: 0.0.0.0, advertise: '192.0.2.1:9'") == ("192.0.2.1", 9)
    assert api("advertise: '[2001:db8::1]:9'") == ("2001:db8::1", 9)
    with pytest.raises(ConfigError, match="set advertise"):
        api("host: 0.0.0.0")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("'::1'", True), ("192.0.2.1", False)],
)
def test_api_config_is_loopback_for_loopback_hosts_only(
    tmp_path: Path, host: str, expected: bool
) -> None:
    text = f"{{cluster: c, api: {{host: {host}, advertise: '192.0.2.1:9'}}}}"
    assert load(tmp_path, text).api.is_loopback is expected

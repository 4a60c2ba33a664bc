"""The engine file with several clusters: defaults, variables, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.server.config import EngineConfig, load_config

FLEET = Path(__file__).parents[3] / "configs" / "fleet.yaml"
TWO = "store: {directory: var}\nclusters: {a: {file: a.yaml}, b-c: {file: b.yaml, port: 3000}}\n"


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> EngineConfig:
    path = tmp_path / "engine.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {})


def test_clusters_have_files_stores_and_sockets_by_name(tmp_path: Path) -> None:
    config = load(tmp_path, TWO)
    first, second = config.cluster_configs
    assert (first.name, first.file, first.api.port) == ("a", tmp_path / "a.yaml", 2886)
    assert (second.name, second.section, second.api.port) == ("b-c", "clusters.b-c", 3000)
    assert second.store == tmp_path / "var" / "b-c.sqlite"
    assert second.socket_path == tmp_path / "var" / "b-c.sock"
    assert config.service_store == tmp_path / "var" / "service.sqlite"
    assert config.service_config is not None
    assert config.service_config.socket == tmp_path / "var" / "service.sock"
    assert config.service_config.port is None


def test_clusters_of_shared_store_have_own_sockets(tmp_path: Path) -> None:
    shared = "store: {url: 'mysql://a@h:2881/d', password_file: p}"
    config = load(tmp_path, TWO.replace("store: {directory: var}", shared))
    sockets = [each.socket_path for each in config.cluster_configs]
    assert sockets == [tmp_path / "var" / "a.sock", tmp_path / "var" / "b-c.sock"]


def test_cluster_replaces_defaults_of_api(tmp_path: Path) -> None:
    text = (
        "api: {host: 127.0.0.2, agent_password_file: p, max_connections: 7}\n"
        "store: {directory: var}\n"
        "clusters: {a: {file: a}, b: {file: b, port: 3, host: 127.0.0.3, agent_password_file: q}}\n"
    )
    first, second = (each.api for each in load(tmp_path, text).cluster_configs)
    assert (first.host, first.agent_password_file) == ("127.0.0.2", tmp_path / "p")
    assert (second.host, second.agent_password_file) == ("127.0.0.3", tmp_path / "q")
    assert (first.max_connections, second.max_connections) == (7, 7)


def test_one_cluster_has_no_service_unless_configured(tmp_path: Path) -> None:
    assert load(tmp_path, "cluster: c").service_config is None
    service = load(tmp_path, "{cluster: c, service: {}}").service_config
    assert service is not None
    assert service.socket == tmp_path / "var" / "service.sock"


def test_variables_set_keys_of_clusters_and_service(tmp_path: Path) -> None:
    environ = {
        "DAGENGINE_CLUSTERS__B_C__PORT": "4000",
        "DAGENGINE_CLUSTERS__NEW_ONE__FILE": "new.yaml",
        "DAGENGINE_CLUSTERS__NEW_ONE__PORT": "4001",
        "DAGENGINE_SERVICE__PORT": "4002",
    }
    config = load(tmp_path, TWO, environ)
    assert {each.name: each.api.port for each in config.cluster_configs} == {
        "a": 2886,
        "b-c": 4000,
        "new-one": 4001,
    }
    assert config.clusters["new-one"].file == tmp_path / "new.yaml"
    assert config.service_config is not None
    assert config.service_config.port == 4002


def test_example_of_several_clusters_is_valid() -> None:
    config = load_config(FLEET, {})
    assert [each.name for each in config.cluster_configs] == ["demo", "ocean"]
    assert [each.file.is_file() for each in config.cluster_configs] == [True, True]


def test_find_cluster_needs_the_name_of_one_of_several(tmp_path: Path) -> None:
    config = load(tmp_path, TWO)
    assert config.find_cluster("a").section == "clusters.a"
    for name, part in ((None, "--cluster: a, b-c"), ("x", "cluster 'x'")):
        with pytest.raises(ConfigError, match=part):
            config.find_cluster(name)
    assert load(tmp_path, "cluster: c").find_cluster(None).section == "api"


@pytest.mark.parametrize("name", ["", "A", "a_b", "a.b", "x" * 33, "service"])
def test_cluster_name_is_refused(tmp_path: Path, name: str) -> None:
    text = f"{{store: {{directory: v}}, clusters: {{'{name}': {{file: c}}}}}}"
    with pytest.raises(ConfigError, match="cannot be used"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "environ", "parts"),
    [
        ("{cluster: c, clusters: {a: {file: a}}}", {}, ["cluster and clusters"]),
        ("{clusters: {}}", {}, ["cluster is missing"]),
        ("{clusters: {a: {port: 1}}}", {}, ["clusters.a.file", "missing"]),
        ("{clusters: {a: {flie: x}}}", {}, ["clusters.a.flie", "did you mean file?"]),
        ("{clusters: {a: 5}}", {}, ["clusters.a", "known keys"]),
        ("{clusters: {a: {file: x, port: 0}}}", {}, ["clusters.a.port", "value 0"]),
        ("{clusters: {a: {file: x, tls_cert_file: cert.pem}}}", {}, ["clusters.a", "set together"]),
        ("{cluster: c, service: {hots: x}}", {}, ["service.hots", "did you mean host?"]),
        ("{cluster: c, service: {tls_client_ca_file: x}}", {}, ["service", "needs tls_cert_file"]),
        ("{cluster: c, store: {directory: v}}", {}, ["store.directory", "clusters: {NAME"]),
        ("{clusters: {a: {file: a}, b: {file: b, port: 3}}}", {}, ["store copy", "2"]),
        (
            "{cluster: c, store: {path: p, directory: v}}",
            {},
            ["path and directory are both set"],
        ),
        ("{cluster: c, store: {url: mysql://a@h/d}}", {}, ["url and password_file"]),
        (
            "{cluster: c, store: {url: 'mysql://a:s3cret@h/d', password_file: p}}",
            {},
            ["store.password_file"],
        ),
        ("{cluster: c, store: {url: http://a, password_file: p}}", {}, ["mysql://USER@HOST"]),
        ("{cluster: c, store: {tls_ca_file: ca.pem}}", {}, ["store", "tls_ca_file needs url"]),
        (
            "{store: {directory: v}, clusters: {a: {file: a}, b: {file: b}}}",
            {},
            ["clusters.a.port and clusters.b.port have the same value 2886"],
        ),
        (
            "{store: {directory: v}, clusters: {a: {file: a, host: 0.0.0.0, advertise: '9.9.9.9:1'}"
            ", b: {file: b, host: 127.0.0.5}}}",
            {},
            ["clusters.a.port and clusters.b.port"],
        ),
        (
            "{store: {directory: v}, service: {port: 3}, clusters: {a: {file: a, port: 3}}}",
            {},
            ["clusters.a.port and service.port"],
        ),
        (
            "{store: {directory: v}, service: {socket: v/a.sock}, clusters: {a: {file: a}}}",
            {},
            ["clusters.a.socket and service.socket", "a.sock"],
        ),
        (
            "{store: {directory: v}, api: {advertise: '9.9.9.9:1'}, clusters: {a: {file: a}, "
            "b: {file: b, port: 3}}}",
            {},
            ["clusters.a.advertise and clusters.b.advertise"],
        ),
        (
            TWO,
            {"DAGENGINE_CLUSTERS__A__PROT": "1"},
            ["DAGENGINE_CLUSTERS__A__PROT", "did you mean DAGENGINE_CLUSTERS__A__PORT?"],
        ),
        (
            TWO,
            {"DAGENGINE_CLUSTERS__A__PORT": "x"},
            ["variable DAGENGINE_CLUSTERS__A__PORT", "'x'"],
        ),
    ],
)
def test_clusters_with_a_fault_are_refused(
    tmp_path: Path, text: str, environ: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == []
    assert "s3cret" not in message


@pytest.mark.parametrize("separate", ["host: 127.0.0.2", "port: 3000"])
def test_listeners_on_different_addresses_are_valid(tmp_path: Path, separate: str) -> None:
    text = f"{{store: {{directory: v}}, clusters: {{a: {{file: a}}, b: {{file: b, {separate}}}}}}}"
    assert len(load(tmp_path, text).cluster_configs) == 2


def test_old_store_in_the_directory_is_not_left_out(tmp_path: Path) -> None:
    config = load(tmp_path, TWO)
    config.ensure_store_supported()
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "dagengine.sqlite").touch()
    with pytest.raises(ConfigError, match="dagengine store copy"):
        config.ensure_store_supported()
    (tmp_path / "var" / "a.sqlite").touch()
    config.ensure_store_supported()


def test_cluster_file_with_another_name_is_refused(tmp_path: Path) -> None:
    config = load(tmp_path, TWO).find_cluster("a")
    config.check_name("a")
    with pytest.raises(ConfigError, match=r"clusters\.a: the cluster file .* has the name b"):
        config.check_name("b")

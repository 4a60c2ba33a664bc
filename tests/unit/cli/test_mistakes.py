"""Typical mistakes: each message says what is wrong, where, and what to do next."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from dagengine.cli import main
from dagengine.cli.dispatch import run_command
from dagengine.error_codes import Code
from dagengine.errors import ApiRefused, ConfigError
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.connector import explain_failure
from dagengine.server.config import find_engine_file, load_config
from tasks.cluster.cluster_file import load_cluster
from tasks.flavours.select import FLAVOURS
from tasks.operations import messages as operations

CLUSTER = """\
name: demo
id: 1
flavour: seekdb
root_password: none
defaults: {home: /h}
zones:
  zone1:
    - {ip: 10.0.0.1}
"""
LIBRARY_TEXTS = ("Input should", "Field required", "Value error", "Errno", "<unicode", "pydantic")

ENGINE_FILES = "dagengine.server.config.engine_file.ENGINE_FILES"


def engine(tmp_path: Path, text: str) -> str:
    path = tmp_path / "engine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    return str(caught.value)


def cluster(tmp_path: Path, text: str) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_cluster(path, FLAVOURS)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert old in CLUSTER
    return CLUSTER.replace(old, new)


# The kind of file, its text; what is wrong, where, and what to do next.
Files = dict[str, tuple[Callable[[Path, str], str], str, str, str, str]]
FILES: Files = {
    "misspelt key": (
        *(engine, "cluster: c\napi:\n  prot: 1\n"),
        *("api.prot is not known", "engine.yaml, line 3", "did you mean port?"),
    ),
    "misspelt section": (
        *(engine, "# x\nclutser: c\n"),
        *("clutser is not known", "engine.yaml, line 2", "did you mean cluster?"),
    ),
    "misspelt default": (
        *(cluster, changed("home: /h", "home: /h, sqlport: 1")),
        *("unknown key defaults.sqlport", "cluster.yaml, line 5", "did you mean sql_port?"),
    ),
    "port is text": (
        *(engine, "cluster: c\napi:\n  port: abc\n"),
        *("api.port has the value 'abc': it is not a whole", "yaml, line 3", "write digits only"),
    ),
    "port too high": (
        *(engine, "cluster: c\napi: {port: 99999}\n"),
        *("the value 99999: it must be at most 65535", "yaml, line 2", "write a value of at most"),
    ),
    "SQL port with a letter": (
        *(cluster, changed("home: /h", 'home: /h, sql_port: "2881x"')),
        *("defaults.sql_port has the value '2881x'", "yaml, line 5", "write digits only"),
    ),
    "zones as list": (
        *(cluster, CLUSTER.partition("zones:")[0] + "zones:\n  - zone1\n"),
        *("zones has the value (a list)", "cluster.yaml, line 6", "write `ZONE:` below zones"),
    ),
    "id missing": (
        *(cluster, changed("id: 1\n", "")),
        *("key id is missing", "cluster.yaml", "add it: `id: …`"),
    ),
    "ip missing": (
        *(cluster, changed("ip: 10.0.0.1", "sql_port: 1")),
        *("zones.zone1.0.ip is missing", "cluster.yaml, line 8", "add it: `ip: …`"),
    ),
    "tab": (
        *(engine, "cluster: c\nstore:\n\tpath: x\n"),
        *("it is not YAML", "engine.yaml: it is not YAML in line 3", "replace the tabs by spaces"),
    ),
    "misspelt flavour": (
        *(cluster, changed("seekdb", "seekbd")),
        *("flavour has the value 'seekbd'", "yaml, line 3", "write 'seekdb' or 'oceanbase'"),
    ),
    "host name as ip": (
        *(cluster, changed("10.0.0.1", "host2.example.org")),
        *("'host2.example.org': it is not an IP address", "yaml, line 8", "ssh: {host: NAME}"),
    ),
    "ip twice": (
        *(cluster, CLUSTER + "    - {ip: 10.0.0.1}\n"),
        *("10.0.0.1:2886 occurs twice", "cluster.yaml, line 9", "set a different agent_port"),
    ),
    "SQL port twice": (
        *(cluster, CLUSTER + "    - {ip: 10.0.0.1, agent_port: 2887, home: /i}\n"),
        *("the same sql_port 2881", "cluster.yaml, line 9", "set a different sql_port"),
    ),
    "home twice": (
        *(cluster, CLUSTER + "    - {ip: 10.0.0.1, agent_port: 2887, sql_port: 1}\n"),
        *("the same home /h", "cluster.yaml, line 9", "set a different home"),
    ),
    "odd zone name": (
        *(cluster, changed("zone1", '"zone 2; DROP"')),
        *("the zone name 'zone 2; DROP' has a comma, a semi", "yaml, line 7", "write a name such"),
    ),
    "password in the file": (
        *(cluster, changed("root_password: none", "root_password: secret")),
        *("root_password must not be in this file", "cluster.yaml, line 4", "name a variable"),
    ),
    "relative home": (
        *(cluster, changed("/h", "h2/seekdb")),
        *("needs an absolute `home`, not 'h2/seekdb'", "yaml, line 5", "write the path from /"),
    ),
    "empty engine file": (
        *(engine, ""),
        *("key cluster is missing", "engine.yaml", "set it there or as DAGENGINE_CLUSTER"),
    ),
    "engine file is a list": (
        *(engine, "- a\n"),
        *("not a mapping of keys", "engine.yaml", "write lines `key: value`"),
    ),
    "empty cluster file": (
        *(cluster, ""),
        *("not a mapping of keys", "cluster.yaml", "write lines `key: value`"),
    ),
    "home of one server": (
        *(cluster, CLUSTER + "    - {ip: 10.0.0.2,\n       home: h}\n"),
        *("10.0.0.2 needs an absolute `home`, not 'h'", "yaml, line 10", "write the path from /"),
    ),
    "home missing": (
        *(cluster, changed("defaults: {home: /h}\n", "")),
        *("server 10.0.0.1 has no `home`", "cluster.yaml, line 7", "write `home: /…` below"),
    ),
    "relative data directory": (
        *(cluster, changed("home: /h", "home: /h,\n  data_dir: d")),
        *("an absolute `data_dir`, not 'd'", "cluster.yaml, line 6", "write the path from /"),
    ),
    "zone name is a number": (
        *(cluster, changed("zone1", "1")),
        *("the zone name 1 is not text", "cluster.yaml, line 7", "quote it"),
    ),
    "value is null": (
        *(cluster, changed("name: demo", "name:")),
        *("key name has the value null: it is not text", "yaml, line 1", "write text"),
    ),
    "value is a boolean": (
        *(cluster, changed("name: demo", "name: true")),
        *("key name has the value true: it is not text", "yaml, line 1", "quote it if it"),
    ),
    "section is a boolean": (
        *(engine, "cluster: c\napi: true\n"),
        *("key api has the value true", "engine.yaml, line 2", "use the known keys of api"),
    ),
    "ports of a server are equal": (
        *(cluster, changed("ip: 10.0.0.1", "ip: 10.0.0.1, rpc_port: 2881")),
        *(
            "sql_port and rpc_port of 10.0.0.1:2886 are both 2881",
            "yaml, line 8",
            "a different rpc",
        ),
    ),
    "ports of the defaults are equal": (
        *(cluster, changed("home: /h", "home: /h, sql_port: 2882").replace("seekdb", "oceanbase")),
        *(
            "sql_port and rpc_port of 10.0.0.1:2886 are both 2882",
            "yaml, line 5",
            "a different rpc",
        ),
    ),
    "id too large": (
        *(cluster, changed("id: 1", "id: 99999999999999999999999")),
        *(
            "id has the value 99999999999999999999999: it must be at most",
            "yaml, line 2",
            "write a",
        ),
    ),
    "URL with a password in place of a section": (
        *(engine, "cluster: c\nstore: mysql://root:secret@h:1/db\n"),
        *("key store has the value (not shown)", "engine.yaml, line 2", "use the known keys"),
    ),
    "zone name empty": (
        *(cluster, changed("  zone1:", "  '':")),
        *("the name of a zone is empty", "yaml, line 7", "write a name, such as zone1"),
    ),
    "cluster name with a dot": (
        *(engine, "store: {directory: v}\nclusters:\n  b: {file: b}\n  a.b: {file: a}\n"),
        *("a.b", "engine.yaml, line 4", ""),
    ),
    "name empty": (
        *(cluster, changed("name: demo", 'name: ""')),
        *("key name has the value '': it is empty", "yaml, line 1", "write at least one char"),
    ),
    "SSH user empty": (
        *(cluster, CLUSTER + "ssh:\n  user: ''\n"),
        *(
            "key ssh.user has the value '': it is empty",
            "yaml, line 10",
            "write at least one character",
        ),
    ),
    "store path empty": (
        *(engine, 'cluster: c\nstore:\n  path: ""\n'),
        *(
            "key store.path has the value '': it is empty",
            "yaml, line 3",
            "write at least one character",
        ),
    ),
    "cluster path empty": (
        *(engine, 'cluster: ""\n'),
        *("key cluster has the value '': it is empty", "yaml, line 1", "write at least one char"),
    ),
    "API host is any address": (
        *(engine, "cluster: c\napi:\n  host: 0.0.0.0\n"),
        *("the host '0.0.0.0' cannot be part", "engine.yaml, line 3", "set advertise, beside it"),
    ),
    "API port twice": (
        *(engine, "store: {directory: d}\nclusters:\n  a: {file: a}\n  b: {file: b}\n"),
        *("clusters.a.port and clusters.b.port have the same", "yaml, line 4", "set another value"),
    ),
    "API host is a name": (
        *(engine, "cluster: c\napi: {host: db1}\n"),
        *("api.host has the value 'db1'", "engine.yaml, line 2", "write an IP address"),
    ),
}


@pytest.mark.parametrize("mistake", FILES)
def test_mistake_in_file_says_what_where_and_next(tmp_path: Path, mistake: str) -> None:
    read, text, what, where, remedy = FILES[mistake]
    message = read(tmp_path, text)
    assert [part for part in (what, where, remedy) if part not in message] == []
    assert not any(library in message for library in LIBRARY_TEXTS)


@pytest.mark.parametrize("name", ["engine.yaml", "cluster.yaml"])
def test_mistake_missing_file_says_what_where_and_next(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}) if name == "engine.yaml" else load_cluster(path, FLAVOURS)
    assert f"{path}: No such file" in caught.value.message
    assert caught.value.remedy != ""


def test_mistake_in_variable_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text("cluster: c.yaml\n")
    with pytest.raises(
        ConfigError, match=r"DAGENGINE_API__HOST: the host .0\.0\.0\.0. cannot be part"
    ):
        load_config(path, {"DAGENGINE_API__HOST": "0.0.0.0"})
    monkeypatch.setenv("DAGENGINE_CLUSTER", "/nope/c.yaml")
    with pytest.raises(ConfigError) as caught:
        load_cluster(Path("/nope/c.yaml"), FLAVOURS)
    assert caught.value.remedy == "correct DAGENGINE_CLUSTER, or create the file"
    with pytest.raises(ConfigError) as caught:
        load_cluster(Path("/nope/other.yaml"), FLAVOURS)
    assert "`cluster` in the engine file" in caught.value.remedy


HOST = HostAddress("192.0.2.1", user="nosuch")
TRUSTED = asyncssh.import_known_hosts("")
LOGINS: dict[str, tuple[Exception, str, str]] = {
    "wrong SSH port": (
        OSError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 22)"),
        *("Connection refused", "sshd listens on this address and port"),
    ),
    "host down": (
        OSError(errno.EHOSTUNREACH, "Connect call failed"),
        *("No route to host", "check that the host is up"),
    ),
    "unknown host name": (
        socket.gaierror(-2, "Name or service not known"),
        *("the host name 192.0.2.1 is not known", "check that the host is up"),
    ),
    "wrong user": (
        asyncssh.PermissionDenied("Permission denied"),
        *("nosuch@192.0.2.1:22 was rejected", "or correct ssh.user"),
    ),
}


@pytest.mark.parametrize("mistake", LOGINS)
def test_mistake_in_login_says_what_where_and_next(mistake: str) -> None:
    exc, what, remedy = LOGINS[mistake]
    explained = explain_failure(exc, HOST, TRUSTED)
    assert what in explained.message
    assert "192.0.2.1:22" in explained.message
    assert remedy in explained.remedy
    assert "Errno" not in str(explained)


@pytest.mark.parametrize(
    ("argv", "what", "remedy"),
    [
        ("list --url ftp://x", "'ftp://x' is not one of http://HOST:PORT", "dagengine list --help"),
        ("start zone1", "zone1", "`dagengine start --zone ZONE` or `--server IP:PORT`"),
        ("stop 10.0.0.1:2886", "10.0.0.1:2886", "`--server IP:PORT`"),
        ("start --zoen z1", "--zoen", "see `dagengine start --help`"),
        ("strat", "strat", "see `dagengine --help`"),
        ("retry", "ID", "see `dagengine retry --help`"),
        ("list --url http://127.0.0.1:1", "http://127.0.0.1:1", "`dagengine serve` runs there"),
        ("show foo --url unix:/none", "the socket does not exist", "--url is right"),
    ],
)
def test_mistake_in_command_says_what_and_next(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: str,
    what: str,
    remedy: str,
) -> None:
    monkeypatch.setenv("DAGENGINE_PASSWORD", "x")
    assert run_command(argv.split()) != 0
    message = capsys.readouterr().err
    assert message.startswith("dagengine: ")
    assert [part for part in (what, remedy) if part not in message] == []
    assert not any(text in message for text in ("ssl:", "Errno", "Connect call"))


def test_mistake_start_twice_names_option_and_no_http() -> None:
    remedy = operations.WAIT_OR_FORCE_PASS()
    assert "--force-pass" in remedy
    assert not any(word in remedy for word in ("request", "forcePassDag", "POST"))


@pytest.mark.parametrize("command", ["serve", "doctor", "config check", "hosts trust"])
def test_mistake_no_engine_file_names_places_and_option(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "etc" / "engine.yaml"
    monkeypatch.setattr(
        "dagengine.server.config.engine_file.ENGINE_FILES", (Path("engine.yaml"), other)
    )
    # The logs of the whole process would go to the stream of this test.
    monkeypatch.setattr("dagengine.cli.serve.configure_logs", lambda **_: None)
    assert main(command.split()) == 2
    message = capsys.readouterr().err
    assert f"no engine file was named, and there is none at {tmp_path}/engine.yaml" in message
    assert str(other) in message
    assert "name it with -c FILE, or write one with `dagengine init`" in message


def test_engine_file_here_precedes_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "machine.yaml"
    other.touch()
    monkeypatch.setattr(
        "dagengine.server.config.engine_file.ENGINE_FILES", (Path("engine.yaml"), other)
    )
    assert find_engine_file() == other
    Path("engine.yaml").touch()
    assert find_engine_file() == Path("engine.yaml")


def test_missing_cluster_file_names_only_its_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGENGINE_CLUSTERS__A__FILE", str(tmp_path / "a" / "cluster.yaml"))
    for name, is_named in (("a", True), ("b", False)):
        with pytest.raises(ConfigError) as caught:
            load_cluster(tmp_path / name / "cluster.yaml", FLAVOURS)
        assert ("DAGENGINE_CLUSTERS__A__FILE" in caught.value.remedy) is is_named


@pytest.mark.parametrize(
    ("code", "token", "remedy"),
    [
        (Code.INCORRECT_OCEANBASE_PASSWORD, "t", "set DAGENGINE_PASSWORD"),
        (Code.UNAUTHORIZED, "", "set DAGENGINE_PASSWORD"),
        (Code.UNAUTHORIZED, "t", "set DAGENGINE_TOKEN"),
        (Code.LOGIN_EXPIRED, "", ""),  # the clocks differ; the message says so
        (Code.PERMISSION_DENIED, "", ""),
    ],
)
def test_refused_login_names_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: Code,
    token: str,
    remedy: str,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ApiRefused("refused", status=401, code=code, legacy=0)

    monkeypatch.setattr("dagengine.cli.commands.run", refuse)
    monkeypatch.setenv("DAGENGINE_TOKEN", token)
    assert main(["list"]) == 4
    message = capsys.readouterr().err
    assert remedy in message
    assert ("set DAGENGINE" in message) is bool(remedy)

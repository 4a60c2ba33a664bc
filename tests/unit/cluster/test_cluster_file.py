"""The cluster file: valid content, errors, and reloading after a change."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from yaml.reader import Reader

from dagengine.errors import ConfigError
from dagengine.remote import HostAddress
from tasks.cluster import cluster_file
from tasks.cluster.cluster_file import ClusterFile, load_cluster
from tasks.cluster.observation import AVAILABLE, NOT_RUNNING, Observation
from tasks.cluster.ssh_section import SshSection
from tasks.flavours.select import FLAVOURS

EXAMPLE = Path(__file__).parents[3] / "configs" / "clusters" / "example.yaml"

HEAD = "name: demo\nid: 1\nflavour: seekdb\n"
ONE = HEAD + "zones: {z1: [{ip: 10.0.0.1, home: /h}]}\n"
OPEN = "root_password: none\n"
TWO = HEAD + "defaults: {home: /h}\nzones: {z1: [{ip: 10.0.0.1}], z2: [{ip: 10.0.0.2}]}\n"


def write(path: Path, text: str) -> Path:
    """Write a file as an editor does: a new file replaces the old one."""
    draft = path.with_name("draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_cluster(write(tmp_path / "cluster.yaml", text), FLAVOURS)
    return str(caught.value)


def cluster_of(tmp_path: Path, text: str) -> ClusterFile:
    return ClusterFile(write(tmp_path / "cluster.yaml", text), FLAVOURS)


# --- valid content ---------------------------------------------------------------------------


def test_load_cluster_parses_large_file_as_often_as_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    read = Reader.__init__

    def count(reader: Reader, stream: str) -> None:
        parsed.append(stream)
        read(reader, stream)

    monkeypatch.setattr(Reader, "__init__", count)
    for servers in (1, 99):
        entries = ", ".join(f"{{ip: 10.0.0.{n}, data_dir: /d}}" for n in range(1, 1 + servers))
        text = f"{HEAD}defaults: {{home: /h}}\nzones: {{z1: [{entries}]}}\n"
        assert len(cluster_of(tmp_path, text).servers) == servers
    assert Counter(Counter(parsed).values()) == {2: 2}


def test_cluster_file_sums_up_observations_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summarize = Mock(wraps=cluster_file.summarize)
    monkeypatch.setattr(cluster_file, "summarize", summarize)
    cluster = cluster_of(tmp_path, TWO)
    for server in cluster.servers:
        cluster.record_observation(server.name, Observation(datetime.now(UTC), AVAILABLE))
    assert not summarize.called
    assert (cluster.ob_state, cluster.ob_state) == (AVAILABLE, AVAILABLE)
    assert summarize.call_count == 1


def test_cluster_file_server_needs_only_ip_and_home(tmp_path: Path) -> None:
    (server,) = cluster_of(tmp_path, ONE).servers
    assert (server.name, server.zone, server.home) == ("10.0.0.1:2886", "z1", "/h")
    assert (server.agent_port, server.sql_port, server.rpc_port) == (2886, 2881, 2882)
    assert (server.address.host, server.address.port) == ("10.0.0.1", 22)
    assert (server.start_options, server.sql_via) == ({}, "ssh")
    assert server.binary == "/h/bin/seekdb"


def test_cluster_file_unused_rpc_port_may_equal_sql_port(tmp_path: Path) -> None:
    text = HEAD + "zones: {z1: [{ip: 10.0.0.1, home: /h, sql_port: 2882}]}"
    (server,) = cluster_of(tmp_path, text).servers
    assert server.sql_port == server.rpc_port
    enabled = text + "\ndefaults: {start_options: {enable_rpc_service: 'true'}}"
    assert "are both 2882" in refusal(tmp_path, enabled)


def test_cluster_file_server_overrides_defaults(tmp_path: Path) -> None:
    first, second = cluster_of(
        tmp_path,
        HEAD
        + """
ssh: {user: admin, port: 2200, key_file: keys/id, connect_timeout_s: 3}
defaults:
  agent_port: 3000
  sql_port: 3001
  rpc_port: 3002
  home: /data/seekdb/
  sql: {via: direct}
  ssh: {known_hosts: known}
  start_options: {memory_limit: 2G, cpu_count: 2}
zones:
  z1:
    - {ip: 10.0.0.1}
  z2:
    - ip: 10.0.0.2
      agent_port: 4000
      sql_port: 4001
      rpc_port: 4002
      home: /other
      sql: {via: ssh}
      ssh: {host: bastion.example, port: 2201, user: root}
      start_options: {memory_limit: 4G}
""",
    ).servers
    assert (first.name, first.sql_port, first.rpc_port) == ("10.0.0.1:3000", 3001, 3002)
    assert (first.home, first.sql_via) == ("/data/seekdb", "direct")
    assert first.start_options == {"memory_limit": "2G", "cpu_count": "2"}
    address = first.address
    assert (address.host, address.port, address.user) == ("10.0.0.1", 2200, "admin")
    assert (address.key_file, address.known_hosts) == (tmp_path / "keys/id", tmp_path / "known")
    assert address.connect_timeout_s == 3
    assert (second.name, second.sql_port, second.rpc_port) == ("10.0.0.2:4000", 4001, 4002)
    assert (second.home, second.sql_via) == ("/other", "ssh")
    assert second.start_options == {"memory_limit": "4G", "cpu_count": "2"}
    address = second.address
    assert (address.host, address.port, address.user) == ("bastion.example", 2201, "root")
    assert address.key_file == tmp_path / "keys/id"


def test_cluster_file_keeps_order_of_servers(tmp_path: Path) -> None:
    text = HEAD + "defaults: {home: /h}\nzones: {z9: [{ip: 10.0.0.9}], z1: [{ip: 10.0.0.1}]}\n"
    assert [server.zone for server in cluster_of(tmp_path, text).servers] == ["z9", "z1"]


def test_cluster_file_ipv6_server_name_has_brackets(tmp_path: Path) -> None:
    text = HEAD + 'zones: {z1: [{ip: "FE80:0::1", home: /h}]}\n'
    (server,) = cluster_of(tmp_path, text).servers
    assert (server.name, server.ip) == ("[FE80:0::1]:2886", "FE80:0::1")


def test_cluster_file_servers_may_share_ip(tmp_path: Path) -> None:
    text = (
        HEAD
        + "zones: {z1: [{ip: 10.0.0.1, home: /a},"
        + " {ip: 10.0.0.1, home: /b, agent_port: 2887, sql_port: 2888}]}\n"
    )
    names = [server.name for server in cluster_of(tmp_path, text).servers]
    assert names == ["10.0.0.1:2886", "10.0.0.1:2887"]


def test_cluster_file_servers_of_two_ssh_hosts_may_share_home(
    tmp_path: Path,
) -> None:
    text = (
        HEAD
        + "defaults: {home: /h}\nzones: {z1: [{ip: 10.0.0.1, ssh: {port: 1}},"
        + " {ip: 10.0.0.1, agent_port: 2887, ssh: {port: 2}}]}\n"
    )
    assert len(cluster_of(tmp_path, text).servers) == 2


def test_load_cluster_example_file_is_valid() -> None:
    cluster = load_cluster(EXAMPLE, FLAVOURS)
    assert [server.name for server in cluster.servers] == ["10.0.0.1:2886", "10.0.0.2:2886"]
    assert cluster.root_password.env == "DAGENGINE_ROOT_PASSWORD"
    assert cluster.servers[0].start_options == {"memory_limit": "2G", "log_disk_size": "2G"}
    assert str(cluster.servers[1].address) == "192.0.2.7:2222"


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # unknown keys: the error has the path and the nearest known key at that path
        (ONE + "nam: x\n", ["unknown key nam", "did you mean name?"]),
        (ONE + "root_password_evn: X\n", ["root_password_evn", "root_password_env?"]),
        (ONE + "home: /h\n", ["unknown key home", "known here:", "defaults"]),
        (ONE + "ssh: {usr: x}\n", ["unknown key ssh.usr", "did you mean user?"]),
        (ONE + "defaults: {hoem: x}\n", ["unknown key defaults.hoem", "did you mean home?"]),
        (ONE + "defaults: {ip: 10.0.0.1}\n", ["unknown key defaults.ip", "known here:"]),
        (ONE + "defaults: {ssh: {prt: 1}}\n", ["defaults.ssh.prt", "did you mean port?"]),
        (
            HEAD + "zones: {z1: [{ip: 10.0.0.1, home: /h}, {ip: 10.0.0.2, agent_prt: 1}]}",
            ["unknown key zones.z1.1.agent_prt", "did you mean agent_port?"],
        ),
        (
            HEAD + "zones: {z1: [{ip: 10.0.0.1, home: /h, ssh: {keyfile: x}}]}",
            ["zones.z1.0.ssh.keyfile", "did you mean key_file?"],
        ),
        (
            HEAD + "zones: {z1: [{ip: 10.0.0.1, home: /h, sql: {vai: ssh}}]}",
            ["zones.z1.0.sql.vai", "did you mean via?"],
        ),
        (ONE + "xyzzy: 1\n", ["unknown key xyzzy", "known here:", "zones"]),
        (ONE + "5: 1\n", ["5"]),
        # missing keys
        (
            "id: 1\nflavour: seekdb\nzones: {z: [{ip: 10.0.0.1, home: /h}]}",
            ["name is missing", "add"],
        ),
        (
            "name: x\nflavour: seekdb\nzones: {z: [{ip: 10.0.0.1, home: /h}]}",
            ["id is missing", "add"],
        ),
        (HEAD, ["key zones is missing"]),
        (HEAD + "zones: {z1: [{home: /h}]}", ["zones.z1.0.ip is missing", "line 4", "`ip: …`"]),
        (HEAD + "zones: {z1: [{ip: 10.0.0.1}]}", ["10.0.0.1", "has no `home`"]),
        # wrong values
        (ONE.replace("id: 1", "id: 0"), ["key id has the value 0", "at least 1"]),
        (ONE.replace("id: 1", "id: one"), ["key id has the value 'one'", "whole number"]),
        (ONE.replace("seekdb", "mysql"), ["flavour", "'seekdb' or 'oceanbase'"]),
        (ONE + "cluster_sql_timeout_s: 0\n", ["cluster_sql_timeout_s", "more than 0"]),
        (ONE.replace("/h", "h"), ["10.0.0.1", "absolute `home`", "'h'"]),
        (ONE.replace("/h", "/"), ["10.0.0.1", "absolute `home`", "'/'"]),
        (ONE.replace("10.0.0.1", "db1"), ["zones.z1.0.ip", "'db1'"]),
        (ONE.replace("10.0.0.1", "10.0.0.256"), ["zones.z1.0.ip", "10.0.0.256"]),
        (ONE.replace("10.0.0.1", "'[::1]'"), ["zones.z1.0.ip", "[::1]"]),
        (ONE.replace("10.0.0.1", "10"), ["zones.z1.0.ip", "not text"]),
        (ONE + "defaults: {sql_port: 0}\n", ["defaults.sql_port", "1"]),
        (ONE + "defaults: {sql_port: 65536}\n", ["defaults.sql_port", "65535"]),
        (ONE + "defaults: {agent_port: many}\n", ["defaults.agent_port", "'many'", "whole number"]),
        (ONE + "ssh: {port: 65536}\n", ["ssh.port", "65535"]),
        (ONE + "ssh: {connect_timeout_s: 0}\n", ["ssh.connect_timeout_s", "more than 0"]),
        (ONE + "defaults: {sql: {via: http}}\n", ["defaults.sql.via", "'ssh' or 'direct'"]),
        (ONE + "defaults: {start_options: [a]}\n", ["defaults.start_options", "mapping of keys"]),
        (ONE + "ssh: 5\n", ["ssh", "mapping of keys"]),
        (ONE + "defaults: {start_options: {5: 2G}}\n", ["key defaults.start_options.5 has the"]),
        (ONE.replace("/h", "/h, start_options: {5: a}"), ["key zones.z1.0.start_options.5 has"]),
        (HEAD + "zones: {}\n", ["zones", "it is empty"]),
        (HEAD + "zones: []\n", ["zones", "write `ZONE:` below zones"]),
        (HEAD + "zones: {z1: []}\n", ["zones.z1", "it is empty"]),
        (HEAD + "zones: {z1: [10.0.0.1]}\n", ["zones.z1.0", "mapping of keys"]),
        # not a mapping, or not YAML
        ("", ["not a mapping of keys"]),
        ("- 1", ["not a mapping of keys"]),
        ("name: 0123\n" + ONE[11:], ["name in line 1 has the value 0123", "quote it"]),
        (ONE.replace("10.0.0.1", "12:30"), ["zones.z1.0.ip in line 4", "12:30", "quote it"]),
        (ONE.replace("z1", "no"), ["zones.no in line 4", "quote it"]),
        (ONE + "defaults: {sql_port: 2_881}\n", ["defaults.sql_port in line 5", "2_881"]),
        ("a: [", ["not YAML", "line 1, column 5"]),
        ("name: x\nb: c: d", ["not YAML", "line 2"]),
        ("name: \0", [r"the character \x00 in line 1", "remove it"]),
    ],
)
def test_load_cluster_invalid_file_names_file_and_place(
    tmp_path: Path, text: str, named: list[str]
) -> None:
    message = refusal(tmp_path, text)
    assert [part for part in ["cluster.yaml", *named] if part not in message] == []


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ("{ip: 10.0.0.1, home: /b, sql_port: 1}", "10.0.0.1:2886 occurs twice"),
        ("{ip: 10.0.0.1, home: /a, agent_port: 2887, sql_port: 1}", "the same home /a"),
        ("{ip: 10.0.0.1, home: /a/, agent_port: 2887, sql_port: 1}", "the same home /a"),
        ("{ip: 10.0.0.1, home: /b, agent_port: 2887}", "the same sql_port 2881"),
        ("{ip: 10.0.0.2, home: /a, sql_port: 1, ssh: {host: 10.0.0.1}}", "the same home /a"),
    ],
)
def test_load_cluster_conflicting_servers_are_both_named(
    tmp_path: Path, second: str, named: str
) -> None:
    text = HEAD + f"zones: {{z1: [{{ip: 10.0.0.1, home: /a}}], z2: [{second}]}}\n"
    message = refusal(tmp_path, text)
    assert named in message
    assert "10.0.0.1:2886" in message
    assert "; set a different " in message


@pytest.mark.parametrize("key", ["home", "data_dir", "redo_dir"])
@pytest.mark.parametrize("character", ["\\\\", "\\n", "\\t"])
@pytest.mark.parametrize("is_default", [True, False], ids=["default", "server"])
def test_load_cluster_directory_with_odd_characters_is_refused(
    tmp_path: Path, key: str, character: str, is_default: bool
) -> None:
    odd, plain = f'{key}: "/srv/a{character}b"', "" if key == "home" else "home: /srv/x"
    entry = ", ".join(filter(None, ["ip: 10.0.0.1", plain, "" if is_default else odd]))
    default = f"defaults: {{{odd}}}\n" if is_default else ""
    text = f"{HEAD}{OPEN}{default}zones: {{z: [{{{entry}}}]}}\n"
    with pytest.raises(ConfigError) as caught:
        load_cluster(write(tmp_path / "cluster.yaml", text), FLAVOURS)
    assert f"`{key}` of server 10.0.0.1 has a backslash or a control character" in str(caught.value)
    assert caught.value.remedy == "rename the directory on the host"


def test_load_cluster_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        ClusterFile(tmp_path / "none.yaml", FLAVOURS)
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_cluster(tmp_path / "none.yaml", FLAVOURS)
    (tmp_path / "odd.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match=r"odd\.yaml"):
        load_cluster(tmp_path / "odd.yaml", FLAVOURS)


# --- the password ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ONE + "root_password: s3cret\n",
        ONE + "root_password: [s3cret]\n",
        ONE + "defaults: {root_password: s3cret}\n",
        ONE + "ssh: {password: s3cret}\n",
        ONE + "root_password_evn: s3cret\n",
        ONE + "root_password_env: [s3cret]\n",
        ONE + "root_password: s3cret: x\n",
        ONE + 'root_password: "s3cret\n',
        ONE + "root_password: s3cret\n  - x",
    ],
)
def test_load_cluster_password_in_file_is_not_shown(tmp_path: Path, text: str) -> None:
    assert "s3cret" not in refusal(tmp_path, text)


# --- reloading -------------------------------------------------------------------------------


def test_cluster_file_change_takes_effect_at_reload(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    write(cluster.path, OPEN + TWO)
    assert len(cluster.servers) == 1
    cluster.reload()
    assert [server.name for server in cluster.servers] == ["10.0.0.1:2886", "10.0.0.2:2886"]


def test_cluster_file_reload_notices_same_size_and_mtime(
    tmp_path: Path,
) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    old = cluster.path.stat()
    write(cluster.path, OPEN + ONE.replace("10.0.0.1", "10.0.0.9"))
    os.utime(cluster.path, ns=(old.st_atime_ns, old.st_mtime_ns))
    cluster.reload()
    assert cluster.servers[0].ip == "10.0.0.9"


@pytest.mark.parametrize("broken", ["", "a: [", ONE + "nam: x\n", HEAD + "zones: {}\n"])
def test_cluster_file_reload_of_invalid_file_keeps_old(tmp_path: Path, broken: str) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    before = cluster.current
    write(cluster.path, broken)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"cluster\.yaml"):
            cluster.reload()
        assert cluster.current is before
    write(cluster.path, OPEN + TWO)
    cluster.reload()
    assert len(cluster.servers) == 2


def test_cluster_file_reload_of_missing_file_keeps_old(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    cluster.path.unlink()
    with pytest.raises(ConfigError, match=r"cluster\.yaml"):
        cluster.reload()
    assert len(cluster.servers) == 1


def test_state_at_server_is_its_own_or_that_of_cluster(tmp_path: Path) -> None:
    cluster, at = cluster_of(tmp_path, OPEN + TWO), datetime(2026, 1, 1, tzinfo=UTC)
    first, second = (server.name for server in cluster.servers)
    assert cluster.state_at(second) == (0, None, False)
    cluster.record_observation(first, Observation(at, AVAILABLE))
    cluster.record_observation(second, Observation(at, NOT_RUNNING))
    assert cluster.state_at(first) == (AVAILABLE, at, True)
    assert cluster.state_at(second) == (NOT_RUNNING, at, True)
    assert cluster.state_at("192.0.2.1:2886") == (AVAILABLE, at, True)


def test_cluster_file_refused_file_is_a_notice_until_corrected(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    modified_at = datetime.fromtimestamp(cluster.path.stat().st_mtime, UTC).astimezone()
    assert cluster.find_notices() == ()
    write(cluster.path, OPEN + ONE + "\tx: 1\n")
    (notice,) = cluster.find_notices()
    assert notice.startswith("cluster.yaml is refused (")
    assert "in line 6, column 1; replace the tabs by spaces)" in notice
    assert notice.endswith(f"; the version of {modified_at:%Y-%m-%d %H:%M:%S %z} is used")
    with pytest.raises(ConfigError):
        cluster.reload()
    assert cluster.find_notices() == (notice,)
    write(cluster.path, OPEN + TWO)
    assert cluster.find_notices() == ()
    assert len(cluster.servers) == 1  # it takes effect at the next reload
    cluster.reload()
    assert (cluster.find_notices(), len(cluster.servers)) == ((), 2)


def test_cluster_file_missing_file_is_a_notice(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    cluster.path.unlink()
    (notice,) = cluster.find_notices()
    assert "No such file or directory" in notice
    write(cluster.path, OPEN + ONE)
    assert cluster.find_notices() == ()


def test_cluster_file_replaced_by_pipe_is_a_notice(tmp_path: Path) -> None:
    """A reader of the pipe would wait for ever, and every request with it."""
    cluster = cluster_of(tmp_path, OPEN + ONE)
    cluster.path.unlink()
    os.mkfifo(cluster.path)
    (notice,) = cluster.find_notices()
    assert "not a regular file" in notice
    with pytest.raises(ConfigError, match="not a regular file"):
        cluster.reload()


def test_cluster_file_refused_login_is_a_notice(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    (server,) = cluster.servers
    cluster.logins.record_refusal(server.name, "")
    (notice,) = cluster.find_notices()
    assert notice.startswith(f"{server.name}: the last SQL login")
    cluster.forget_observations()
    assert cluster.find_notices() == ()


def test_cluster_file_unusable_password_is_a_notice(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + ONE)
    write(cluster.path, "root_password_file: none.txt\n" + TWO)
    with pytest.raises(ConfigError):
        cluster.reload()
    for _ in range(2):
        (notice,) = cluster.find_notices()
        assert "none.txt" in notice


def test_cluster_file_removed_server_is_named(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, OPEN + TWO)
    assert cluster.server("10.0.0.2:2886").zone == "z2"
    write(cluster.path, OPEN + ONE)
    cluster.reload()
    with pytest.raises(ConfigError, match=r"no longer contains the server 10\.0\.0\.2:2886"):
        cluster.server("10.0.0.2:2886")


def test_load_cluster_duplicate_zone_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("name: x\nzones:\n  z1: [{ip: 10.0.0.1}]\n  z1: [{ip: 10.0.0.2}]\n")
    with pytest.raises(ConfigError, match="the key 'z1' occurs twice in line 4"):
        load_cluster(file, FLAVOURS)


# --- connections to hosts ----------------------------------------------------------------------


def address_of(tmp_path: Path, ssh: str, entry: str = "") -> HostAddress:
    text = f"{HEAD}ssh: {ssh}\ndefaults: {{home: /h}}\nzones: {{z1: [{{ip: 10.0.0.1{entry}}}]}}\n"
    (server,) = cluster_of(tmp_path, text).servers
    return server.address


def test_ssh_section_each_key_reaches_host_address(tmp_path: Path) -> None:
    address = address_of(
        tmp_path,
        "{host: h, port: 2200, user: u, key_file: k, key_passphrase_file: p, agent: /run/agent,"
        " sudo: s, known_hosts: kh, connect_timeout_s: 3, command_timeout_s: 40,"
        " keepalive_interval_s: 5, keepalive_misses: 1, max_sessions: 4}",
    )
    assert address == HostAddress(
        host="h",
        port=2200,
        user="u",
        sudo="s",
        key_file=tmp_path / "k",
        key_passphrase_file=tmp_path / "p",
        agent=Path("/run/agent"),
        known_hosts=tmp_path / "kh",
        connect_timeout_s=3,
        command_timeout_s=40,
        keepalive_interval_s=5,
        keepalive_misses=1,
        max_sessions=4,
    )
    assert {f.name for f in dataclasses.fields(HostAddress)} == set(SshSection.model_fields)


def test_ssh_section_jump_inherits_settings_of_hosts(tmp_path: Path) -> None:
    section = "{user: u, port: 2200, key_file: k, key_passphrase_env: P, agent: true, jump: J}"
    short = address_of(tmp_path, section.replace("J", '"gate.example:2201"'))
    assert short.jump == dataclasses.replace(short, host="gate.example", port=2201, jump=None)
    with_user = address_of(tmp_path, section.replace("J", '"me@[2001:db8::1]"')).jump
    assert with_user is not None
    assert (with_user.user, with_user.host, with_user.port) == ("me", "2001:db8::1", 22)
    explicit_jump = address_of(tmp_path, section.replace("J", "{host: gate, key_file: other}")).jump
    assert explicit_jump is not None
    assert (explicit_jump.key_file, explicit_jump.user, explicit_jump.port) == (
        tmp_path / "other",
        "u",
        22,
    )
    assert (explicit_jump.key_passphrase_env, explicit_jump.agent) == (None, False)


def test_ssh_section_jumps_can_be_chained_and_omitted(tmp_path: Path) -> None:
    section = "{jump: {host: inner, jump: me@outer}}"
    inner = address_of(tmp_path, section).jump
    assert inner is not None
    assert inner.jump is not None
    assert (inner.host, inner.jump.host, inner.jump.user) == ("inner", "outer", "me")
    assert address_of(tmp_path, section, ", ssh: {jump: none}").jump is None
    other = address_of(tmp_path, section, ", ssh: {jump: gate}").jump
    assert other is not None
    assert (other.host, other.jump) == ("gate", None)


def test_ssh_section_servers_of_one_jump_have_equal_addresses(tmp_path: Path) -> None:
    servers = cluster_of(tmp_path, f"ssh: {{jump: me@gate}}\n{TWO}").servers
    assert servers[0].address.jump == servers[1].address.jump


@pytest.mark.parametrize(
    ("ssh", "complaint"),
    [
        ("{jump: {user: me}}", "jump needs a host"),
        ("{jump: 'a b'}", "not user@host:port: 'a b'"),
        ("{jump: 'gate:70000'}", "at most 65535"),
        ("{jump: {host: gate, prot: 1}}", "did you mean port?"),
        ("{key_passphrase_env: A, key_passphrase_file: b}", "not both"),
        ("{key_passphrase: abc}", "did you mean key_passphrase_"),
        ("{keepalive_interval_s: 0}", "keepalive_interval_s"),
        ("{max_sessions: 0}", "max_sessions"),
        ("{sudo: true}", "not the name of a user to become, such as root, or none: True"),
        ("{sudo: ''}", "not the name of a user to become"),
        ("{sudo: -root}", "not the name of a user to become, such as root, or none: '-root'"),
        ("{sudo: 'a b'}", "not the name of a user to become"),
        ("{sudo: '#0'}", "not the name of a user to become"),
        ('{sudo: "root\\n"}', "not the name of a user to become"),
        (
            "{jump: {host: gate, sudo: root}}",
            "jump does not support sudo: commands do not run on a bastion",
        ),
    ],
)
def test_ssh_section_invalid_value_is_named(tmp_path: Path, ssh: str, complaint: str) -> None:
    assert complaint in refusal(tmp_path, f"ssh: {ssh}\n{ONE}")


def test_ssh_section_server_overrides_sudo(tmp_path: Path) -> None:
    assert address_of(tmp_path, "{user: u}").sudo is None
    assert address_of(tmp_path, "{sudo: none}").sudo is None
    assert address_of(tmp_path, "{sudo: admin}", ", ssh: {sudo: none}").sudo is None
    assert address_of(tmp_path, "{sudo: admin}", ", ssh: {sudo: root}").sudo == "root"
    assert address_of(tmp_path, "{user: u}", ", ssh: {sudo: root}").sudo == "root"
    assert address_of(tmp_path, r"{sudo: 'CORP\svc.db-1$'}").sudo == r"CORP\svc.db-1$"


def test_ssh_section_jump_does_not_depend_on_sudo(tmp_path: Path) -> None:
    with_sudo = address_of(tmp_path, "{user: u, sudo: admin, jump: gate}")
    without = address_of(tmp_path, "{user: u, jump: gate}")
    assert (with_sudo.sudo, without.sudo) == ("admin", None)
    assert with_sudo.jump == without.jump


def test_ssh_section_server_overrides_passphrase_source(tmp_path: Path) -> None:
    entry = ", ssh: {key_passphrase_file: p}"
    address = address_of(tmp_path, "{key_passphrase_env: P}", entry)
    assert (address.key_passphrase_env, address.key_passphrase_file) == (None, tmp_path / "p")


def test_ssh_section_each_key_is_documented() -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    page = (EXAMPLE.parents[2] / "docs" / "operations" / "ssh.md").read_text(encoding="utf-8")
    for key in SshSection.model_fields:
        assert f"{key}:" in example
        assert f"`{key}`" in page


def test_host_address_default_death_bound_precedes_timeout() -> None:
    address = HostAddress("192.0.2.1")
    assert address.death_bound_s + address.connect_timeout_s < address.command_timeout_s

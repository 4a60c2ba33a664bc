"""Root's password is empty only if the file states it; a missing password is an error."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from tasks.cluster.cluster_file import ClusterFile, load_cluster
from tasks.cluster.root_password import PasswordSource, RootLogins, looks_encrypted
from tasks.flavours.select import FLAVOURS

ONE = "name: demo\nid: 1\nflavour: seekdb\nzones: {z1: [{ip: 10.0.0.1, home: /h}]}\n"
OBD = "seekdb:\n  servers: [10.1.1.1]\n  global:\n    home_path: /h\n"
CLEAR = OBD + "    root_password: from-file\n"
CIPHERTEXT = base64.b64encode(bytes(range(100, 148))).decode()
ENCRYPTED = OBD + f"    root_password: {CIPHERTEXT}\n"
VARIABLE, NO_PASSWORD = "DAGENGINE_ROOT_PASSWORD", "DAGENGINE_NO_ROOT_PASSWORD"
BLANKS = [None, "", " ", "\n", "\t \n"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, NO_PASSWORD, "SOME_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def set_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv(name, value)


def cluster_of(tmp_path: Path, text: str) -> ClusterFile:
    file = tmp_path / "cluster.yaml"
    draft = tmp_path / "draft"
    draft.write_text(text)
    draft.replace(file)
    return ClusterFile(file, FLAVOURS)


def refusal(cluster: ClusterFile) -> str:
    with pytest.raises(ConfigError) as caught:
        cluster.root_password()
    return str(caught.value)


# --- own files -------------------------------------------------------------------------------


def test_root_password_none_is_empty(tmp_path: Path) -> None:
    assert cluster_of(tmp_path, ONE + "root_password: none\n").root_password() == ""
    assert cluster_of(tmp_path, ONE + "root_password: 'none'\n").root_password() == ""


def test_root_password_without_key_names_keys_and_remedies(tmp_path: Path) -> None:
    message = refusal(cluster_of(tmp_path, ONE))
    for part in (str(tmp_path / "cluster.yaml"), "root_password_env", "root_password_file"):
        assert part in message
    assert "`root_password: none`" in message


@pytest.mark.parametrize("value", BLANKS)
def test_root_password_variable_without_value_is_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    set_variable(monkeypatch, "SOME_PASSWORD", value)
    message = refusal(cluster_of(tmp_path, ONE + "root_password_env: SOME_PASSWORD\n"))
    for part in ("root_password_env", "SOME_PASSWORD", "root_password_file"):
        assert part in message
    assert "`root_password: none`" in message
    description = {None: "not set", "": "empty"}.get(value, "only white space")
    assert f"which is {description}" in message


def test_root_password_variable_is_read_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_of(tmp_path, ONE + "root_password_env: SOME_PASSWORD\n")
    monkeypatch.setenv("SOME_PASSWORD", " p@ss ")
    assert cluster.root_password() == " p@ss "
    monkeypatch.setenv("SOME_PASSWORD", "")
    assert "SOME_PASSWORD" in refusal(cluster)


@pytest.mark.parametrize("content", [b"", b"\n", b" \n", b"\r\n", b"\nsecond line\n", b"\t"])
def test_root_password_file_without_first_line_is_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "root").write_bytes(content)
    message = refusal(cluster_of(tmp_path, ONE + "root_password_file: root\n"))
    for part in ("root_password_file", str(tmp_path / "root"), "root_password_env"):
        assert part in message
    assert "`root_password: none`" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"p@ss", "p@ss"),
        (b"p@ss\n", "p@ss"),
        (b"p@ss\r\n", "p@ss"),
        (b"p@ss\nsecond line\n", "p@ss"),
        (b" p ss \n", " p ss "),
        ("pässwört\n".encode(), "pässwört"),
    ],
)
def test_root_password_file_first_line_is_password(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    cluster = cluster_of(tmp_path, ONE + "root_password_file: secrets/root\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "root").write_bytes(content)
    assert cluster.root_password() == expected


def test_root_password_file_emptied_is_refused_each_time(tmp_path: Path) -> None:
    file = tmp_path / "root"
    cluster = cluster_of(tmp_path, ONE + "root_password_file: root\n")
    for content in ("first\n", "other\n"):
        file.write_text(content)
        assert cluster.root_password() == content.strip()
    file.write_text("")
    assert [refusal(cluster).count("is empty") for _ in range(3)] == [1, 1, 1]
    file.write_text("third\n")
    assert cluster.root_password() == "third"


def test_root_password_file_unreadable_is_named(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, ONE + "root_password_file: root\n")
    assert f"root_password_file {tmp_path / 'root'}: No such file" in refusal(cluster)
    (tmp_path / "root").write_bytes(b"s3cret\xff")
    message = refusal(cluster)
    assert "it is not UTF-8" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    "keys",
    [
        "root_password: none\nroot_password_env: A\n",
        "root_password: none\nroot_password_file: a\n",
        "root_password_env: A\nroot_password_file: a\n",
    ],
)
def test_root_password_named_twice_is_error(tmp_path: Path, keys: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster_of(tmp_path, ONE + keys)
    for key in (line.partition(":")[0] for line in keys.splitlines()):
        assert key in str(caught.value)
    assert "contradict" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["s3cret", "None", "NONE", "no", "~", "''", "0123", "[none]", "{none: 1}", "false", "12:30"],
)
def test_root_password_in_cluster_file_is_refused_not_shown(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster_of(tmp_path, ONE + f"root_password: {value}\n")
    message = str(caught.value).replace(str(tmp_path), "")
    for part in ("root_password_env", "root_password_file", "`root_password: none`"):
        assert part in message
    assert not any(text in message for text in ("s3cret", "0123", "12:30"))


@pytest.mark.parametrize("key", ["root_password_env: s3cret!", "root_password_env: ''"])
def test_root_password_variable_name_is_checked_not_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="root_password_env") as caught:
        cluster_of(tmp_path, f"{ONE}{key}\n")
    assert "s3cret" not in str(caught.value)


def test_root_password_is_not_kept_in_cluster_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "s3cret")
    cluster = cluster_of(tmp_path, ONE + "root_password_env: SOME_PASSWORD\n")
    assert cluster.root_password() == "s3cret"
    assert "s3cret" not in f"{cluster.current!r} {vars(cluster)!r}"


# --- a reload --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [ONE, ONE + "root_password_env: SOME_OTHER\n", ONE + "root_password_file: gone\n", OBD]
)
def test_root_password_missing_after_reload_keeps_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "pw")
    cluster = cluster_of(tmp_path, ONE + "root_password_env: SOME_PASSWORD\n")
    before = cluster.current
    cluster_of(tmp_path, text.replace("10.0.0.1", "10.0.0.9"))
    for _ in range(2):
        with pytest.raises(ConfigError, match="password"):
            cluster.reload()
        assert cluster.current is before
        assert cluster.root_password() == "pw"


def test_root_password_none_after_reload_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_PASSWORD", "pw")
    cluster = cluster_of(tmp_path, ONE + "root_password_env: SOME_PASSWORD\n")
    cluster_of(tmp_path, ONE + "root_password: none\n")
    cluster.reload()
    assert cluster.root_password() == ""


# --- obd files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "variable", "no_password", "expected"),
    [
        (CLEAR, None, None, "from-file"),
        (CLEAR, None, "", "from-file"),
        (CLEAR, "from-variable", None, "from-variable"),
        (OBD, "from-variable", None, "from-variable"),
        (ENCRYPTED, "from-variable", None, "from-variable"),
        (ENCRYPTED, CIPHERTEXT, None, CIPHERTEXT),
        (OBD, None, "yes", ""),
        (OBD + "    root_password:\n", None, "yes", ""),
        (OBD + "    root_password: ''\n", None, "yes", ""),
        (OBD + "    root_password: none\n", None, None, "none"),
    ],
)
def test_obd_password_comes_from_variable_then_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    variable: str | None,
    no_password: str | None,
    expected: str,
) -> None:
    set_variable(monkeypatch, VARIABLE, variable)
    set_variable(monkeypatch, NO_PASSWORD, no_password)
    assert cluster_of(tmp_path, text).root_password() == expected


@pytest.mark.parametrize(
    ("text", "variable", "no_password", "named"),
    [
        (OBD, None, None, ["root_password is missing", VARIABLE, f"{NO_PASSWORD}=yes"]),
        (OBD + "    root_password: ''\n", None, None, ["root_password is missing"]),
        (OBD + "    root_password: 0\n", None, None, ["root_password is missing"]),
        (OBD, "", None, [VARIABLE, "is empty", f"{NO_PASSWORD}=yes"]),
        (CLEAR, "", None, [VARIABLE, "is empty", "unset it"]),
        (CLEAR, " \n", None, [VARIABLE, "only white space"]),
        (CLEAR, None, "yes", [f"{NO_PASSWORD}=yes", "root_password of", "remove one"]),
        (ENCRYPTED, None, "yes", [f"{NO_PASSWORD}=yes", "root_password of"]),
        (OBD, "pw", "yes", [f"{NO_PASSWORD}=yes", f"but {VARIABLE}", "remove one"]),
        (OBD, None, "true", [NO_PASSWORD, "'true'", "write yes"]),
        (CLEAR, "pw", "no", [NO_PASSWORD, "'no'", "unset it"]),
        (ENCRYPTED, None, None, ["obd pwd encrypt", VARIABLE, "`obd pwd encrypt disable`"]),
    ],
)
def test_obd_password_missing_or_contradictory_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    variable: str | None,
    no_password: str | None,
    named: list[str],
) -> None:
    set_variable(monkeypatch, VARIABLE, variable)
    set_variable(monkeypatch, NO_PASSWORD, no_password)
    message = refusal(cluster_of(tmp_path, text))
    assert [part for part in ["cluster.yaml", *named] if part not in message] in (
        [],
        ["cluster.yaml"],
    )
    assert not any(secret in message for secret in ("from-file", CIPHERTEXT, "pw "))


def test_obd_password_variables_are_ignored_for_cluster_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "pw")
    assert "root_password_env" in refusal(cluster_of(tmp_path, ONE))
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv(NO_PASSWORD, "yes")
    assert "root_password_env" in refusal(cluster_of(tmp_path, ONE))


@pytest.mark.parametrize(
    ("inner", "is_refused"),
    [
        ("$_ENCRYPT_PASSWORD: true\n", True),
        ("seekdb: {}\n$_ENCRYPT_PASSWORD: true\n", True),
        ("$_ENCRYPT_PASSWORD: false\n", False),
        ("seekdb: {}\n", False),
        ("", False),
        ("{", False),
        ("\ufeff\x01", False),
    ],
)
def test_obd_password_marker_file_means_encrypted(
    tmp_path: Path, inner: str, is_refused: bool
) -> None:
    (tmp_path / "inner_config.yaml").write_text(inner)
    cluster = cluster_of(tmp_path, CLEAR)
    if is_refused:
        assert "obd pwd encrypt" in refusal(cluster)
        assert "encrypted by obd" in cluster.current.notices[0]
    else:
        assert cluster.root_password() == "from-file"


def test_obd_password_ciphertext_is_not_kept(tmp_path: Path) -> None:
    cluster = load_cluster(cluster_of(tmp_path, ENCRYPTED).path, FLAVOURS)
    assert (cluster.password, cluster.root_password.is_encrypted) == (None, True)
    assert CIPHERTEXT not in repr(cluster)


@pytest.mark.parametrize("blocks", [2, 3, 4, 8, 16, 32])
def test_looks_encrypted_accepts_ciphertext_of_whole_blocks(blocks: int) -> None:
    assert all(
        looks_encrypted(base64.b64encode(os.urandom(16 * blocks)).decode()) for _ in range(100)
    )


@pytest.mark.parametrize(
    "password",
    [
        "p@ssw0rd",
        "correct horse battery staple and more of it, said",
        "0123456789abcdef" * 4,
        "0123456789ABCDEF" * 4,
        base64.b64encode(bytes(range(16))).decode(),
        base64.b64encode(bytes(range(24))).decode(),
        base64.b64encode(bytes(range(33))).decode(),
        "",
        "ä" * 44,
    ],
)
def test_looks_encrypted_rejects_ordinary_password(password: str) -> None:
    assert not looks_encrypted(password)


# --- refused logins ---------------------------------------------------------------------------


def notices_of(logins: RootLogins, password: str, servers: Sequence[str] = ("a:1",)) -> list[str]:
    return list(logins.find_notices(servers, password, PasswordSource(Path("c.yaml"), env="ROOT")))


def test_root_logins_refusal_lasts_until_a_login_works() -> None:
    logins = RootLogins()
    assert notices_of(logins, "s3cret") == []
    logins.record_refusal("a:1", "s3cret")
    (notice,) = notices_of(logins, "s3cret")
    assert notice.startswith("a:1: the last SQL login")
    assert notice.endswith("correct the password in ROOT")
    assert "s3cret" not in notice
    logins.record_success("a:1", "s3cret")
    assert notices_of(logins, "s3cret") == []


def test_root_logins_other_password_decides_nothing() -> None:
    logins = RootLogins()
    logins.record_refusal("a:1", "s3cret")
    logins.record_success("a:1", "")  # before the first start was confirmed
    assert notices_of(logins, "corrected") == []
    assert len(notices_of(logins, "s3cret")) == 1


def test_root_logins_notice_names_few_servers_of_the_file() -> None:
    logins = RootLogins()
    names = [f"a:{number}" for number in range(1, 7)]
    for name in names:
        logins.record_refusal(name, "")
    (notice,) = notices_of(logins, "", names[:5])
    assert notice.startswith("a:1, a:2, a:3 and 2 more: ")


def test_root_logins_only_changes_are_reported() -> None:
    changes: list[str] = []
    logins = RootLogins(lambda: changes.append("changed"))
    logins.record_success("a:1", "x")
    assert changes == []
    for _ in range(2):
        logins.record_refusal("a:1", "x")
    assert len(changes) == 1
    for _ in range(2):
        logins.record_success("a:1", "x")
    assert len(changes) == 2

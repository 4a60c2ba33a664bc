"""Broken YAML in each file that the product reads is refused with file, line and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagengine.errors import ConfigError
from dagengine.runtime.yaml_structure import YamlRefused, read_yaml_text
from dagengine.server.config import load_config
from tasks.cluster.cluster_file import load_cluster
from tasks.cluster.obd_yaml import is_encrypted_by_obd
from tasks.flavours.select import FLAVOURS

ENGINE = "api:\n  port: 2886\ncluster: cluster.yaml\n"
CLUSTER = """\
name: demo
id: 1
flavour: seekdb
root_password: none
zones:
  z1: [{ip: 127.0.0.1, home: /srv/x}]
"""
OBD = """\
user: {username: admin}
oceanbase-ce:
  servers: [{name: s1, ip: 127.0.0.1}]
  global: {home_path: /srv/x, appname: demo, cluster_id: 1, root_password: pw}
  s1: {zone: zone1}
"""


def load_cluster_file(path: Path) -> object:
    return load_cluster(path, FLAVOURS)


FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "engine.yaml": (ENGINE, lambda path: load_config(path, {})),
    "cluster.yaml": (CLUSTER, load_cluster_file),
    "obd.yaml": (OBD, load_cluster_file),
}


def bomb(merges: str, leaf: str) -> str:
    """Return nested aliases: 13 lines that stand for 10 to the power of 12 values."""
    lines = [f"a0: &a0 {leaf}"]
    for level in range(1, 13):
        aliases = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} {merges.format(aliases)}")
    return "\n".join(lines) + "\n"


# What follows a valid file, and a part of the remedy. The problem is in the last lines.
BROKEN: dict[str, tuple[str | bytes, str]] = {
    "impossible date": ("x: !!timestamp 2026-13-45\n", "remove the tag"),
    "impossible time": ("x: 2026-01-01 25:61:61\n", ""),
    "date without tag": ("x: 2026-13-45\n", ""),
    "list as a key": ("? [a, b]\n", "correct the file there"),
    "mapping as a key": ("? {a: b}\n", "correct the file there"),
    "5,000 digits": (f"x: {'9' * 5000}\n", "quote it"),
    "5,000 digits of a fraction": (f"x: 1.{'9' * 5000}\n", "quote it"),
    "5,000 hexadecimal digits": (f"x: !!int 0x{'f' * 5000}\n", "quote it"),
    "3,000 mappings": ("x: " + "{a: " * 3000 + "\n", "flatten it"),
    "3,000 lists": ("x: " + "[" * 3000 + "]" * 3000 + "\n", "flatten it"),
    "3,000 block lists": ("x:\n" + "  " + "- " * 3000 + "1\n", "flatten it"),
    "no integer": ("x: !!int abc\n", "correct the file there"),
    "no float": ("x: !!float abc\n", "correct the file there"),
    "no boolean": ("x: !!bool abc\n", "correct the file there"),
    "set of a list": ("x: !!set [1]\n", "remove the tag"),
    "binary": ("x: !!binary 'é'\n", "remove the tag"),
    "ordered mapping": ("x: !!omap [a: 1]\n", "remove the tag"),
    "own tag": ("x: !other 1\n", "remove the tag"),
    "Python object": ("x: !!python/object/apply:os.system [id]\n", "remove the tag"),
    "merge of a scalar": ("x: {<<: 3}\n", "correct the file there"),
    "alias of itself": ("x: &x [*x]\n", "correct the file there"),
    "unknown alias": ("x: *none\n", "correct the file there"),
    "tab": ("\ty: 1\n", "replace the tabs by spaces"),
    "tab after a dash": ("x: [\n\t}\n", ""),
    "two documents": ("---\n", "correct the file there"),
    "open brace": ("x: {", "correct the file there"),
    "open quote": ("x: 'a", "correct the file there"),
    "NUL": ("x: \0\n", "remove it"),
    "escape": ("x: \x1b[2J\n", "remove it"),
    "C1 control": ("x: \x9b\n", "remove it"),
    "NUL in quotes": ('x: "\\0"\n', "remove it"),
    "bidi control in quotes": ('x: "\\u202e"\n', "remove it"),
    "surrogate in quotes": ('x: "\\ud800"\n', "remove it"),
    "character above Unicode": ('x: "\\U00110000"\n', "correct the file there"),
    "Latin-1": ("x: café\n".encode("latin-1"), "save it as UTF-8"),
    "no text": (b"x: \xff\xfe\n", "save it as UTF-8"),
}
NOT_AT_END = {
    "duplicate key": ("x: 1\nz: 2\nx: 3\n", 3),
    "duplicate merge key": ("x: {<<: {a: 1}, <<: {b: 1}}\n", 1),
    "aliases": (bomb("[{}]", "[x, x]"), 6),
    "merged aliases": (bomb("{{<<: [{}]}}", "{x: 1}"), 6),
}


def refusal(directory: Path, name: str, content: bytes) -> str:
    """Return the error that the reader of a file raises for this content."""
    path = directory / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        FILES[name][1](path)
    text = str(caught.value)
    assert str(path) in text
    assert text.isprintable()
    assert caught.value.remedy
    assert len(text) < 500
    return text


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_not_broken_is_read(tmp_path: Path, name: str) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / name).write_text(FILES[name][0], encoding=encoding)
        assert FILES[name][1](tmp_path / name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_yaml_is_refused_with_line_and_remedy(tmp_path: Path, name: str, kind: str) -> None:
    good, (broken, remedy) = FILES[name][0], BROKEN[kind]
    content = good.encode() + (broken if isinstance(broken, bytes) else broken.encode())
    text = refusal(tmp_path, name, content)
    lines = [f"line {number}" for number in range(good.count("\n") + 1, content.count(b"\n") + 2)]
    assert any(line in text for line in lines)
    assert remedy in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", NOT_AT_END)
def test_broken_yaml_over_lines_names_the_line(tmp_path: Path, name: str, kind: str) -> None:
    good, (broken, line) = FILES[name][0], NOT_AT_END[kind]
    text = refusal(tmp_path, name, (good + broken).encode())
    assert f"line {good.count(chr(10)) + line}," in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_file_in_other_encoding_is_refused(tmp_path: Path, name: str, encoding: str) -> None:
    text = refusal(tmp_path, name, FILES[name][0].encode(encoding))
    assert "in line 1" in text
    assert "UTF-8" in text


@pytest.mark.parametrize("name", FILES)
def test_file_above_the_size_limit_is_refused(tmp_path: Path, name: str) -> None:
    assert "larger than 1,048,576 bytes" in refusal(tmp_path, name, b"#" * (1 << 21))


def test_read_yaml_text_quotes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"root_password: s3cret\xff\n")
    with pytest.raises(YamlRefused) as caught:
        read_yaml_text(tmp_path / "x")
    assert (caught.value.__cause__, "s3cret" in str(caught.value)) == (None, False)


@pytest.mark.parametrize("text", [text for text, _ in BROKEN.values() if isinstance(text, str)])
def test_inner_file_of_obd_that_is_broken_counts_as_plain(text: str) -> None:
    assert is_encrypted_by_obd(f"$_ENCRYPT_PASSWORD: true\n{text}") is False

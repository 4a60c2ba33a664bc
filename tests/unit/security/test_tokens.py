"""The text of API tokens."""

from __future__ import annotations

import hashlib

import pytest

from dagengine.security.tokens import (
    SECRET_BYTES,
    SERVICE,
    contains_token,
    mask_tokens,
    parse_token,
    render_token,
)

SECRET = bytes(range(SECRET_BYTES))
TEXT = "dag_demo_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def test_token_text_has_cluster_and_secret() -> None:
    assert render_token("demo", SECRET) == TEXT
    assert render_token(SERVICE, SECRET) == TEXT.replace("demo", "")


@pytest.mark.parametrize("cluster", ["demo", "", "a-b-1", "my_cluster", "größe 名", "dag_x_", "%"])
@pytest.mark.parametrize("secret", [SECRET, bytes(32), b"\xff" * 32, b"_" * 32])
def test_token_is_parsed_again(cluster: str, secret: bytes) -> None:
    text = render_token(cluster, secret)
    assert text.isascii()
    assert text.isprintable()
    assert parse_token(text) == (cluster, hashlib.sha256(secret).digest())


@pytest.mark.parametrize(
    "text",
    [
        *("", "dag_demo_", TEXT[:-1], f"{TEXT}A", f" {TEXT}", f"{TEXT}\n", TEXT.upper()),
        *(TEXT[4:], TEXT.replace("dag_", "dag"), TEXT[:-1] + "+", TEXT.replace("demo", "de/mo")),
        TEXT[:-1] + "9",  # the same bytes, written differently
    ],
)
def test_other_text_is_not_a_token(text: str) -> None:
    assert parse_token(text) is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secret_of_other_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        render_token("demo", bytes(size))


@pytest.mark.parametrize("text", [TEXT, f"/a/{TEXT}/b?c={TEXT}&d", f"xdag_{TEXT}x"])
def test_token_in_text_is_found_and_masked(text: str) -> None:
    assert contains_token(text)
    assert TEXT[-43:] not in mask_tokens(text)


@pytest.mark.parametrize("text", ["", "/api/v1/task/dag_1", TEXT[:-1], "dag_", "dag_demo_x" * 4])
def test_text_without_token_is_unchanged(text: str) -> None:
    assert not contains_token(text)
    assert mask_tokens(text) == text

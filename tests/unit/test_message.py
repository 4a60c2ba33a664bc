"""Messages: fields, text, and the data kept until rendering."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from dagengine.api.envelope import render_error
from dagengine.errors import ApiRefused, DagengineError, HostUnreachable, Message, MessageText

LOCK_HELD = Message("test.lock_held", "the lock is held by {holder} since {since_s:.1f} s")
RETRY = Message("test.retry", "RETRY")


def test_message_call_returns_the_text() -> None:
    assert LOCK_HELD(holder="DAG 7", since_s=1.25) == "the lock is held by DAG 7 since 1.2 s"


def test_message_text_keeps_key_and_fields() -> None:
    text = LOCK_HELD(holder="DAG 7", since_s=1)
    assert (text.message.key, text.fields) == (LOCK_HELD.key, {"holder": "DAG 7", "since_s": 1})


@pytest.mark.parametrize("fields", [{}, {"holder": 1}, {"holder": 1, "since_s": 1, "more": 1}])
def test_message_call_with_wrong_fields_raises(fields: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"test\.lock_held has fields \['holder', 'since_s'\]"):
        LOCK_HELD(**fields)


@pytest.mark.parametrize("template", ["{}", "{0}", "{a.b}", "{a[0]}"])
def test_message_with_a_field_that_is_not_a_name_raises(template: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        Message("test.x", template)


def test_message_field_that_is_an_exception_is_kept_as_text() -> None:
    text = Message("test.x", "failed: {reason}")(reason=OSError("disk"))
    assert text.fields == {"reason": "disk"}


def test_message_field_that_is_a_text_keeps_its_message() -> None:
    text = Message("test.x", "then {remedy}")(remedy=RETRY())
    assert isinstance(inner := text.fields["remedy"], MessageText)
    assert (text, inner.message) == ("then RETRY", RETRY)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda text: pickle.loads(pickle.dumps(text))])
def test_message_text_copied_keeps_key_and_fields(copied: object) -> None:
    text = LOCK_HELD(holder="DAG 7", since_s=1)
    same = copied(text)  # type: ignore[operator]
    assert (same, same.message, same.fields) == (text, text.message, text.fields)


def test_message_text_is_rendered_as_text() -> None:
    assert (json.dumps(RETRY()), repr(RETRY()), f"{RETRY()}") == ('"RETRY"', "'RETRY'", "RETRY")


def test_error_keeps_the_messages_of_text_and_remedy() -> None:
    error = DagengineError(LOCK_HELD(holder="DAG 7", since_s=1), remedy=RETRY())
    assert isinstance(error.message, MessageText)
    assert isinstance(error.remedy, MessageText)
    assert render_error(error)["message"] == "the lock is held by DAG 7 since 1.0 s; RETRY"


# --- text from hosts and peers ------------------------------------------------------------


def test_message_field_with_control_characters_is_escaped() -> None:
    text = Message("test.x", "the host sent {text}")(text="\x1b[2J\nFORGED \u202e")
    assert text == r"the host sent \x1b[2J\x0aFORGED \u202e"
    assert text.fields == {"text": "\x1b[2J\nFORGED \u202e"}


@pytest.mark.parametrize(
    "error",
    [
        DagengineError("a\x1b[2Jb\nc", remedy="d\x9be"),
        HostUnreachable("a\x1b[2Jb\nc", host="h", remedy="d\x9be"),
        ApiRefused("a\x1b[2Jb\nc; d\x9be", status=500, code="x", legacy=0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_with_control_characters_is_escaped(error: DagengineError) -> None:
    assert r"a\x1b[2Jb\x0ac; d\x9be" in str(error)
    assert error.args[0].isprintable()


def test_error_code_of_a_foreign_server_is_escaped() -> None:
    assert str(ApiRefused("no", status=400, code="\x1b[2J", legacy=0)) == r"[\x1b[2J]: no"


def test_error_of_megabytes_is_shortened() -> None:
    error = DagengineError("y" * 2_000_000, remedy="z" * 2_000_000)
    assert len(str(error)) < 8500
    assert str(error).count("bytes omitted") == 2

"""The language of an error: chosen from a header, rendered with translated fields."""

from __future__ import annotations

import pytest

from dagengine.errors import DagengineError, Message
from dagengine.lines import MAX_LINE_BYTES
from dagengine.translation import Translator

HELD = Message("test.held", "{holder} holds the lock, for {seconds:.1f} s")
DAG = Message("test.dag", "DAG {number}")
WAIT = Message("test.wait", "wait")
OTHER = Message("test.other", "text without a translation")
TRANSLATOR = Translator(
    [
        {
            "zh": {
                "test.held": "锁由 {holder} 持有，已 {seconds:.1f} 秒",
                "test.dag": "任务 {number}",
            }
        },
        {"zh": {"test.wait": "请等待"}, "xx": {}},
    ]
)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN", "zh"),
        ("zh", "zh"),
        ("ZH-cn", "zh"),
        ("zh-Hans-SG", "zh"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("en;q=0.4, zh;q=0.5", "zh"),
        ("en, zh", "en"),
        ("zh, en", "zh"),
        ("fr, zh;q=0.1", "zh"),
        ("fr", "en"),
        ("*", "en"),
        ("zh;q=0.5, *", "en"),
        ("zh;q=0", "en"),
        ("zh;q=0, fr", "en"),
        ("zh; q = 0.5", "en"),
        ("zh ; q=0.5", "zh"),
        ("zh;q=2", "en"),
        ("zh_CN", "en"),
        ("中文", "en"),
        ("z" * 10_000, "en"),
        (",," * 10_000 + "zh", "en"),
    ],
)
def test_choose_language_follows_header(header: str, language: str) -> None:
    assert TRANSLATOR.choose_language(header) == language


def test_describe_translates_message_remedy_and_fields() -> None:
    error = DagengineError(HELD(holder=DAG(number=7), seconds=1.25), remedy=WAIT())
    text = TRANSLATOR.describe(error, accept_language="zh-CN")
    assert text == "锁由 任务 7 持有，已 1.2 秒；请等待"
    assert str(error) == "DAG 7 holds the lock, for 1.2 s; wait"


@pytest.mark.parametrize("language", ["", "en", "fr", "xx"])
def test_describe_without_translation_is_english(language: str) -> None:
    error = DagengineError(OTHER(), remedy=WAIT())
    assert TRANSLATOR.describe(error, accept_language=language) == str(error)


@pytest.mark.parametrize("message", ["plain text", OTHER()])
def test_describe_text_without_template_stays_english(message: str) -> None:
    error = DagengineError(message, remedy=WAIT())
    assert TRANSLATOR.describe(error, accept_language="zh") == f"{message}；请等待"


def test_describe_escapes_and_shortens_fields() -> None:
    error = DagengineError(DAG(number="\x1b[2J"))
    assert TRANSLATOR.describe(error, accept_language="zh") == r"任务 \x1b[2J"
    long = DagengineError(DAG(number="文" * 100_000))
    described = TRANSLATOR.describe(long, accept_language="zh")
    assert len(described.encode()) <= MAX_LINE_BYTES

"""Lines that quote a host: clean, and of limited length."""

from __future__ import annotations

import pytest

from dagengine.lines import clean_line, join_ends

MEGABYTES = {
    "letters": ("A" * 2048, "y", "Z" * 2048),
    "controls": ("\x1b" * 2048, "\0", "\x9b" * 2048),
    "wide characters": ("服" * 2048, "务", "器" * 2048),
    "emoji": ("😀" * 2048, "😀", "😀" * 2048),
    "surrogates": ("\udc80" * 2048, "\udc80", "\udc80" * 2048),
}


@pytest.mark.parametrize("name", MEGABYTES)
def test_clean_line_keeps_both_ends_of_long_text(name: str) -> None:
    first, filler, last = MEGABYTES[name]
    text = first + filler * 2_000_000 + last
    line = clean_line(text)
    start, remark, end = line.partition(" bytes omitted …] ")[0].rpartition(" [… ")
    omitted_bytes = int(end.replace(",", ""))
    assert remark
    assert 1900 < len(start.encode()) <= 2048
    assert len(line.encode()) < 4200
    assert line.isprintable()
    assert omitted_bytes >= len((filler * 2_000_000).encode("utf-8", "surrogatepass"))


def test_clean_line_states_the_exact_size() -> None:
    line = clean_line("a" * 2048 + "y" * 2_000_000 + "z" * 2048)
    assert line == "a" * 2048 + " [… 2,000,000 bytes omitted …] " + "z" * 2048


@pytest.mark.parametrize("text", ["", "x", "x" * 6144, "ü" * 3072, "\x1b" * 1536])
def test_clean_line_keeps_text_of_usual_length(text: str) -> None:
    assert clean_line(text) == text.replace("\x1b", r"\x1b")


@pytest.mark.parametrize("text", ["x" * 6145, "ü" * 3073, "\x1b" * 1537])
def test_clean_line_shortens_by_the_size_of_the_result(text: str) -> None:
    assert "bytes omitted" in clean_line(text)


@pytest.mark.parametrize("text", ["\x1b" * 2000, "y" * 10_000, "\r\n" * 5000, "服" * 5000])
def test_clean_line_of_a_clean_line_is_equal(text: str) -> None:
    assert clean_line(clean_line(text)) == clean_line(text)


def test_clean_line_around_joined_ends_keeps_their_remark() -> None:
    output = join_ends("\x1b" * 2048, 1_000_000, "y" * 2048)
    assert "[… 1,001,536 bytes omitted …]" in clean_line(f"10.0.0.1:2886 printed: {output}; fix it")

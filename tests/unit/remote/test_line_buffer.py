"""Lines of a running command, as they arrive."""

from __future__ import annotations

import asyncio

import pytest

from dagengine.remote.line_buffer import LineBuffer


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"a\nb\n",), ["a", "b"]),
        ((b"a", b"b\nc", b"\n"), ["ab", "c"]),
        ((b"\n", b"x\xff\n"), ["", "x\ufffd"]),
        ((b"a\nincomplete",), ["a"]),
        ((), []),
    ],
)
async def test_line_buffer_splits_bytes_at_line_ends(
    parts: tuple[bytes, ...], expected: list[str]
) -> None:
    buffer = LineBuffer()
    for part in parts:
        buffer.feed(part)
    buffer.end()
    assert [await buffer.read_line() for _ in expected] == expected
    assert await buffer.read_line() is None


async def test_line_buffer_reader_wakes_up_at_line() -> None:
    buffer = LineBuffer()
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(buffer.read_line(), name="read")
        group.create_task(asyncio.to_thread(lambda: None), name="turn of the loop")
        buffer.feed(b"late\n")
    assert reading.result() == "late"


@pytest.mark.parametrize("data", [b"x" * 11, b"x\n" * 11], ids=["one line", "many lines"])
async def test_line_buffer_beyond_limit_ends_overrun(data: bytes) -> None:
    buffer = LineBuffer(10)
    buffer.feed(data)
    assert (buffer.is_overrun, await buffer.read_line()) == (True, None)


async def test_line_buffer_read_lines_do_not_count() -> None:
    buffer = LineBuffer(10)
    for _ in range(5):
        buffer.feed(b"12345678\n")
        assert await buffer.read_line() == "12345678"
    assert not buffer.is_overrun

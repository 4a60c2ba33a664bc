"""Arbitrary changes of a valid dialog: the MySQL client ends with a result or one of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagengine.mysql import MysqlError, Result, connect
from tests.support.mysql_peer import (
    EOF,
    OK,
    Dialog,
    Peer,
    column,
    greeting,
    open_peer,
    packet,
    row,
)

ANSWER_S = 0.03
LIMIT_S = 10.0  # never reached: the peer closes the connection after its last bytes
TEXT, INTEGER, DOUBLE = 253, 8, 5

Stages: TypeAlias = Sequence[bytes]
"""What the peer sends at once: its greeting, its answer to the login and one to a statement."""

VALID: Stages = (
    packet(0, greeting()),
    packet(2, OK),
    b"".join(
        packet(1 + number, payload)
        for number, payload in enumerate(
            [
                *(b"\x03", column(TEXT), column(INTEGER), column(DOUBLE), EOF),
                *(row(b"text", b"-12", b"1.5e3"), row(None, b"9" * 30, b".5"), EOF),
            ]
        )
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> Stages:
    """A valid dialog with up to four changes of one stage each."""
    stages = [bytearray(stage) for stage in VALID]
    for _ in range(draw(st.integers(1, 4))):
        stage = stages[draw(st.integers(0, len(stages) - 1))]
        at = draw(st.integers(0, len(stage)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["replace", "cut", "insert", "remove", "repeat"])):
            case "replace":
                content = draw(st.binary(min_size=length, max_size=length))
                stage[at : at + length] = content
            case "cut":
                del stage[at:]
            case "insert":
                stage[at:at] = draw(st.sampled_from([b"\xff", b"\xfe", b"\xfb", b"\0", b"\x01"]))
            case "remove":
                del stage[at : at + length]
            case "repeat":
                stage[at:at] = bytes(stage[at : at + length])
    return [bytes(stage) for stage in stages]


async def talk(stages: Stages, path: Path) -> Result | MysqlError:
    """Log in to a peer that sends these stages, and run a statement."""

    async def send_stages(dialog: Dialog) -> None:
        for stage in stages:
            dialog.writer.write(stage)
            try:
                async with asyncio.timeout(ANSWER_S):
                    await dialog.read()
            except TimeoutError:
                break  # the stage was cut, so the client waits for the rest of it
        dialog.writer.close()

    async def ask(peer: Peer) -> Result | MysqlError:
        assert peer.path is not None
        try:
            connection = await connect(peer.path, user="root", password="secret", timeout_s=LIMIT_S)
        except MysqlError as exc:
            return exc
        try:
            return await connection.query("SELECT 1")
        except MysqlError as exc:
            return exc
        finally:
            connection.close()
            assert not connection.is_open

    path.unlink(missing_ok=True)
    async with open_peer(send_stages, path) as peer, asyncio.timeout(LIMIT_S / 2):
        return await ask(peer)


def test_valid_dialog_gives_result(tmp_path: Path) -> None:
    result = asyncio.run(talk(VALID, tmp_path / "peer"))
    assert isinstance(result, Result)
    assert [type(value) for value in result.rows[0]] == [str, int, float]


@given(damaged())
@example([VALID[0], VALID[1], b""])
@example([VALID[0], packet(2, b"\xfe"), b""])
@example([VALID[0], VALID[1], packet(1, b"\xfe" + b"\xff" * 8)])
@settings(max_examples=120)
def test_damaged_dialog_gives_result_or_mysql_error(
    tmp_path_factory: pytest.TempPathFactory, stages: Stages
) -> None:
    path = tmp_path_factory.getbasetemp() / "mysql-peer"
    result = asyncio.run(talk(stages, path))
    if isinstance(result, MysqlError):
        assert result.message.isprintable()
        assert "secret" not in result.message

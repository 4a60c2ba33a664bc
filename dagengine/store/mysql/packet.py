"""A transaction as one packet, guarded by the cluster's row, and the meaning of its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final

from dagengine.model.fencing import Ownership
from dagengine.mysql import Row
from dagengine.store.mysql.plan import Statement
from dagengine.store.mysql.statements import (
    PACKETS,
    render_query,
    render_statement,
)

MAX_PACKET_BYTES: Final = (16 << 20) - (64 << 10)
"""Maximum size of a packet: that of the protocol without a continuation, less a reserve."""

GUARD_FAILED: Final = 1048
"""Number of the error with which the database refuses a packet whose guards do not all hold."""

_HEAD = 3  # statements of `begin_packet`
_UNKNOWN = frozenset({2003, 2006, 2013, 4012, 6002, 6005, *range(6200, 6300)})


class Verdict(Enum):
    """What the cluster's row says about a packet whose result is unknown."""

    FENCED = auto()
    WRITTEN = auto()
    NOT_WRITTEN = auto()
    DEFECT = auto()


def decide_verdict(row: Row | None, ownership: Ownership, commit_no: int) -> Verdict:
    """Decide whether the packet after commit `commit_no` was written.

    Args:
        row: owner, epoch and commit number of the cluster's row, read while it was locked; None if
            the row does not exist.
        ownership: the ownership under which the packet was sent.
        commit_no: the number of the last commit before the packet.
    """
    if row is None or tuple(row[:2]) != (ownership.owner, ownership.epoch):
        return Verdict.FENCED
    if row[2] == commit_no + 1:
        return Verdict.WRITTEN
    return Verdict.NOT_WRITTEN if row[2] == commit_no else Verdict.DEFECT


def is_result_unknown(number: int) -> bool:
    """Return whether a packet may have been written although the database returned this error."""
    return number in _UNKNOWN


def render_packet(ownership: Ownership, commit_no: int, statements: Sequence[Statement]) -> str:
    """Return the packet that writes the statements as the commit after `commit_no`.

    Every guarded statement has a comparison of its own: with a sum, a statement that matches two
    rows would hide one that matches none.
    """
    begin = render_query(
        "begin_packet",
        ownership.cluster,
        next=commit_no + 1,
        owner=ownership.owner,
        epoch=ownership.epoch,
        commit_no=commit_no,
    )
    parts = [begin]
    for number, statement in enumerate(statements, 1):
        parts += _render_guarded(number, statement)
    parts.append(render_query("end_packet", ownership.cluster))
    return "; ".join(parts)


def find_failed(statements: Sequence[Statement], completed: int) -> int:
    """Return the number of the statement that the database rejected; 0 if it was none of these.

    Args:
        statements: those of the packet.
        completed: number of results before the error.
    """
    end = _HEAD
    for number, statement in enumerate(statements, 1):
        end += sum(1 for _ in _render_guarded(number, statement))
        if end > completed >= _HEAD:
            return number
    return 0


def find_results(statements: Sequence[Statement]) -> Iterator[int]:
    """Return for each statement the position of the result of its last part."""
    at = _HEAD
    for number, statement in enumerate(statements, 1):
        yield at + len(statement.texts) - 1
        at += sum(1 for _ in _render_guarded(number, statement))


def query_statements(
    name: str, cluster: str, /, *, expected: int | None = None, **values: object
) -> Statement:
    """Return a named query as a statement of a packet."""
    text = render_query(name, cluster, **values)
    return Statement(text.split("; "), expected)  # hexadecimal literals have no semicolon


def _render_guarded(number: int, statement: Statement) -> Iterator[str]:
    if statement.is_count:
        literals = {"expected": str(statement.expected), "number": str(number)}
        yield render_statement(PACKETS["check_count"], literals | {"count": statement.texts[0]})
        return
    yield from statement.texts
    if statement.expected is not None:
        literals = {"expected": str(statement.expected), "number": str(number)}
        yield render_statement(PACKETS["check_rows"], literals)

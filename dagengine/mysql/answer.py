"""Parsing of the response to a statement; performs no I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from dagengine.mysql import messages
from dagengine.mysql.errors import MysqlProtocolError
from dagengine.mysql.packets import read_length
from dagengine.mysql.protocol import (
    ERROR,
    LOCAL_INFILE,
    MORE_RESULTS,
    OK,
    is_eof,
    parse_eof,
    parse_error,
    parse_ok,
)
from dagengine.mysql.text import show_text

Value: TypeAlias = str | int | float | Decimal | bytes | None
Row: TypeAlias = tuple[Value, ...]

_MAX_RESULTS = 10_000
_NAMES, _NAME = 6, 4  # catalog, schema, table, original table, name, original name
_FIXED_BYTES = 13  # length byte, character set, column length, type, flags, decimals, filler
_BINARY = 63  # the character set of columns that do not hold text
_NULL = 0xFB


@dataclass(frozen=True, slots=True)
class Bounds:
    """Upper limits for one response."""

    columns: int = 4096
    rows: int = 200_000
    values: int = 2_000_000  # a value of one byte costs up to 60 bytes of memory
    answer_bytes: int = 32 << 20


class Column(NamedTuple):
    """One column of a result.

    Attributes:
        name: column name, safe to display.
        decode: converts the bytes of a non-NULL value.
    """

    name: str
    decode: Callable[[bytes], Value]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one statement.

    Attributes:
        columns: column names; empty for a statement that returns no rows.
        affected_rows: changed rows; with `found_rows`, the rows that an UPDATE matched.
    """

    columns: tuple[str, ...] = ()
    rows: Sequence[Row] = ()
    affected_rows: int = 0
    last_insert_id: int = 0
    warnings: int = 0


class Answer:
    """Collector of the response packets of one request."""

    def __init__(self, bounds: Bounds, *, multi_statements: bool = False) -> None:
        """Create an empty response; `multi_statements` allows several results."""
        self.results: list[Result] = []
        self._bounds = bounds
        self._is_multi = multi_statements
        self._take_next: Callable[[bytes], None] | None = self._begin
        self._columns: list[Column] = []
        self._count = 0
        self._rows: list[Row] = []
        self._row_count = 0
        self._value_count = 0
        self._bytes = 0

    @property
    def is_complete(self) -> bool:
        return self._take_next is None

    def take(self, payload: bytes) -> None:
        """Process the next packet.

        Raises:
            MysqlServerError: the response is an error or ends with one.
            MysqlProtocolError: the packet is not valid at this point, or the response is too large.
        """
        self._bytes += len(payload)
        if self._bytes > self._bounds.answer_bytes:
            raise MysqlProtocolError(messages.RESPONSE_TOO_LONG(limit=self._bounds.answer_bytes))
        if payload and payload[0] == ERROR:
            raise parse_error(payload)
        if self._take_next is None:
            raise MysqlProtocolError(messages.DATA_AFTER_RESPONSE())
        self._take_next(payload)

    def _begin(self, payload: bytes) -> None:
        first = payload[0] if payload else None
        if first == OK:
            ok_packet = parse_ok(payload)
            self._end(
                Result(
                    (), (), ok_packet.affected_rows, ok_packet.last_insert_id, ok_packet.warnings
                ),
                ok_packet.status,
            )
        elif first == LOCAL_INFILE:
            # Close the connection: the empty packet that drivers send would continue the dialog.
            raise MysqlProtocolError(messages.FILE_REQUESTED())
        else:
            self._count, end = read_length(payload, 0)
            if end != len(payload) or not 0 < self._count <= self._bounds.columns:
                raise MysqlProtocolError(messages.COLUMN_COUNT(count=self._count))
            self._columns, self._rows = [], []
            self._take_next = self._take_column

    def _take_column(self, payload: bytes) -> None:
        self._columns.append(parse_column(payload))
        if len(self._columns) == self._count:
            self._take_next = self._end_columns

    def _end_columns(self, payload: bytes) -> None:
        parse_eof(payload)
        self._take_next = self._take_row

    def _take_row(self, payload: bytes) -> None:
        if is_eof(payload):
            names = tuple(column.name for column in self._columns)
            self._end(Result(names, self._rows), parse_eof(payload))
            return
        self._row_count += 1
        self._value_count += self._count
        if self._row_count > self._bounds.rows:
            raise MysqlProtocolError(messages.TOO_MANY_ROWS(limit=self._bounds.rows))
        if self._value_count > self._bounds.values:
            raise MysqlProtocolError(messages.TOO_MANY_VALUES(limit=self._bounds.values))
        self._rows.append(parse_row(payload, self._columns))

    def _end(self, result: Result, status: int) -> None:
        self.results.append(result)
        if not status & MORE_RESULTS:
            self._take_next = None
        elif not self._is_multi or len(self.results) == _MAX_RESULTS:
            raise MysqlProtocolError(messages.TOO_MANY_RESULTS())
        else:
            self._take_next = self._begin


def parse_column(payload: bytes) -> Column:
    """Parse a column definition.

    Raises:
        MysqlProtocolError: the definition is malformed, or the type is unknown.
    """
    at, names = 0, []
    for _ in range(_NAMES):
        length, begin = read_length(payload, at)
        at = begin + length
        names.append(payload[begin:at])
    fixed = payload[at:]
    if len(fixed) != _FIXED_BYTES or fixed[0] != _FIXED_BYTES - 1:
        raise MysqlProtocolError(messages.COLUMN_MALFORMED())
    charset, code = fixed[1] | fixed[2] << 8, fixed[7]
    name = show_text(names[_NAME])
    decode = _DECODERS.get(code)
    if decode is None:
        raise MysqlProtocolError(messages.COLUMN_TYPE_UNKNOWN(name=name, code=code))
    if charset == _BINARY and decode is _decode_text:
        decode = bytes
    return Column(name, decode)


def parse_row(payload: bytes, columns: Sequence[Column]) -> Row:
    """Parse the values of a row.

    Raises:
        MysqlProtocolError: the row is malformed, or a value does not have its column's type.
    """
    values: list[Value] = []
    at, size = 0, len(payload)
    for _, decode in columns:
        first = payload[at] if at < size else None
        if first == _NULL:
            values.append(None)
            at += 1
            continue
        if first is not None and first < _NULL:  # most values are short
            length, begin = first, at + 1
        else:
            length, begin = read_length(payload, at)
        at = begin + length
        if at > size:
            raise MysqlProtocolError(messages.ROW_TOO_SHORT())
        values.append(decode(payload[begin:at]))
    if at != size:
        raise MysqlProtocolError(messages.ROW_TOO_LONG())
    return tuple(values)


_INTEGER = re.compile(rb"-?[0-9]{1,64}")
_DECIMAL = re.compile(rb"-?(?:[0-9]{1,128}(?:\.[0-9]{0,128})?|\.[0-9]{1,128})")
_FLOAT = re.compile(
    rb"-?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?"
)


def _decode_integer(raw: bytes) -> int:
    if not (raw.isdigit() and len(raw) < 20) and _INTEGER.fullmatch(raw) is None:
        raise MysqlProtocolError(messages.NOT_INTEGER(value=show_text(raw, 40)))
    return int(raw)


def _decode_decimal(raw: bytes) -> Decimal:
    if _DECIMAL.fullmatch(raw) is None:
        raise MysqlProtocolError(messages.NOT_DECIMAL(value=show_text(raw, 40)))
    return Decimal(raw.decode("ascii"))


def _decode_float(raw: bytes) -> float:
    if _FLOAT.fullmatch(raw) is None or not math.isfinite(number := float(raw)):
        raise MysqlProtocolError(messages.NOT_NUMBER(value=show_text(raw, 40)))
    return number


def _decode_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise MysqlProtocolError(messages.TEXT_NOT_UTF8()) from exc


def _decode_ascii(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as exc:
        raise MysqlProtocolError(messages.TIME_OR_JSON_MALFORMED()) from exc


def _decode_utf8(raw: bytes) -> str:
    """Decode as text even if the character set of the column is binary (JSON)."""
    return _decode_text(raw)


def _decode_null(_raw: bytes) -> None:
    raise MysqlProtocolError(messages.NULL_COLUMN_HAS_VALUE())


_DECODERS: dict[int, Callable[[bytes], Value]] = {
    0: _decode_decimal,
    **dict.fromkeys((1, 2, 3, 8, 9, 13), _decode_integer),  # TINY to LONGLONG, INT24, YEAR
    **dict.fromkeys((4, 5), _decode_float),
    6: _decode_null,
    **dict.fromkeys((7, 10, 11, 12, 14), _decode_ascii),  # TIMESTAMP, DATE, TIME, DATETIME, NEWDATE
    **dict.fromkeys(
        (15, 247, 248, 253, 254), _decode_text
    ),  # VARCHAR, ENUM, SET, VAR_STRING, STRING
    **dict.fromkeys((249, 250, 251, 252), _decode_text),  # blobs; text unless binary
    16: bytes,  # BIT
    245: _decode_utf8,  # JSON
    246: _decode_decimal,
    255: bytes,  # GEOMETRY
}

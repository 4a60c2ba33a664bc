"""The audit, and its export as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from dagengine.engine.engine import Engine
from dagengine.model.records import AuditRecord
from dagengine.text import escape_controls
from dagengine.web import messages
from dagengine.web.page import Download, PageCall, PageResult, View
from dagengine.web.texts import Texts
from dagengine.web.times import Instant, make_instant

_PAGE = 50
_BATCH = 1000
_BATCHES = 20  # read at most for one page; the next page continues after them
_EXPORTED = 100_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One action. `href` is the page of its DAG; empty without a DAG."""

    at: Instant
    caller: str
    address: str
    action: str
    reason: str
    dag_id: str
    href: str


@dataclass(frozen=True, slots=True)
class AuditModel:
    """The view model of the page.

    Attributes:
        caller: value of the filter by caller.
        action: value of the filter by action.
        dag_id: value of the filter by DAG.
        rows: the actions, newest first.
        empty: sentence in place of rows; empty if there are rows.
        first_href: the first page; empty on it.
        next_href: the next page; empty on the last one.
        csv_href: the rows of all pages as CSV.
    """

    caller: str
    action: str
    dag_id: str
    rows: tuple[AuditRow, ...]
    empty: str
    first_href: str
    next_href: str
    csv_href: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """The filters of the audit; empty texts do not filter.

    Attributes:
        caller: part of the caller or its address, in any case.
        action: part of the action, in any case.
        dag_id: generic id of the DAG.
        before: the row before which the page begins.
    """

    caller: str = ""
    action: str = ""
    dag_id: str = ""
    before: int | None = None

    def accepts(self, row: AuditRecord, dag_id: str) -> bool:
        """Return whether a row passes the filters."""
        return (
            self.caller.lower() in row.by.lower()
            and self.action.lower() in row.action.lower()
            and self.dag_id in ("", dag_id)
        )

    @property
    def query(self) -> dict[str, str]:
        """Return the filters as parameters of a URL."""
        values = {"caller": self.caller, "action": self.action, "dag": self.dag_id}
        return {name: value for name, value in values.items() if value}


def parse_filter(query: Mapping[str, str]) -> AuditFilter:
    """Return the filters in the URL."""
    before = query.get("before", "")
    is_number = before.isascii() and before.isdecimal() and len(before) < 19
    caller, action, dag_id = (query.get(name, "").strip() for name in ("caller", "action", "dag"))
    return AuditFilter(caller, action, dag_id, int(before) if is_number else None)


async def show_audit(call: PageCall) -> View:
    """Show what was done, newest first."""
    chosen = parse_filter(call.query)
    rows: list[AuditRecord] = []
    read, last = 0, None
    async for row in _read_rows(call.engine, chosen.before):
        read, last = read + 1, row.audit_id
        if chosen.accepts(row, _dag_id_of(row, call.engine)):
            rows.append(row)
        if len(rows) == _PAGE or read == _BATCH * _BATCHES:
            break
    else:
        last = None
    ids = {row.dag_id: call.engine.generic_id(row.dag_id) for row in rows if row.dag_id}
    model = view_audit(rows, ids, chosen, next_before=last, now=call.now, texts=call.texts)
    return View("audit.html", model)


async def download_audit(call: PageCall) -> PageResult:
    """Return the audit as CSV, with the filters of the page."""
    chosen = parse_filter(call.query)
    rows = []
    async for row in _read_rows(call.engine, None):
        dag_id = _dag_id_of(row, call.engine)
        if chosen.accepts(row, dag_id):
            rows.append((row, dag_id))
        if len(rows) == _EXPORTED:
            break
    content = render_csv(rows).encode("utf-8-sig", "replace")
    return Download(content, "audit.csv", "text/csv; charset=utf-8")


async def _read_rows(engine: Engine, before: int | None) -> AsyncIterator[AuditRecord]:
    """Yield the rows before one of them, newest first."""
    while rows := await engine.list_audit(limit=_BATCH, before=before):
        for row in rows:
            yield row
        before = rows[-1].audit_id


def _dag_id_of(row: AuditRecord, engine: Engine) -> str:
    return engine.generic_id(row.dag_id) if row.dag_id else ""


def view_audit(
    rows: Sequence[AuditRecord],
    ids: Mapping[int, str],
    chosen: AuditFilter,
    *,
    next_before: int | None,
    now: datetime,
    texts: Texts,
) -> AuditModel:
    """Return the view model of the audit.

    Args:
        rows: the rows of this page.
        ids: the generic ids of their DAGs.
        chosen: the filters.
        next_before: the row before which the next page begins; None on the last page.
        now: the instant of the page.
        texts: the language.
    """
    next_query = {**chosen.query, "before": str(next_before)}
    return AuditModel(
        chosen.caller,
        chosen.action,
        chosen.dag_id,
        tuple(_view_row(row, ids.get(row.dag_id, ""), now, texts) for row in rows),
        "" if rows else texts(messages.NO_ACTIONS()),
        "" if chosen.before is None else "?" + urlencode(chosen.query),
        "" if next_before is None else "?" + urlencode(next_query),
        "/ui/audit/csv?" + urlencode(chosen.query),
    )


def _view_row(row: AuditRecord, dag_id: str, now: datetime, texts: Texts) -> AuditRow:
    caller, address = split_caller(row.by)
    href = f"/ui/task/{dag_id}" if dag_id else ""
    at = make_instant(row.at, now, texts)
    return AuditRow(at, caller, address, row.action, row.reason, dag_id, href)


def split_caller(by: str) -> tuple[str, str]:
    """Return who acted and from which address, as in `root@sys from 10.0.0.9 (states a@b, …)`."""
    verified, marker, claim = by.partition(" (states ")
    claim = marker + claim
    for preposition in (" from ", " at the socket"):
        caller, separator, address = verified.rpartition(preposition)
        if separator:
            return caller + claim, address or preposition.removeprefix(" at ")
    return by, ""


def render_csv(rows: Sequence[tuple[AuditRecord, str]]) -> str:
    """Return rows as CSV that no spreadsheet program takes for formulas.

    Args:
        rows: each row with the generic id of its DAG.
    """
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(["time", "caller", "address", "action", "task", "reason"])
    for row, dag_id in rows:
        caller, address = split_caller(row.by)
        fields = (row.at.isoformat(), caller, address, row.action, dag_id, row.reason)
        writer.writerow(map(_neutralise, fields))
    return output.getvalue()


def _neutralise(text: str) -> str:
    """Return the text of a cell; a spreadsheet program shows it as text (OWASP CSV injection)."""
    is_formula = text.lstrip().startswith(_FORMULA_STARTS) or text.startswith(_FORMULA_STARTS)
    text = escape_controls(text)
    return f"'{text}" if is_formula else text

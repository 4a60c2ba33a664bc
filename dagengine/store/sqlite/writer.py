"""The single writer: a thread that owns the writing connection and commits in groups.

While a commit is being flushed, new batches collect in the queue; the next commit takes all of
them. So the number of flushes does not grow with the number of callers, and a caller waits for one
thread hop (docs/decisions/0003).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from dagengine.errors import NotSerializable, StaleWrite, StoreUnavailable
from dagengine.model.changes import Batch
from dagengine.store import messages
from dagengine.store.contract import BatchRefused
from dagengine.store.sqlite.remedies import remedy_for
from dagengine.store.sqlite.writes import write_batch

T = TypeVar("T")
FileIdentity: TypeAlias = tuple[int, int]

_GROUP_LIMIT = 1000  # requests per commit; bounds the wait of the first one


@dataclass(frozen=True, slots=True)
class _Request:
    """Batches to commit, or (if `call` is set) a function to run on the connection by itself."""

    future: asyncio.Future[Any]
    batches: Sequence[Batch] = ()
    call: Callable[[sqlite3.Connection], object] | None = None


class Writer:
    """Owns the writing connection. Used from one event loop.

    Attributes:
        commits: commits since the start, not counting those made by `call`.
        batches: batches in those commits.
        request_count: requests since the start, including unanswered ones.
        ended: done when the connection is closed and the thread is about to exit.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        path: Path,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread.

        Args:
            connect: opens `path`; called in the writer's thread.
            path: the store's file.
            at_end: called last by the thread, after the connection is closed.
        """
        self._connect = connect
        self._path = path
        self._at_end = at_end
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._taken_too_many: _Request | None = None
        self.commits = 0
        self.batches = 0
        self.request_count = 0
        self._answered = 0
        self._opened: FileIdentity | None = None
        self._is_ending = False
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """True if every request is answered, so that the file contains all requested writes."""
        return self._answered == self.request_count

    async def commit(self, batches: Sequence[Batch]) -> list[BatchRefused | None]:
        """Write batches; see Store.commit."""
        return await self._request(batches=batches)  # type: ignore[no-any-return]

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection between commits."""
        return await self._request(call=function)  # type: ignore[no-any-return]

    def end(self) -> None:
        """Reject new requests and exit after the queued ones. Safe to call twice.

        No caller has to wait for it: the thread exits even if every caller is cancelled.
        """
        if not self._is_ending:
            self._is_ending = True
            self._queue.put(None)

    async def _request(self, **arguments: Any) -> Any:
        if self._is_ending:  # it would never be answered
            raise StoreUnavailable(messages.CLOSED(path=self._path))
        future: asyncio.Future[Any] = self._loop.create_future()
        self.request_count += 1
        self._queue.put(_Request(future, **arguments))
        return await future  # a cancelled caller does not stop the write

    # --- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._run_until_end()
        finally:
            self._at_end()
            self._call_back(lambda: self.ended.set_result(None))

    def _run_until_end(self) -> None:
        connection: sqlite3.Connection | None = None
        try:
            while group := self._take_group():
                try:
                    if connection is None:
                        connection, self._opened = self._connect(), identify(self._path)
                    results: list[Any] = self._serve(connection, group)
                except Exception as exc:  # noqa: BLE001  # report defects to the callers, too
                    results = [self._translate(exc)] * len(group)
                self._answer(group, results)
        finally:
            if connection is not None:
                connection.close()

    def _take_group(self) -> list[_Request]:
        """Wait for requests; return those that may share a commit. Empty means: exit."""
        first = self._taken_too_many or self._queue.get()
        self._taken_too_many = None
        if first is None:
            return []
        group = [first]
        while first.call is None and len(group) < _GROUP_LIMIT and not self._queue.empty():
            following = self._queue.get()
            if following is None or following.call is not None:
                self._put_back(following)
                break
            group.append(following)
        return group

    def _put_back(self, request: _Request | None) -> None:
        if request is None:
            self._queue.put(None)  # it is the last entry of the queue
        self._taken_too_many = request

    def _serve(self, connection: sqlite3.Connection, group: list[_Request]) -> list[Any]:
        if (call := group[0].call) is not None:
            return [call(connection)]
        try:
            return self._commit(connection, group, _write)
        except (StaleWrite, NotSerializable):
            # Rare: retry with a savepoint around every batch, to skip the rejected ones.
            return self._commit(connection, group, _write_apart)

    def _commit(
        self,
        connection: sqlite3.Connection,
        group: list[_Request],
        write: Callable[[sqlite3.Connection, Batch], BatchRefused | None],
    ) -> list[Any]:
        self.refuse_other_file()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [[write(connection, b) for b in request.batches] for request in group]
            connection.execute("COMMIT")
            self.commits += 1
            self.batches += sum(map(len, results))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def refuse_other_file(self) -> None:
        """Raise StoreUnavailable if the path no longer names the file that was opened.

        SQLite keeps writing to an unlinked file; everything written is lost when it is closed.
        """
        if identify(self._path) != self._opened:
            raise StoreUnavailable(
                messages.FILE_REPLACED(path=self._path),
                remedy=messages.RESTORE_FILE(),
            )

    def _translate(self, exc: Exception) -> Exception:
        if not isinstance(exc, sqlite3.Error | OSError):
            return exc
        error = StoreUnavailable(
            messages.UNWRITABLE(path=self._path, reason=exc),
            remedy=remedy_for(exc, self._path),
        )
        error.__cause__ = exc
        return error

    def _answer(self, group: list[_Request], results: list[Any]) -> None:
        def resolve() -> None:
            self._answered += len(group)
            for request, result in zip(group, results, strict=True):
                if request.future.done():
                    continue  # the caller was cancelled
                if isinstance(result, Exception):
                    request.future.set_exception(result)
                else:
                    request.future.set_result(result)

        self._call_back(resolve)

    def _call_back(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so no caller is waiting
            self._loop.call_soon_threadsafe(function)


def identify(path: Path) -> FileIdentity | None:
    """Return device and inode of the file at a path; None if it does not exist."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _write(connection: sqlite3.Connection, batch: Batch) -> None:
    write_batch(connection, batch)


def _write_apart(connection: sqlite3.Connection, batch: Batch) -> BatchRefused | None:
    connection.execute("SAVEPOINT batch")
    try:
        write_batch(connection, batch)
    except (StaleWrite, NotSerializable) as exc:
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
        return exc
    connection.execute("RELEASE batch")
    return None

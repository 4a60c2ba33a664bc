"""Sends guarded packets on one connection, and finds out whether they were written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from dagengine.errors import OwnershipLost, StoreUnavailable
from dagengine.model.fencing import Ownership
from dagengine.mysql import Connection, MysqlError, MysqlServerError, Result, Row
from dagengine.store import messages
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.packet import (
    GUARD_FAILED,
    Verdict,
    decide_verdict,
    find_failed,
    find_results,
    is_result_unknown,
    render_packet,
)
from dagengine.store.mysql.plan import Statement
from dagengine.store.mysql.settings import MysqlSettings
from dagengine.store.mysql.statements import render_query

_RETRY_S = 0.2
_VALUE_ERRORS = {
    1062: messages.VALUE_TAKEN,
    1406: messages.VALUE_TOO_LONG,
    1264: messages.VALUE_OUT_OF_RANGE,
    **dict.fromkeys((1048, 1292, 1364, 1366), messages.VALUE_REJECTED),
}
_log = structlog.get_logger("dagengine.store")


class Refused(Exception):
    """Raised when nothing of a packet was written, because of one statement in it.

    Attributes:
        number: number of the statement, from 1; 0 if it is not known.
        reason: why the database rejects a value; empty if the guard does not hold.
    """

    def __init__(self, number: int, reason: str = "") -> None:
        super().__init__(number, reason)
        self.number = number
        self.reason = reason


class PacketLink:
    """The writing connection of a cluster's owner. Use it from one task.

    Attributes:
        commit_no: number of the last commit.
        commits: commits since the link was created.
    """

    def __init__(self, settings: MysqlSettings, ownership: Ownership) -> None:
        self._settings = settings
        self._ownership = ownership
        self._connection: Connection | None = None
        self._closing = asyncio.Event()
        self._lost: OwnershipLost | None = None
        self.commit_no = ownership.commit_no
        self.commits = 0

    @property
    def cluster(self) -> str:
        return self._ownership.cluster

    def close_soon(self) -> None:
        """Stop waiting for a database that does not answer."""
        self._closing.set()

    def close(self) -> None:
        """Close the connection; the database ends a transaction of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def open(self) -> Connection:
        """Return the connection; open it if necessary.

        Raises:
            StoreUnavailable: the database cannot be used; nothing was sent.
        """
        self.check_owned()
        if self._connection is None or not self._connection.is_open:
            self.close()
            self._connection = await open_store_connection(self._settings)
        return self._connection

    def check_owned(self) -> None:
        """Raise OwnershipLost if the cluster has been lost."""
        if self._lost is not None:
            raise self._lost

    async def read(self, statement: str) -> Sequence[Row]:
        """Return the rows of a query.

        Raises:
            StoreUnavailable: the database cannot be read.
        """
        connection = await self.open()
        try:
            return (await connection.query(statement)).rows
        except MysqlError as exc:
            self.close()
            raise connect_error(self._settings, exc) from exc

    async def read_commit(self) -> None:
        """Read the number of the last commit and check the ownership.

        Raises:
            OwnershipLost: another controller owns the cluster.
            StoreUnavailable: the database cannot be read.
        """
        rows = await self.read(render_query("find_commit", self.cluster))
        row = rows[0] if rows else None
        if decide_verdict(row, self._ownership, self.commit_no) is Verdict.FENCED:
            raise self._fenced()
        assert row is not None
        number = row[2]
        assert isinstance(number, int)
        self.commit_no = number

    async def send(self, statements: Sequence[Statement]) -> Sequence[Result] | None:
        """Write statements in one transaction.

        Returns:
            The result of the last part of each statement; None if they were written but the
            response was lost.

        Raises:
            Refused: nothing was written, because of one of the statements.
            OwnershipLost: nothing was written, because another controller owns the cluster.
            StoreUnavailable: nothing was written, as far as can be known.
        """
        packet = render_packet(self._ownership, self.commit_no, statements)
        is_last_try = False
        while True:
            connection = await self.open()
            try:
                results = await connection.query_all(packet)
            except MysqlError as exc:
                if await self._is_written(connection, statements, exc):
                    self._count()
                    return None
                if is_last_try:
                    raise connect_error(self._settings, exc) from exc
            else:
                self._count()
                return [results[position] for position in find_results(statements)]
            is_last_try = self._closing.is_set()  # otherwise a slow database would keep it open
            await self._pause()

    async def _is_written(
        self, connection: Connection, statements: Sequence[Statement], exc: MysqlError
    ) -> bool:
        """Return whether a packet was written that failed; False if it can be sent again.

        Raises the errors of `send`.
        """
        if isinstance(exc, MysqlServerError) and exc.number in _VALUE_ERRORS:
            await self._refuse(connection, statements, exc)
            return False
        self.close()
        if not isinstance(exc, MysqlServerError):
            return exc.result_unknown and await self._find_out(exc)
        written = await self._find_out(exc)
        if not written and not is_result_unknown(exc.number):
            raise connect_error(self._settings, exc) from exc
        return written

    def _count(self) -> None:
        self.commit_no += 1
        self.commits += 1

    async def _refuse(
        self, connection: Connection, statements: Sequence[Statement], exc: MysqlServerError
    ) -> None:
        """End the transaction at once, because it holds row locks; then find the reason.

        Returns if the reason was not found, so that the packet can be sent again.
        """
        try:
            ((bad,),) = (await connection.query(render_query("refuse_packet", self.cluster))).rows
        except MysqlError as error:
            self.close()
            bad = None
            _log.warning("store_packet_refused", cluster=self.cluster, error=str(error))
        if await self._find_out(exc):
            raise self._defect()
        if exc.number != GUARD_FAILED or bad == 0:
            reason = _VALUE_ERRORS[exc.number](number=exc.number)
            raise Refused(find_failed(statements, exc.completed), reason)
        if isinstance(bad, int) and bad > 0:
            raise Refused(bad)
        if bad == -1:  # the cluster's row is as expected and yet did not match
            raise self._defect()

    async def _find_out(self, exc: MysqlError) -> bool:
        """Return whether the last packet was written; wait until the database answers.

        Raises:
            OwnershipLost: another controller owns the cluster, or its row is inconsistent.
            StoreUnavailable: the store is being closed and the database does not answer.
        """
        while True:
            try:
                rows = await self.read(render_query("find_commit", self.cluster))
                break
            except StoreUnavailable as error:
                if self._closing.is_set():
                    raise StoreUnavailable(
                        messages.RESULT_UNKNOWN(cluster=self.cluster, reason=exc.message)
                    ) from error
                await self._pause()
        verdict = decide_verdict(rows[0] if rows else None, self._ownership, self.commit_no)
        if not (isinstance(exc, MysqlServerError) and exc.number in _VALUE_ERRORS):
            _log.warning(
                "store_result_checked", cluster=self.cluster, verdict=verdict.name, error=str(exc)
            )
        match verdict:
            case Verdict.FENCED:
                raise self._fenced()
            case Verdict.DEFECT:
                raise self._defect()
            case Verdict.WRITTEN | Verdict.NOT_WRITTEN:
                return verdict is Verdict.WRITTEN

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(_RETRY_S):
                await self._closing.wait()
        except TimeoutError:
            pass

    def _fenced(self) -> OwnershipLost:
        ownership = self._ownership
        return self._lose(
            messages.OWNERSHIP_LOST(
                owner=ownership.owner, cluster=ownership.cluster, epoch=ownership.epoch
            )
        )

    def _defect(self) -> OwnershipLost:
        """Return the error for a commit that this link did not make: the engine must end."""
        return self._lose(messages.COMMITS_DIFFER(cluster=self.cluster, number=self.commit_no))

    def _lose(self, message: str) -> OwnershipLost:
        self._lost = OwnershipLost(message)
        self.close()
        return self._lost

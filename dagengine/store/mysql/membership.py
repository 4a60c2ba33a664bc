"""Membership and ownership in the tables of a shared store: `MembershipStore` on MySQL."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

from dagengine.errors import MembershipRefused, StoreUnavailable
from dagengine.model.fencing import Ownership
from dagengine.mysql import (
    Connection,
    MysqlError,
    MysqlServerError,
    Result,
    Row,
    Value,
)
from dagengine.runtime.clock import Clock
from dagengine.store import messages
from dagengine.store.membership import (
    ClusterPins,
    ClusterRecord,
    ControllerRecord,
    ControllerState,
    Fleet,
    JoiningController,
    ServedCluster,
)
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.migrate import check_schema, newest_version
from dagengine.store.mysql.settings import MysqlSettings, SessionLimits
from dagengine.store.mysql.statements import render_literal, render_statement
from dagengine.store.queries import parse_queries, read_sql

_DUPLICATE_KEY = 1062
_FORGET_S = 600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_QUERIES = parse_queries(read_sql(__package__ or "", "membership.sql"))
# All tables with rows of a cluster, except `cluster`, whose row is locked while they are deleted.
_TABLES = (
    *("dag", "node", "sub_task", "attempt", "log", "event", "`lock`", "unconfirmed_target"),
    *("audit", "idempotency_key", "reserved_request", "token", "session"),
    *("id_seq", "cluster_meta", "controller_cluster"),
)

_Parameter = str | int | bytes | None


class MysqlMembership:
    """A MembershipStore with one connection, which is opened on first use and after each error.

    Args:
        settings: the database.
        clock: source of the instants that people read.
        random_bytes: source of the ids of stores, such as `secrets.token_bytes`.
    """

    def __init__(
        self, settings: MysqlSettings, clock: Clock, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._random_bytes = random_bytes
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def join(self, joining: JoiningController) -> int:
        """See MembershipStore."""
        async with self._turn:
            await self._pin_service(joining)
            while not (result := await self._one("next_controller_id")).affected_rows:
                await self._insert("insert_controller_ids")
            controller_id = result.last_insert_id
            await self._insert_controller(controller_id, joining)
            return controller_id

    async def announce(self, controller_id: int, served: Sequence[ServedCluster]) -> None:
        """See MembershipStore."""
        statements = [
            "BEGIN",
            _render("delete_announced", controller_id=controller_id),
            *(
                _render(
                    "insert_announced",
                    controller_id=controller_id,
                    cluster=each.cluster,
                    url=each.url,
                    file_digest=each.file_digest,
                    ready=int(each.ready),
                )
                for each in served
            ),
            "COMMIT",
        ]
        async with self._turn:
            await self._send(statements)

    async def pin_cluster(self, pins: ClusterPins) -> ClusterPins:
        """See MembershipStore."""
        async with self._turn:
            while True:
                rows = (await self._one("read_pins", name=pins.name)).rows
                if not rows:
                    store_id = self._random_bytes(16)
                    await self._insert("insert_cluster", **asdict(pins), store_id=store_id)
                    continue
                cluster_id, flavour, advertise = rows[0]
                pinned = ClusterPins(pins.name, _int(cluster_id), _text(flavour), _text(advertise))
                if pinned.is_complete or not pins.is_complete:
                    return pinned
                await self._one("complete_pins", **asdict(pins))

    async def beat(self, controller_id: int) -> bool:
        """See MembershipStore."""
        return await self._changes_row("beat", controller_id=controller_id, now=self._now())

    async def read_fleet(self) -> Fleet:
        """See MembershipStore. The rows of controllers are read last, see Fleet.is_vacant."""
        names = ("read_clusters", "read_announced", "read_controllers")
        async with self._turn:
            clusters, announced, controllers = await self._send([_QUERIES[name] for name in names])
        served: dict[int, list[ServedCluster]] = defaultdict(list)
        for controller_id, cluster, url, digest, ready in announced.rows:
            entry = ServedCluster(_text(cluster), _text(url), _text(digest), bool(ready))
            served[_int(controller_id)].append(entry)
        records = [_parse_cluster(row) for row in clusters.rows]
        members = [_parse_controller(row) for row in controllers.rows]
        return Fleet(
            {member.controller_id: member for member in members},
            {record.name: record for record in records},
            dict(served),
        )

    async def declare_dead(self, controller_id: int, *, beat: int) -> bool:
        """See MembershipStore."""
        return await self._changes_row("declare_dead", controller_id=controller_id, beat=beat)

    async def take_over(self, seen: ClusterRecord, controller_id: int) -> Ownership | None:
        """See MembershipStore."""
        fields = {"name": seen.name, "owner": seen.owner, "epoch": seen.epoch}
        update = _render("take_over", controller_id=controller_id, **fields)
        async with self._turn:
            done, read = await self._send([update, _render("read_owner", name=seen.name)])
        if not done.affected_rows or not read.rows:
            return None
        owner, epoch, commit_no = (None if each is None else _int(each) for each in read.rows[0])
        if owner != controller_id or epoch is None or commit_no is None:
            return None  # another controller took it between the two statements
        return Ownership(seen.name, controller_id, epoch, commit_no)

    async def give_away(self, ownership: Ownership, reserved_for: int | None) -> bool:
        """See MembershipStore."""
        return await self._changes_row(
            "give_away",
            name=ownership.cluster,
            owner=ownership.owner,
            epoch=ownership.epoch,
            reserved_for=reserved_for,
        )

    async def leave(self, controller_id: int) -> None:
        """See MembershipStore."""
        await self._changes_row("leave", controller_id=controller_id)

    async def forget_controllers(self, controller_ids: Collection[int]) -> int:
        """See MembershipStore."""
        deleted = 0
        async with self._turn:
            for id_ in controller_ids:
                names = ("delete_controller", "delete_orphans")
                done = await self._send([_render(name, controller_id=id_) for name in names])
                deleted += done[0].affected_rows
        return deleted

    async def forget_cluster(self, name: str) -> None:
        """See MembershipStore."""
        long = replace(_limits_of(self._settings), statement_s=_FORGET_S, response_s=_FORGET_S)
        connection = await open_store_connection(self._settings, long)
        try:
            await self._forget_cluster(connection, name)
        except MysqlError as exc:
            raise connect_error(self._settings, exc) from exc
        finally:
            connection.close()

    async def close(self) -> None:
        """See MembershipStore."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _insert_controller(self, controller_id: int, joining: JoiningController) -> None:
        insert = _render(
            "insert_controller",
            controller_id=controller_id,
            name=joining.name,
            version=joining.version,
            now=self._now(),
            schema_version=newest_version(),
        )
        statements = ["BEGIN", _QUERIES["lock_compatible_from"], insert, "COMMIT"]
        while not (await self._send(statements))[2].affected_rows:
            await self.close()  # the next connection checks the schema, and is refused

    async def _pin_service(self, joining: JoiningController) -> None:
        lease_s = f"{joining.lease_s:g}"
        pinned = await self._pin("lease_s", lease_s)
        if pinned != lease_s:
            raise MembershipRefused(
                messages.LEASE_DIFFERS(own=lease_s, pinned=pinned, store=self._settings),
                remedy=messages.CORRECT_LEASE(pinned=pinned),
            )
        fingerprint = await self._pin("rsa_fingerprint", joining.key_fingerprint)
        if fingerprint != joining.key_fingerprint:
            raise MembershipRefused(
                messages.KEY_DIFFERS(
                    own=joining.key_fingerprint[:16],
                    pinned=fingerprint[:16],
                    store=self._settings,
                ),
                remedy=messages.COPY_KEY(),
            )

    async def _pin(self, name: str, value: str) -> str:
        while not (rows := (await self._one("read_meta", name=name)).rows):
            await self._insert("insert_meta", name=name, value=value)
        return _text(rows[0][0])

    async def _forget_cluster(self, connection: Connection, name: str) -> None:
        await connection.query("BEGIN")
        if not (await connection.query(_render("lock_cluster", name=name))).rows:
            raise MembershipRefused(
                messages.CLUSTER_UNKNOWN(cluster=name),
                remedy=messages.CHECK_CLUSTER_NAME(),
            )
        ((count,),) = (await connection.query(_render("count_unfinished", name=name))).rows
        if count:
            raise MembershipRefused(
                messages.CLUSTER_UNFINISHED(name=name, count=count), remedy=messages.FINISH_DAGS()
            )
        servers = (await connection.query(_render("find_servers", name=name))).rows
        if servers:
            names = ", ".join(sorted({_text(row[0]) for row in servers}))
            raise MembershipRefused(
                messages.CLUSTER_SERVED(name=name, controllers=names),
                remedy=messages.REMOVE_FROM_FILES(),
            )
        for table in _TABLES:
            condition = f"WHERE cluster = {render_literal(name)}"
            await connection.query(f"DELETE FROM {table} {condition}")  # noqa: S608  # constants
        await connection.query(_render("delete_cluster", name=name))
        await connection.query("COMMIT")

    async def _changes_row(self, query: str, **parameters: _Parameter) -> bool:
        async with self._turn:
            return (await self._one(query, **parameters)).affected_rows == 1

    async def _insert(self, query: str, **parameters: _Parameter) -> None:
        """Insert a row, unless another controller has inserted it."""
        try:
            await self._one(query, **parameters)
        except StoreUnavailable as exc:
            cause = exc.__cause__
            if not (isinstance(cause, MysqlServerError) and cause.number == _DUPLICATE_KEY):
                raise

    async def _one(self, query: str, **parameters: _Parameter) -> Result:
        return (await self._send([_render(query, **parameters)]))[0]

    async def _send(self, statements: Sequence[str]) -> Sequence[Result]:
        """Execute statements in one request. After any error the connection is closed.

        An error of the server leaves the transaction of an earlier statement open.
        """
        connection = await self._connected()
        try:
            return await connection.query_all("; ".join(statements))
        except MysqlError as exc:
            await self.close()
            raise connect_error(self._settings, exc) from exc

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            connection = await open_store_connection(self._settings, _limits_of(self._settings))
            try:
                await check_schema(connection, self._settings)
            except MysqlError as exc:
                connection.close()
                raise connect_error(self._settings, exc) from exc
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(microseconds=1)


def _limits_of(settings: MysqlSettings) -> SessionLimits:
    """Return limits within which a heartbeat can be repeated before the lease ends."""
    response_s = max(1.0, 0.6 * settings.lease_s)
    return replace(
        settings.limits,
        lock_s=0.5 * response_s,
        statement_s=0.9 * response_s,
        response_s=response_s,
    )


def _render(query: str, **parameters: _Parameter) -> str:
    literals = {name: render_literal(value) for name, value in parameters.items()}
    return render_statement(_QUERIES[query], literals)


def _parse_cluster(row: Row) -> ClusterRecord:
    name, cluster_id, flavour, advertise, store_id, owner, reserved_for, epoch, commit_no = row
    pins = ClusterPins(_text(name), _int(cluster_id), _text(flavour), _text(advertise))
    return ClusterRecord(
        pins,
        store_id.hex() if isinstance(store_id, bytes) else _text(store_id),
        None if owner is None else _int(owner),
        None if reserved_for is None else _int(reserved_for),
        _int(epoch),
        _int(commit_no),
    )


def _parse_controller(row: Row) -> ControllerRecord:
    controller_id, name, version, state, beat, started_at, seen_at = row
    return ControllerRecord(
        _int(controller_id),
        _text(name),
        _text(version),
        ControllerState(_text(state)),
        _int(beat),
        _instant(started_at),
        _instant(seen_at),
    )


def _instant(value: Value) -> datetime:
    return _EPOCH + timedelta(microseconds=_int(value))


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _text(value: Value) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)

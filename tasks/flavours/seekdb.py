"""seekdb: each server is a separate database, so a cluster has no commands of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from dagengine import Failed, Outcome, Problem, StepContext, Succeeded
from dagengine.errors import DagengineError
from dagengine.mysql import Connection
from tasks.cluster.access import ClusterAccess
from tasks.cluster.flavour import Flavour
from tasks.cluster.observation import TableRow
from tasks.cluster.parameters import load_parameters
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.cluster.servers import Server
from tasks.errors import ForceStopOrTerminateRequired
from tasks.flavours import messages
from tasks.flavours.base import ServiceReport, StopMode
from tasks.flavours.checkpoints import Checkpoints, log_nothing_to_freeze, wait_for_growth
from tasks.flavours.stop_safety import force_required_error
from tasks.sql.access import SqlPeerRefused
from tasks.sql.cluster import MINOR_FREEZE, ClusterSql, open_cluster_sql, parse_checkpoint
from tasks.sql.connection import SqlNotReady, SqlPasswordRefused, SqlRefused

SEEKDB = Flavour(
    name="seekdb",
    program="bin/seekdb",
    log="log/seekdb.log",
    can_initialise=True,
    forms_cluster=False,
    sets_root_password=True,
    command_line=lambda home: (f"{home}/bin/seekdb", "--base-dir", home),
    busy_status=96,
    rpc_option="enable_rpc_service",
    parameters=load_parameters(),
    redo_subdirectory="redo",
)

_QUERY_TIMEOUT_S = 5.0  # limit for the database to answer the checks of a request
_CHECKPOINT = "SELECT MIN(checkpoint_scn) FROM oceanbase.__all_virtual_ls_info"


@dataclass(frozen=True, slots=True)
class SeekdbActions:
    """Database actions of seekdb; a server cannot be taken out of service."""

    access: ClusterAccess

    async def start_cluster(self, context: StepContext, scope: RequestedScope) -> Outcome:
        del scope
        await context.log(messages.CLUSTER_START_UNNECESSARY())
        return Succeeded()

    async def confirm_service(self, context: StepContext, names: Sequence[str]) -> ServiceReport:
        del context
        return ServiceReport({name: {"level": "sql", "verified": True} for name in names})

    async def check_stop(self, mode: StopMode, scope: ScopeKind, targets: Sequence[str]) -> None:
        if mode is StopMode.PLAIN:
            raise _plain_stop_error(scope)
        if mode is StopMode.FORCE:
            return
        servers = [self.access.server(name) for name in targets]
        refused: list[SqlPeerRefused] = []
        queries = (self._query_checkpoint(server, refused) for server in servers)
        if all(checkpoint is None for checkpoint in await asyncio.gather(*queries)):
            raise force_required_error(
                messages.SERVERS_UNREACHABLE(), messages.SEND_FORCE(), refused
            )

    async def freeze(self, context: StepContext, names: Sequence[str]) -> Outcome:
        servers = [self.access.server(name) for name in names]
        refused: list[SqlPeerRefused] = []

        async def read() -> Checkpoints:
            refused.clear()
            queries = (self._query_checkpoint(server, refused) for server in servers)
            checkpoints = zip(servers, await asyncio.gather(*queries), strict=True)
            return {server.name: scn for server, scn in checkpoints if scn is not None}

        before = await read()
        for error in refused:
            await context.log(messages.FREEZE_SKIPPED(reason=error))
        if not before:
            return await log_nothing_to_freeze(context)
        problems = []
        for server in servers:
            if server.name not in before:
                continue
            try:
                async with self._open(server) as sql:
                    await sql.execute(MINOR_FREEZE)
            except (SqlNotReady, SqlPasswordRefused, SqlRefused) as exc:
                message = messages.FREEZE_FAILED(server=server.name, reason=exc.message)
                problems.append(Problem(exc.err_code, message, messages.RETRY_OR_PASS_FREEZE()))
        if problems:
            for problem in problems[:-1]:
                await context.log(problem.render())
            return Failed(problems[-1])
        return await wait_for_growth(context, self.access, before, read)

    async def stop_by_sql(self, context: StepContext, scope: RequestedScope) -> Outcome:
        del context, scope
        message, remedy = messages.STOP_BY_SQL_UNSUPPORTED(), messages.STOP_PROCESS()
        return Failed(Problem(SqlRefused.err_code, message, remedy))

    def render_freeze(self, server: Server) -> str:
        del server
        return MINOR_FREEZE

    def render_plain_stop(self, server: Server, scope: ScopeKind) -> str:
        del server
        raise _plain_stop_error(scope)

    async def query_table(
        self, connection: Connection
    ) -> Mapping[tuple[str, int], TableRow] | None:
        del connection
        return None

    # --- internal functions ---

    def _open(self, server: Server) -> AbstractAsyncContextManager[ClusterSql]:
        return open_cluster_sql(self.access, [server], 0)

    async def _query_checkpoint(self, server: Server, refused: list[SqlPeerRefused]) -> int | None:
        try:
            async with asyncio.timeout(_QUERY_TIMEOUT_S), self._open(server) as sql:
                return await sql.query(_CHECKPOINT, parse_checkpoint)
        except SqlPeerRefused as exc:
            refused.append(exc)
        except (DagengineError, TimeoutError):
            pass  # this server does not answer
        return None


def _plain_stop_error(scope: ScopeKind) -> ForceStopOrTerminateRequired:
    return ForceStopOrTerminateRequired(
        messages.PLAIN_STOP_UNSUPPORTED(scope=scope), remedy=messages.SEND_TERMINATE_OR_FORCE()
    )

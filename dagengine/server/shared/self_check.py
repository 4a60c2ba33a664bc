"""Read-only checks of a shared store: the part of `dagengine doctor` that reads the database."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from secrets import token_bytes

from dagengine.errors import ConfigError, StoreError
from dagengine.mysql import Connection, MysqlError
from dagengine.runtime.clock import SystemClock
from dagengine.security.server_key import load_or_create_key
from dagengine.server.config import EngineConfig
from dagengine.server.self_check import SelfCheckResult, SelfCheckStatus, inspect_file
from dagengine.server.shared import messages
from dagengine.server.shared.settings import read_settings, render_fingerprint
from dagengine.store.membership import Fleet
from dagengine.store.mysql.connection import connect_error, open_store_connection
from dagengine.store.mysql.identity import (
    ServerIdentity,
    find_managed,
    find_meta_value,
    find_server_identity,
    read_server_identity,
)
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.migrate import check_schema, newest_version
from dagengine.store.mysql.migrations.steps import (
    SchemaState,
    find_contract_steps,
    load_schema,
)
from dagengine.store.mysql.settings import MysqlSettings

_OK, _WARN, _BAD = SelfCheckStatus.OK, SelfCheckStatus.WARN, SelfCheckStatus.BAD


@dataclass(frozen=True, slots=True)
class PinnedValues:
    """What the store has pinned for all controllers; None before the first one.

    Attributes:
        lease_s: as text.
        fingerprint: of the RSA key.
    """

    lease_s: str | None
    fingerprint: str | None


async def inspect_shared_store(config: EngineConfig) -> list[SelfCheckResult]:
    """Check the shared store of an engine file; empty if it has none.

    Safe while controllers run: it only reads, and joins nothing.
    """
    if config.store.url is None:
        return []
    results: list[SelfCheckResult] = []
    if (path := config.store.password_file) is not None:
        results.append(inspect_file(path, "password of the store", is_secret=True))
    if (path := config.store.tls_ca_file) is not None:
        results.append(inspect_file(path, "CA of the store", is_secret=False))
    try:
        settings = read_settings(config)
        connection = await open_store_connection(settings)
    except (ConfigError, StoreError) as exc:
        return [*results, _result(config.store.url, "store", _BAD, exc.message, exc.remedy)]
    try:
        with closing(connection):
            results.append(describe_schema(settings, await check_schema(connection, settings)))
            results += await _inspect_server(connection, settings)
            pinned = PinnedValues(
                await find_meta_value(connection, "lease_s"),
                await find_meta_value(connection, "rsa_fingerprint"),
            )
        fleet = await _read_fleet(settings)
    except MysqlError as exc:
        error = connect_error(settings, exc)
        return [*results, _result(settings, "store", _BAD, error.message, error.remedy)]
    except StoreError as exc:
        return [*results, _result(settings, "store", _BAD, exc.message, exc.remedy)]
    results.append(compare_lease(settings, pinned))
    results.append(await asyncio.to_thread(_inspect_key, config.key_file, pinned))
    names = [cluster.name for cluster in config.cluster_configs]
    return [*results, *inspect_fleet(fleet, str(settings), names)]


async def read_store_identity(config: EngineConfig) -> ServerIdentity | None:
    """Return the identity of the server of an engine file's shared store.

    Returns:
        None if the store is not shared or cannot be read, which `inspect_shared_store` reports.
    """
    if config.store.url is None:
        return None
    try:
        settings = read_settings(config)
        with closing(await open_store_connection(settings)) as connection:
            return await read_server_identity(connection, f"{settings.host}:{settings.port}")
    except (ConfigError, StoreError, MysqlError):
        return None


def compare_with_store(
    cluster: str, store: ServerIdentity, managed: Sequence[ServerIdentity]
) -> SelfCheckResult:
    """Check that a shared store is on no server of a cluster that its controllers manage.

    Args:
        cluster: name of the cluster.
        store: identity of the store's server.
        managed: identities of the cluster's servers that answer SQL.
    """
    check = "servers and store"
    if find_managed(store, managed) is None:
        return _result(cluster, check, _OK, messages.STORE_ELSEWHERE(count=len(managed)))
    message = messages.STORE_MANAGED(store=store.address, cluster=cluster)
    return _result(cluster, check, _BAD, message, messages.USE_META_CLUSTER())


def compare_lease(settings: MysqlSettings, pinned: PinnedValues) -> SelfCheckResult:
    """Compare the lease of the engine file with that of the store."""
    own = f"{settings.lease_s:g}"
    if pinned.lease_s in (None, own):
        return _result(settings, "lease", _OK, messages.LEASE_EQUAL(lease_s=own))
    message = messages.LEASE_OTHER(own=own, pinned=pinned.lease_s)
    return _result(settings, "lease", _BAD, message, messages.SET_LEASE(pinned=pinned.lease_s))


def describe_schema(settings: MysqlSettings, state: SchemaState) -> SelfCheckResult:
    """Report the schema of a store that this program may use."""
    own = newest_version()
    if state.version > own:
        lowest = state.compatible_from
        message = messages.SCHEMA_NEWER(version=state.version, lowest=lowest, own=own)
        return _result(settings, "store", _WARN, message, messages.FINISH_UPGRADE())
    if postponed := find_contract_steps(load_schema(), state):
        steps = ", ".join(map(str, postponed))
        message = messages.STEPS_POSTPONED(version=state.version, steps=steps)
        return _result(settings, "store", _WARN, message, messages.RUN_MIGRATE(store=settings))
    return _result(settings, "store", _OK, messages.SCHEMA_CURRENT(version=state.version))


def inspect_fleet(fleet: Fleet, store: str, names: Collection[str]) -> Iterator[SelfCheckResult]:
    """Check controllers and clusters as the store has them.

    Args:
        fleet: all controllers and clusters.
        store: name of the store.
        names: the clusters of the engine file.
    """
    live = [fleet.controllers[id_] for id_ in fleet.live()]
    versions = sorted({record.version for record in live})
    listed = ", ".join(f"{record.name} ({record.version})" for record in live)
    message = messages.CONTROLLERS(count=len(live), controllers=listed or "-")
    if len(versions) > 1:
        yield _result(store, "controllers", _WARN, message, messages.FINISH_UPGRADE())
    else:
        yield _result(store, "controllers", _OK, message)
    if not live:
        return
    for name in sorted({*names, *fleet.clusters}):
        yield _inspect_cluster(fleet, name, len(live))


def _inspect_cluster(fleet: Fleet, name: str, live: int) -> SelfCheckResult:
    digests: defaultdict[str, list[str]] = defaultdict(list)
    for id_ in fleet.live():
        for served in fleet.served.get(id_, ()):
            if served.cluster == name:
                digests[served.file_digest].append(fleet.controllers[id_].name)
    able = [fleet.controllers[id_].name for id_ in fleet.live() if name in fleet.ready_for(id_)]
    if not able:
        return _result(name, "owner", _BAD, messages.SERVED_BY_NONE(), messages.ADD_CLUSTER_FILE())
    if len(digests) > 1:
        groups = " / ".join(sorted(", ".join(sorted(each)) for each in digests.values()))
        message = messages.FILES_DIFFER(groups=groups)
        return _result(name, "cluster files", _WARN, message, messages.COPY_CLUSTER_FILE())
    if len(able) == 1 and live > 1:
        message = messages.SERVED_BY_ONE(controller=able[0])
        return _result(name, "owner", _WARN, message, messages.ADD_CLUSTER_FILE())
    message = messages.SERVED_BY(controllers=", ".join(able))
    return _result(name, "owner", _OK, message)


async def _inspect_server(connection: Connection, settings: MysqlSettings) -> list[SelfCheckResult]:
    identity = await read_server_identity(connection, f"{settings.host}:{settings.port}")
    pinned = await find_server_identity(connection)
    check = "server of the store"
    results = [_result(settings, check, _OK, messages.SERVER_SAME())]
    if pinned is not None and not identity.is_same_server(pinned):
        message = messages.SERVER_OTHER(address=pinned.address)
        results = [_result(settings, check, _BAD, message, messages.CORRECT_OR_RENEW())]
    if identity.is_single_server:
        results.append(_result(settings, "redundancy", _WARN, messages.SINGLE_SERVER()))
    return results


def _inspect_key(path: Path | None, pinned: PinnedValues) -> SelfCheckResult:
    check = "key of the service"
    if path is None:
        return _result("api.key_file", check, _BAD, messages.KEY_NOT_NAMED(), messages.COPY_KEY())
    if not path.exists():
        if pinned.fingerprint is None:
            return _result(path, check, _OK, messages.KEY_CREATED_LATER())
        return _result(path, check, _BAD, messages.KEY_ABSENT(), messages.COPY_KEY())
    try:
        with closing(load_or_create_key(path)) as key:
            own = render_fingerprint(key)
    except ConfigError as exc:
        return _result(path, check, _BAD, exc.message, exc.remedy)
    if pinned.fingerprint not in (None, own):
        return _result(path, check, _BAD, messages.KEY_OTHER(), messages.COPY_KEY())
    return inspect_file(path, check, is_secret=True)


async def _read_fleet(settings: MysqlSettings) -> Fleet:
    membership = MysqlMembership(settings, SystemClock(), token_bytes)
    try:
        return await membership.read_fleet()
    finally:
        await membership.close()


def _result(
    subject: object, check: str, health: SelfCheckStatus, message: str, remedy: str = ""
) -> SelfCheckResult:
    return SelfCheckResult(str(subject), check, health, message, remedy)

"""`dagengine store migrate` and `dagengine store copy`: commands on shared stores."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dagengine.cli import messages
from dagengine.cli.views.screen import print_lines
from dagengine.errors import ConfigError
from dagengine.runtime.clock import SystemClock
from dagengine.store.copy import copy_to_database, copy_to_file, list_clusters
from dagengine.store.mysql.migrate import migrate_store
from dagengine.store.mysql.settings import MysqlSettings, parse_store_url

if TYPE_CHECKING:
    from dagengine.server.config import EngineConfig

_SCHEME = "mysql://"
_CLUSTER = re.compile(r"[a-z0-9-]{1,32}")
_SERVICE, _SUFFIX = "service", ".sqlite"


@dataclass(frozen=True, slots=True)
class _Job:
    """One file and the cluster whose data it has; the empty name is the service."""

    path: Path
    cluster: str


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """Files for the access to the database; see `parse_store_url`."""

    password_file: Path | None = None
    tls_ca_file: Path | None = None

    def parse_url(self, url: str) -> MysqlSettings:
        """Return the settings of a database.

        Raises:
            ConfigError: the address is invalid, or a file cannot be used.
        """
        return parse_store_url(url, password_file=self.password_file, tls_ca_file=self.tls_ca_file)


def migrate_stores(places: Sequence[str], files: AccessFiles) -> None:
    """Create the schema of a shared store, or upgrade it while controllers run.

    A contract step that has to wait for controllers is reported; it is not an error.

    Raises:
        ConfigError: the arguments are not one address of a database.
        StoreError: the database cannot be used, or another process migrates it.
    """
    if len(places) != 1 or not is_url(places[0]):
        raise ConfigError(messages.MIGRATE_PLACES(), remedy=messages.NAME_DATABASE())
    settings = files.parse_url(places[0])
    migrated = asyncio.run(migrate_store(settings))
    lines = [messages.STORE_MIGRATED(store=settings, version=migrated.version)]
    if (postponed := migrated.postponed) is not None:
        controllers = ", ".join(map(str, postponed.controllers))
        lines.append(messages.STEP_POSTPONED(step=postponed.step, controllers=controllers))
    print_lines(sys.stdout, lines)


def copy_stores(places: Sequence[str], files: AccessFiles, cluster: str | None) -> None:
    """Copy SQLite files into a shared store, or clusters of a shared store into files.

    Args:
        places: FROM and TO; one of them is the address of a database, the other one a file, or a
            directory with one file per cluster.
        files: for the access to the database.
        cluster: name of the only cluster to copy; None for that of the file's name, or for all.

    Raises:
        ConfigError: the arguments do not name one database and one file or directory.
        StoreError: a store cannot be used; those that were reported before are complete.
    """
    if len(places) != 2 or is_url(places[0]) == is_url(places[1]):  # FROM and TO
        raise ConfigError(messages.COPY_PLACES(), remedy=messages.NAME_FROM_TO())
    source, target = places
    url, path = (source, Path(target)) if is_url(source) else (target, Path(source))
    settings = files.parse_url(url)
    asyncio.run(_copy(settings, path, cluster, is_export=is_url(source)))


def renew_shared_epochs(
    config: EngineConfig, cluster: str | None, reason: str, *, at_least: int
) -> None:
    """Give the clusters of a shared store larger epochs, after a restore of its database.

    Args:
        config: the engine file of one of the controllers; all of them are stopped.
        cluster: the only cluster; None for all of the store.
        reason: for the audit.
        at_least: minimum of the new epochs.

    Raises:
        ConfigError: the password file cannot be used.
        StoreError: the database cannot be used, or a controller uses it.
    """
    from dagengine.server.local_store import epoch_audit  # noqa: PLC0415
    from dagengine.server.shared.settings import read_settings  # noqa: PLC0415
    from dagengine.store.epochs import renew_epochs  # noqa: PLC0415

    settings = read_settings(config)
    audit = epoch_audit(SystemClock().now(), reason)
    renewed = asyncio.run(renew_epochs(settings, cluster, audit, at_least=at_least))
    lines = [
        messages.SHARED_EPOCH_RENEWED(cluster=each.cluster, epoch=each.after, before=each.before)
        for each in renewed
    ]
    print_lines(sys.stdout, [*lines, messages.START_CONTROLLERS()])


def is_url(place: str) -> bool:
    """Return whether an argument is the address of a database rather than a path."""
    return place.startswith(_SCHEME)


async def _copy(
    settings: MysqlSettings, path: Path, cluster: str | None, *, is_export: bool
) -> None:
    now_s = int(SystemClock().now().timestamp())
    names = await list_clusters(settings) if is_export else ()
    jobs = _plan_export(path, cluster, names) if is_export else _plan_import(path, cluster)
    for job in jobs:
        if is_export:
            identity = await copy_to_file(settings, job.cluster, job.path, now_s=now_s)
        else:
            identity = await copy_to_database(job.path, settings, job.cluster, now_s=now_s)
        name = job.cluster or _SERVICE
        message = messages.STORE_COPIED(cluster=name, file=job.path, epoch=identity.epoch)
        print_lines(sys.stdout, [message])


def _plan_import(path: Path, cluster: str | None) -> Sequence[_Job]:
    """Return what to copy into the database."""
    if not path.is_dir():
        return [_Job(path, _check_name(cluster or path.stem))]
    return [
        _Job(file, "" if file.stem == _SERVICE else _check_name(file.stem))
        for file in sorted(path.glob(f"*{_SUFFIX}"))
        if cluster in (None, file.stem)
    ]


def _plan_export(path: Path, cluster: str | None, names: Sequence[str]) -> Sequence[_Job]:
    """Return what to copy out of the database: into a directory, all clusters and the service."""
    if not path.is_dir():
        return [_Job(path, _check_name(cluster or path.stem))]
    chosen = [*names, _SERVICE] if cluster is None else [cluster]
    return list(_files_of(path, chosen))


def _files_of(directory: Path, names: Sequence[str]) -> Iterator[_Job]:
    for name in names:
        is_service = name == _SERVICE
        file = directory / f"{name}{_SUFFIX}"
        yield _Job(file, "" if is_service else _check_name(name))


def _check_name(name: str) -> str:
    if name == _SERVICE or not _CLUSTER.fullmatch(name):
        raise ConfigError(
            messages.CLUSTER_NAME_INVALID(name=name), remedy=messages.NAME_CLUSTER_OPTION()
        )
    return name

"""Read-only checks of a controller's own set-up: the core of `dagengine doctor`."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dagengine.errors import ConfigError
from dagengine.runtime.addresses import render_host_port
from dagengine.runtime.watched_file import PasswordFile, read_agent_password
from dagengine.server import messages
from dagengine.server.config import ApiConfig, ClusterConfig, EngineConfig, load_config
from dagengine.store.sqlite.lock_file import lock_file_of
from dagengine.store.sqlite.migrate import APPLICATION_ID, OLDEST_VERSION, newest_version

# Names of checks are part of the JSON output, and thus not messages.
_ENGINE_FILE, _AGENT_PASSWORD = "engine file", "agent password"
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_CONNECT_S = 2.0


class SelfCheckStatus(StrEnum):
    """The status of a check."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class SelfCheckResult:
    """The result of one check.

    Attributes:
        subject: the checked object: a file, `controller`, a server.
        check: the name of the check.
        health: the status.
        message: the finding.
        remedy: how to fix the problem; empty if there is none.
    """

    subject: str
    check: str
    health: SelfCheckStatus
    message: str
    remedy: str = ""


def inspect_controller(
    engine_file: Path, environ: Mapping[str, str]
) -> tuple[EngineConfig | None, list[SelfCheckResult]]:
    """Check the engine file and the files and addresses it names, with the rights of this user.

    A shared store is checked by `inspect_shared_store`.

    Safe while a controller runs: it does not lock, open for writing or listen.
    """
    try:
        config = load_config(engine_file, environ)
        config.ensure_store_supported()
        clusters = config.cluster_configs
        addresses = [render_host_port(*cluster.api.advertised) for cluster in clusters]
    except ConfigError as exc:
        bad = SelfCheckResult(
            str(engine_file), _ENGINE_FILE, SelfCheckStatus.BAD, exc.message, exc.remedy
        )
        return None, [bad]
    message = messages.ENGINE_FILE_READABLE(address=", ".join(addresses))
    results = [SelfCheckResult(str(engine_file), _ENGINE_FILE, SelfCheckStatus.OK, message)]
    is_shared = config.store.url is not None
    for cluster in clusters:
        owner = None if is_shared else find_lock_owner(lock_file_of(cluster.store))
        if not is_shared:
            results.append(_inspect_store(cluster.store, owner))
        results += _inspect_files(cluster)
        results.append(_inspect_port(cluster.api, owner, is_shared=is_shared))
    return config, list(dict.fromkeys(results))


def inspect_file(path: Path, check: str, *, is_secret: bool) -> SelfCheckResult:
    """Check that a file is readable and, if it holds a secret, accessible to its owner only."""
    subject = str(path)
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as exc:
        remedy = messages.GRANT_READ()
        return SelfCheckResult(
            subject,
            check,
            SelfCheckStatus.BAD,
            messages.FILE_UNREADABLE(reason=exc.strerror),
            remedy,
        )
    if is_secret and stat.S_IMODE(mode) & 0o077:
        message = messages.FILE_READABLE_BY_OTHERS(mode=stat.S_IMODE(mode))
        return SelfCheckResult(
            subject, check, SelfCheckStatus.WARN, message, messages.CHMOD_PRIVATE(path=path)
        )
    if not is_secret and stat.S_IMODE(mode) & 0o022:
        message = messages.FILE_WRITABLE_BY_OTHERS(mode=stat.S_IMODE(mode))
        return SelfCheckResult(
            subject, check, SelfCheckStatus.WARN, message, messages.CHMOD_NO_WRITE(path=path)
        )
    return SelfCheckResult(
        subject, check, SelfCheckStatus.OK, messages.FILE_READABLE(mode=stat.S_IMODE(mode))
    )


def find_lock_owner(path: Path) -> int | None:
    """Return the pid that holds a lock on the file, or None. Does not try to take the lock."""
    with suppress(OSError):
        status = path.stat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if len(words) > 5 and words[1] == "FLOCK" and words[5] == device:
                return int(words[4])
    return None


def _inspect_store(path: Path, owner: int | None) -> SelfCheckResult:
    subject = str(path)
    if owner is not None:
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.OK, messages.STORE_IN_USE(pid=owner)
        )
    leftover = Path(f"{os.path.realpath(path)}-wal")
    has_log = leftover.exists() and leftover.stat().st_size > 0
    if has_log and not (path.exists() and path.stat().st_size):
        message = messages.STORE_LOG_ORPHANED(log=leftover)
        remedy = messages.RESTORE_LOG_OWNER()
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, message, remedy)
    if not path.exists():
        return _inspect_place(path)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        message = messages.STORE_FORBIDDEN(directory=path.parent, uid=path.stat().st_uid)
        remedy = messages.RUN_AS_OWNER()
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, message, remedy)
    if has_log:
        message = messages.STORE_NOT_CLOSED()
        return SelfCheckResult(subject, "store", SelfCheckStatus.OK, message)
    return _inspect_header(path)


def _inspect_header(path: Path) -> SelfCheckResult:
    """Check the header of a store that is not in use."""
    subject = str(path)
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return SelfCheckResult(subject, "store", SelfCheckStatus.OK, messages.STORE_EMPTY())
    version = int.from_bytes(header[60:64], "big")
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        remedy = messages.NAME_OTHER_STORE()
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.BAD, messages.STORE_FOREIGN(), remedy
        )
    newest = newest_version()
    if version > newest:
        message = messages.STORE_TOO_NEW(version=version, newest=newest)
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.BAD, message, messages.USE_NEWER_PROGRAM()
        )
    if version < OLDEST_VERSION:
        message = messages.STORE_TOO_OLD(version=version)
        remedy = messages.REPLACE_OLD_STORE()
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, message, remedy)
    message = messages.STORE_UNUSED(version=version, newest=newest)
    if version < newest:
        message = messages.STORE_UPGRADES(version=version, newest=newest)
    return SelfCheckResult(subject, "store", SelfCheckStatus.OK, message)


def _inspect_place(path: Path) -> SelfCheckResult:
    """Check the directory in which a store is to be created."""
    place = next(parent for parent in path.parents if parent.exists())
    if place.is_dir() and os.access(place, os.W_OK):
        return SelfCheckResult(str(path), "store", SelfCheckStatus.OK, messages.STORE_MISSING())
    message = messages.STORE_NOT_CREATABLE(directory=place)
    remedy = messages.GRANT_WRITE()
    return SelfCheckResult(str(path), "store", SelfCheckStatus.BAD, message, remedy)


def _inspect_files(config: ClusterConfig) -> Iterator[SelfCheckResult]:
    api = config.api
    key = config.store.with_suffix(".key.pem")
    if key.exists():
        yield inspect_file(key, "key of the store", is_secret=True)
    for path, check, is_secret in (
        (api.agent_password_file, _AGENT_PASSWORD, True),
        (api.tls_key_file, "TLS key", True),
        (api.tls_cert_file, "TLS certificate", False),
        (api.tls_client_ca_file, "CA of clients", False),
    ):
        if path is not None:
            yield inspect_file(path, check, is_secret=is_secret)
    if api.agent_password_file is not None and api.agent_password_file.exists():
        yield from _inspect_agent_password(api.agent_password_file)


def _inspect_agent_password(path: Path) -> Iterator[SelfCheckResult]:
    """Report an agent password that would keep a controller from starting."""
    try:
        read_agent_password(PasswordFile(path, "api.agent_password_file"))
    except ConfigError as exc:
        yield SelfCheckResult(
            str(path), _AGENT_PASSWORD, SelfCheckStatus.BAD, exc.message, exc.remedy
        )


def _inspect_port(api: ApiConfig, owner: int | None, *, is_shared: bool) -> SelfCheckResult:
    everywhere = api.host != "localhost" and ipaddress.ip_address(api.host).is_unspecified
    host = "localhost" if everywhere else api.host
    subject = render_host_port(api.host, api.port)
    try:
        with socket.create_connection((host, api.port), _CONNECT_S):
            answers = True
    except OSError:
        answers = False
    if answers and owner is None and not is_shared:  # a shared store has no lock file
        message = messages.PORT_TAKEN()
        remedy = messages.FREE_API_PORT()
        return SelfCheckResult(subject, "API", SelfCheckStatus.BAD, message, remedy)
    if owner is not None and not answers:
        message = messages.CONTROLLER_SILENT(pid=owner)
        return SelfCheckResult(subject, "API", SelfCheckStatus.WARN, message, messages.SEE_LOG())
    message = messages.CONTROLLER_RESPONDS() if answers else messages.PORT_FREE()
    return SelfCheckResult(subject, "API", SelfCheckStatus.OK, message)

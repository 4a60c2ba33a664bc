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
from dagengine.server.config import ApiConfig, EngineConfig, load_config
from dagengine.store.sqlite.lock_file import lock_file_of
from dagengine.store.sqlite.migrate import APPLICATION_ID, OLDEST_VERSION, newest_version

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
        said: the finding.
        remedy: how to fix the problem; empty if there is none.
    """

    subject: str
    check: str
    health: SelfCheckStatus
    said: str
    remedy: str = ""


def inspect_controller(
    engine_file: Path, environ: Mapping[str, str]
) -> tuple[EngineConfig | None, list[SelfCheckResult]]:
    """Check the engine file and the files and addresses it names, with the rights of this user.

    Safe while a controller runs: it does not lock, open for writing or listen.
    """
    try:
        config = load_config(engine_file, environ)
        advertised = config.api.advertised
    except ConfigError as exc:
        bad = SelfCheckResult(
            str(engine_file), "engine file", SelfCheckStatus.BAD, exc.message, exc.remedy
        )
        return None, [bad]
    said = f"readable; ids hold {render_host_port(*advertised)}"
    found = [SelfCheckResult(str(engine_file), "engine file", SelfCheckStatus.OK, said)]
    owner = find_lock_owner(lock_file_of(config.store.path))
    found.append(_inspect_store(config.store.path, owner))
    found += _inspect_files(config)
    found.append(_inspect_port(config.api, owner))
    return config, found


def inspect_file(path: Path, what: str, *, is_secret: bool) -> SelfCheckResult:
    """Check that a file is readable and, if it holds a secret, accessible to its owner only."""
    subject = str(path)
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as exc:
        remedy = "let this user read it, or name another file"
        return SelfCheckResult(
            subject, what, SelfCheckStatus.BAD, f"cannot be read: {exc.strerror}", remedy
        )
    if is_secret and stat.S_IMODE(mode) & 0o077:
        said = f"others may read it: mode {stat.S_IMODE(mode):04o}"
        return SelfCheckResult(subject, what, SelfCheckStatus.WARN, said, f"chmod 600 {path}")
    if not is_secret and stat.S_IMODE(mode) & 0o022:
        said = f"others may write to it: mode {stat.S_IMODE(mode):04o}"
        return SelfCheckResult(subject, what, SelfCheckStatus.WARN, said, f"chmod go-w {path}")
    return SelfCheckResult(
        subject, what, SelfCheckStatus.OK, f"readable, mode {stat.S_IMODE(mode):04o}"
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
            subject, "store", SelfCheckStatus.OK, f"in use by the controller with pid {owner}"
        )
    leftover = Path(f"{os.path.realpath(path)}-wal")
    has_log = leftover.exists() and leftover.stat().st_size > 0
    if has_log and not (path.exists() and path.stat().st_size):
        said = f"missing or empty, and its log {leftover} is not: no controller starts on it"
        remedy = "put back the file that the log belongs to, or move the log away"
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, said, remedy)
    if not path.exists():
        return _inspect_place(path)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        said = f"this user may not write to it or to {path.parent}; it belongs to uid"
        remedy = "run the controller as its owner, or give it to this user"
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.BAD, f"{said} {path.stat().st_uid}", remedy
        )
    if has_log:
        said = "not closed in order: the next start reads its log first"
        return SelfCheckResult(subject, "store", SelfCheckStatus.OK, said)
    return _inspect_header(path)


def _inspect_header(path: Path) -> SelfCheckResult:
    """Check the header of a store that is not in use."""
    subject = str(path)
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.OK, "empty: the first start fills it"
        )
    version = int.from_bytes(header[60:64], "big")
    if not header.startswith(_MAGIC) or int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        remedy = "name another store.path, or put a backup in its place"
        return SelfCheckResult(
            subject, "store", SelfCheckStatus.BAD, "is no store of this program", remedy
        )
    newest = newest_version()
    if version > newest:
        said = f"has schema {version}, this program knows up to {newest}"
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, said, "use the newer program")
    if version < OLDEST_VERSION:
        said = f"has schema {version}, which was never released and cannot be upgraded"
        remedy = "move it away together with its -wal and -shm: the next start creates a new store"
        return SelfCheckResult(subject, "store", SelfCheckStatus.BAD, said, remedy)
    said = f"nobody uses it; schema {version} of {newest}"
    if version < newest:
        said += ": the next start upgrades it"
    return SelfCheckResult(subject, "store", SelfCheckStatus.OK, said)


def _inspect_place(path: Path) -> SelfCheckResult:
    """Check the directory in which a store is to be created."""
    place = next(parent for parent in path.parents if parent.exists())
    if os.access(place, os.W_OK):
        return SelfCheckResult(
            str(path), "store", SelfCheckStatus.OK, "not there yet: the first start makes it"
        )
    said = f"not there, and this user may not make it in {place}"
    remedy = "let this user write there, or name another store.path"
    return SelfCheckResult(str(path), "store", SelfCheckStatus.BAD, said, remedy)


def _inspect_files(config: EngineConfig) -> Iterator[SelfCheckResult]:
    api = config.api
    key = config.store.path.with_suffix(".key.pem")
    if key.exists():
        yield inspect_file(key, "key of the store", is_secret=True)
    for path, what, is_secret in (
        (api.agent_password_file, "agent password", True),
        (api.tls_key_file, "TLS key", True),
        (api.tls_cert_file, "TLS certificate", False),
        (api.tls_client_ca_file, "CA of clients", False),
    ):
        if path is not None:
            yield inspect_file(path, what, is_secret=is_secret)
    if api.agent_password_file is not None and api.agent_password_file.exists():
        yield from _inspect_agent_password(api.agent_password_file)


def _inspect_agent_password(path: Path) -> Iterator[SelfCheckResult]:
    """Report an agent password that would keep a controller from starting."""
    try:
        read_agent_password(PasswordFile(path, "api.agent_password_file"))
    except ConfigError as exc:
        yield SelfCheckResult(
            str(path), "agent password", SelfCheckStatus.BAD, exc.message, exc.remedy
        )


def _inspect_port(api: ApiConfig, owner: int | None) -> SelfCheckResult:
    everywhere = api.host != "localhost" and ipaddress.ip_address(api.host).is_unspecified
    host = "localhost" if everywhere else api.host
    subject = render_host_port(api.host, api.port)
    try:
        with socket.create_connection((host, api.port), _CONNECT_S):
            answers = True
    except OSError:
        answers = False
    if answers and owner is None:
        said = "something listens there, and it is not this store's controller"
        remedy = "stop it, or set another api.port"
        return SelfCheckResult(subject, "API", SelfCheckStatus.BAD, said, remedy)
    if owner is not None and not answers:
        said = f"the controller with pid {owner} does not answer there"
        return SelfCheckResult(subject, "API", SelfCheckStatus.WARN, said, "look at its log")
    said = "the controller answers" if answers else "free for a controller"
    return SelfCheckResult(subject, "API", SelfCheckStatus.OK, said)

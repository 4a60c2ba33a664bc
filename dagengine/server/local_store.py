"""Commands on a controller's machine that use its store directly, without the API."""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path

from dagengine.errors import StoreUnavailable
from dagengine.local_user import find_user_name
from dagengine.model.fencing import FencingToken, StoreIdentity
from dagengine.model.records import AuditRecord
from dagengine.runtime.new_file import create_file
from dagengine.server import messages
from dagengine.server.config import ClusterConfig
from dagengine.store.sqlite.backup import backup_store
from dagengine.store.sqlite.identity import append_audit, read_last_token, renew_epoch


def controller_name(config: ClusterConfig) -> str:
    """Return the name of a controller on this machine for hosts: host name and port of the API."""
    return f"{socket.gethostname()}:{config.api.advertised[1]}"


def read_fencing_token(config: ClusterConfig) -> FencingToken:
    """Return the newest token that the controller's store has given to a DAG.

    Raises:
        StoreUnavailable: the store does not exist, has another version, or cannot be read.
    """
    identity, token = read_last_token(config.store)
    return FencingToken(identity.store_id, identity.epoch, token, controller_name(config))


def start_new_epoch(
    config: ClusterConfig, now: datetime, reason: str = "", *, at_least: int = 1
) -> tuple[StoreIdentity, StoreIdentity]:
    """Give the store a larger epoch, see `renew_epoch`; return its identity before and after."""
    return renew_epoch(config.store, epoch_audit(now, reason), at_least=at_least)


def epoch_audit(now: datetime, reason: str) -> AuditRecord:
    """Return the audit row of a new epoch."""
    return AuditRecord(0, now, 0, None, "NEW_EPOCH", _caller(), reason)


def audit_command(config: ClusterConfig, action: str, reason: str, now: datetime) -> None:
    """Record in the audit what a command on this machine is about to do.

    Args:
        config: the settings of the cluster.
        action: one word in upper case.
        reason: what the command does, and to what.
        now: the instant.

    Raises:
        StoreUnavailable: the store does not exist, has another version, or cannot be written.
    """
    row = AuditRecord(0, now, 0, None, action, _caller(), reason)
    append_audit(config.store, row)


def key_file_of(store: Path) -> Path:
    """Return the file with the key that decrypts request headers."""
    return store.with_suffix(".key.pem")


def backup_controller(config: ClusterConfig, target: Path) -> int:
    """Copy the store and its key; return the size of the store's copy in bytes.

    Existing files are never overwritten. After an error, neither copy exists.

    Raises:
        StoreUnavailable: see backup_store; or the key's copy exists already or cannot be written.
    """
    key, copy = key_file_of(config.store), key_file_of(target)
    if os.path.lexists(copy):
        raise StoreUnavailable(
            messages.BACKUP_KEY_EXISTS(path=copy),
            remedy=messages.NAME_OTHER_BACKUP(),
        )
    size_bytes = backup_store(config.store, target)
    try:
        if key.exists():
            create_file(copy, key.read_bytes())
    except OSError as exc:
        target.unlink()
        raise StoreUnavailable(
            messages.KEY_NOT_COPIED(key=key, copy=copy, reason=exc.strerror),
            remedy=messages.CHECK_SPACE_AND_ACCESS(),
        ) from exc
    return size_bytes


def _caller() -> str:
    return messages.LOCAL_CALLER(user=find_user_name(), host=socket.gethostname())

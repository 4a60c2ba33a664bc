"""The store of the service: its tokens and sessions, and the audit of the tokens."""

from __future__ import annotations

from typing import Protocol

from dagengine.model.changes import AuditAppended, Batch
from dagengine.model.records import AuditRecord
from dagengine.store.contract import CredentialStore
from dagengine.store.sqlite.store import SqliteStore


class ServiceStore(CredentialStore, Protocol):
    """The store of the service."""

    async def open(self) -> None:
        """Open the store.

        Raises:
            StoreError: the store is in use, unusable or too new.
        """
        ...

    async def append_audit(self, row: AuditRecord) -> None:
        """Append a row to the audit of the service; durable on return.

        Raises:
            StoreError: the store cannot be written.
        """
        ...

    async def close(self) -> None:
        """Release the store."""
        ...


class SqliteServiceStore(SqliteStore):
    """The store of the service in a file of its own."""

    async def append_audit(self, row: AuditRecord) -> None:
        """See ServiceStore."""
        (refusal,) = await self.commit([Batch(0, None, (AuditAppended(row),))])
        if refusal is not None:
            raise refusal

"""The refusal of commands that work on a cluster's own SQLite store."""

from __future__ import annotations

from secrets import token_bytes

from dagengine.errors import ConfigError, StoreError
from dagengine.runtime.clock import SystemClock
from dagengine.server.config import EngineConfig
from dagengine.server.shared import messages
from dagengine.server.shared.settings import read_settings
from dagengine.store.membership import Fleet
from dagengine.store.mysql.membership import MysqlMembership
from dagengine.store.mysql.settings import MysqlSettings


async def check_store_is_local(config: EngineConfig, cluster: str, command: str) -> None:
    """Refuse a command that needs the cluster's own SQLite store if the store is shared.

    Args:
        config: the engine file.
        cluster: name of the cluster.
        command: the command, for the message.

    Raises:
        ConfigError: the store is shared; the message names the owner of the cluster.
    """
    if config.store.url is None:
        return
    settings = read_settings(config)
    try:
        owner = describe_owner(await _read_fleet(settings), cluster)
    except StoreError as exc:
        owner = messages.OWNER_UNREADABLE(reason=exc.message)
    raise ConfigError(
        messages.NOT_ON_SHARED_STORE(command=command, cluster=cluster, store=settings, owner=owner),
        remedy=messages.USE_COPY_OF_STORE(cluster=cluster),
    )


def describe_owner(fleet: Fleet, cluster: str) -> str:
    """Return who runs a cluster now, as a part of a sentence."""
    record = fleet.clusters.get(cluster)
    if record is None:
        return messages.OWNER_NEVER()
    if record.owner is None or not fleet.is_live(record.owner):
        return messages.OWNER_NONE()
    urls = [each.url for each in fleet.served.get(record.owner, ()) if each.cluster == cluster]
    controller = fleet.controllers[record.owner].name
    return messages.OWNER_IS(controller=controller, url=", ".join(urls) or "-")


async def _read_fleet(settings: MysqlSettings) -> Fleet:
    membership = MysqlMembership(settings, SystemClock(), token_bytes)
    try:
        return await membership.read_fleet()
    finally:
        await membership.close()

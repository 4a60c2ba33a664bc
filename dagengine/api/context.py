"""The dependencies of the handlers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from dagengine.api.event_streams import EventStreams
from dagengine.api.extension import ClusterView
from dagengine.api.login.token_manager import TokenManager
from dagengine.api.render.records import RecordRenderer
from dagengine.engine.engine import Engine
from dagengine.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The objects that the handlers of one controller share.

    Attributes:
        engine: the engine, already entered.
        cluster: view of the managed cluster.
        wire: renders records.
        feeds: event streams of DAGs.
        clock: source of time.
        public_key: the key that callers encrypt their headers with.
        version: version of this program.
        pid: process id of this process.
        machine: architecture of the processor.
        has_agent_password: returns whether an agent password is configured.
        before_retry: called before an ended DAG continues, so that corrections made in the
            meantime take effect.
        tokens: creates and revokes API tokens.
        has_root_password: returns whether root@sys has a password.
    """

    engine: Engine
    cluster: ClusterView
    wire: RecordRenderer
    feeds: EventStreams
    clock: Clock
    public_key: str
    version: str
    pid: int
    machine: str
    has_agent_password: Callable[[], bool]
    before_retry: Callable[[], None]
    tokens: TokenManager
    has_root_password: Callable[[], bool]


CONTEXT = web.AppKey("context", ApiContext)
"""The dependencies of the application's handlers, for other handlers of the same application."""

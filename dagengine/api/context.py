"""What every handler works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dagengine.api.event_streams import EventStreams
from dagengine.api.extension import ClusterView
from dagengine.api.render.records import RecordRenderer
from dagengine.engine.engine import Engine
from dagengine.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the handlers of one controller share.

    Attributes:
        engine: entered.
        cluster: what the controller serves.
        wire: renders records.
        feeds: the events of DAGs for those who follow them.
        clock: where time comes from.
        public_key: what callers encrypt their headers for.
        version: of this program.
        pid: of this process.
        machine: the processor's architecture.
        has_agent_password: whether one is configured.
        before_retry: called before an ended DAG goes on, so that what was mended is seen.
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

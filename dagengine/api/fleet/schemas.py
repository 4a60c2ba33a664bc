"""Requests and responses of the service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict

from dagengine.api.handlers.lists import DagSearch
from dagengine.api.schemas.base import ErrorDto, Time
from dagengine.api.schemas.tasks import DagDetailDto

_NAME = r"^[a-z0-9-]{1,32}$"
_MAX_CLUSTERS = 1000

ClusterName = Annotated[str, Field(max_length=200)]
NameDto = Annotated[str, WithJsonSchema({"type": "string", "pattern": _NAME, "examples": ["demo"]})]
_ANY_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": True}


class ClusterDto(TypedDict):
    """A cluster, and its state if it is served."""

    name: NameDto
    condition: Annotated[
        Literal["served", "refused", "not configured"],
        Field(description="refused: see reason; not configured: only its store is left"),
    ]
    reason: Annotated[str, Field(description="why it is not served; empty if it is")]
    url: Annotated[str, Field(description="of its API, for a client on the controller's machine")]
    socket: Annotated[str | None, Field(description="path of the unix socket of its API")]
    owner: Annotated[
        int | None, Field(description="id of the controller that runs its tasks; null for none")
    ]
    cluster_id: int | None
    servers: Annotated[int | None, Field(description="number of servers")]
    ob_state: Annotated[
        int | None,
        Field(description="0 not running, 1 without connection, 2 restricted, 3 available"),
    ]
    running: Annotated[int | None, Field(description="number of unfinished tasks")]
    failed: Annotated[int | None, Field(description="number of failed tasks")]
    lock: Annotated[str | None, Field(description="who holds it; empty if it is free")]
    last: Annotated[DagDetailDto | None, Field(description="the newest task, without details")]
    notices: list[str]


class ControllerDto(TypedDict):
    """A controller."""

    id: Annotated[int, Field(ge=1)]
    name: str
    version: str
    state: Literal["LIVE", "DEAD", "LEFT"]
    started_at: Time
    seen_at: Annotated[Time, Field(description="last sign of life")]
    clusters: Annotated[list[NameDto], Field(description="the clusters that it owns")]


class FleetDagDto(TypedDict):
    """A task, and its cluster."""

    cluster: NameDto
    dag: DagDetailDto


class BulkResultDto(TypedDict):
    """The result for one cluster: a task, or an error."""

    cluster: NameDto
    dag: Annotated[DagDetailDto | None, Field(description="as accepted; null after an error")]
    error: ErrorDto | None


def _split_names(value: object) -> object:
    """Accept names separated by commas."""
    if isinstance(value, str):
        return [name for part in value.split(",") if (name := part.strip())]
    return value


class FleetSearch(DagSearch):
    """Query of a search for tasks of all clusters: filters and page."""

    cursor: Annotated[
        str, Field(max_length=64 * 1024, description="`next_cursor` of the page before")
    ] = ""
    cluster: Annotated[
        list[ClusterName],
        BeforeValidator(_split_names),
        WithJsonSchema({"type": "string", "description": "names separated by commas; empty: all"}),
    ] = Field(default_factory=list)


class BulkBody(BaseModel):
    """What to do in which clusters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "clusters": ["demo", "prod"],
                    "request": {"scope": {"type": "GLOBAL"}, "reason": "after maintenance"},
                }
            ]
        }
    )

    clusters: list[ClusterName] = Field(
        min_length=1, max_length=_MAX_CLUSTERS, description="names; each at most once"
    )
    request: Annotated[dict[str, Any], WithJsonSchema(_ANY_OBJECT)] = Field(
        default_factory=dict, description="the body of the same request to one cluster"
    )

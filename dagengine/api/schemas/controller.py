"""Schemas of the responses about the controller itself (protocol 2.1)."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from dagengine.api.schemas.base import Time

Identity = Literal["CLUSTER AGENT"]
SeenAt = Annotated[
    Time,
    Field(description="when the servers were last probed; omitted before the first probe"),
]
SeenAge = Annotated[int, Field(ge=0, description="how long ago that was, in milliseconds")]


class SecretDto(TypedDict):
    """The key that headers are encrypted for."""

    ip: str
    port: int
    public_key: Annotated[str, Field(description="base64 of the PKCS#1 DER public key")]


class BuildDto(TypedDict):
    """Which build this is; empty texts when it is not known."""

    branch: str
    commitId: str
    shortCommitId: str
    commitTime: str


ObState = Annotated[
    int,
    Field(ge=0, le=3, description="0 not running, 1 not connected, 2 restricted, 3 available"),
]
ObStateUnknown = Annotated[
    Literal[True],
    Field(description="obState is 0 only because the state of a server is unknown; else absent"),
]


class InfoDto(TypedDict):
    """Who the controller is."""

    pid: int
    state: Annotated[int, Field(description="1 starting, 2 running, 3 stopping, 4 stopped")]
    startAt: Annotated[int, Field(description="nanoseconds since the epoch")]
    homePath: str
    obVersion: Annotated[str, Field(description="as last seen; empty before")]
    architecture: str
    ip: str
    port: int
    zone: str
    identity: Identity
    version: str
    isObproxyAgent: bool
    security: Annotated[bool, Field(description="an agent password is set")]
    supportedAuth: list[Literal["v2"]]
    obState: ObState
    obStateUnknown: NotRequired[ObStateUnknown]
    observedAt: NotRequired[SeenAt]
    observedAgeMs: NotRequired[SeenAge]


class StatusAgentDto(TypedDict):
    """The controller in its status."""

    ip: str
    port: int
    identity: Identity


class StatusDto(TypedDict):
    """The controller's state, and the servers' as last known."""

    agent: StatusAgentDto
    state: Annotated[int, Field(description="1 starting, 2 running, 3 stopping, 4 stopped")]
    version: str
    pid: int
    startAt: Annotated[int, Field(description="nanoseconds since the epoch")]
    port: int
    obState: ObState
    obStateUnknown: NotRequired[ObStateUnknown]
    sqlPort: NotRequired[int]
    underMaintenance: Annotated[bool, Field(description="a task holds the cluster locked")]
    observedAt: NotRequired[SeenAt]
    observedAgeMs: NotRequired[SeenAge]

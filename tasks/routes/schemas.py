"""Schemas of the responses about the cluster (protocol 3.3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from dagengine.extension import Time


class AgentInstanceDto(TypedDict):
    """One server's agent; all of them are this controller."""

    ip: str
    port: int
    zone: str
    identity: Literal["CLUSTER AGENT"]
    version: str


class ServerConfigDto(TypedDict):
    """One server in ob/info."""

    svr_ip: str
    svr_port: int
    sql_port: int
    agent_port: int
    with_rootserver: Literal["YES", "NO"]
    status: Annotated[str, Field(description="STOPPED, else the status that the database reports")]
    build_version: str


class ClusterConfigDto(TypedDict):
    """The cluster in ob/info."""

    id: int
    name: str
    version: Annotated[str, Field(description="empty while no server answers SQL")]
    topology: Annotated[
        dict[str, list[ServerConfigDto]] | None,
        Field(description="by zone; null while no server answers SQL"),
    ]
    is_shared_storage: bool


class ObInfoDto(TypedDict):
    """Every agent, and the cluster."""

    agent_info: list[AgentInstanceDto]
    obcluster_info: ClusterConfigDto


class RootServerDto(TypedDict):
    """Where a zone's root service runs; empty when that is not known."""

    ip: str
    role: str
    zone: str
    svr_port: int


class ResourceStatsDto(TypedDict):
    """Resources of the cluster. A controller does not know them: all figures are zero."""

    cpu_core_total: float
    cpu_core_assigned: float
    cpu_core_assigned_percent: float
    memory_total: str
    memory_assigned: str
    memory_in_bytes_total: int
    memory_in_bytes_assigned: int
    memory_assigned_percent: float
    disk_total: str
    disk_assigned: str
    disk_in_bytes_total: int
    disk_in_bytes_assigned: int
    disk_assigned_percent: float


class ServerStatsDto(ResourceStatsDto):
    """Resources of one server. A controller does not know them: all figures are zero."""

    ip: str
    port: int
    zone: str
    disk_used: str
    disk_free: str
    disk_in_bytes_used: int
    disk_in_bytes_free: int
    disk_used_percent: float


class ObserverDto(TypedDict):
    """One server in obcluster/info."""

    id: int
    ip: str
    svr_port: int
    sql_port: int
    obshell_port: int
    version: str
    with_rootserver: bool
    ob_status: Annotated[
        int,
        Field(ge=0, le=3, description="0 not running, 1 no connection, 2 restricted, 3 available"),
    ]
    inner_status: str
    status: Annotated[
        str,
        Field(
            description="RUNNING, UNAVAILABLE, SERVICE_STOPPED, PROCESS_STOPPED or DELETING; "
            "while a task works on it STARTING, SERVICE_STOPPING or PROCESS_STOPPING"
        ),
    ]
    start_time: Annotated[Time, Field(description="the epoch when it is not known")]
    stop_time: Annotated[Time, Field(description="the epoch when it has none")]
    architecture: str
    data_dir: str
    redo_dir: str
    log_dir: str
    stats: ServerStatsDto
    local_task_id: NotRequired[str]
    why: NotRequired[Annotated[str, Field(description="reason why the last probe failed")]]
    pid: NotRequired[Annotated[int, Field(description="process id; absent if none was found")]]
    process_start: NotRequired[Annotated[Time, Field(description="start of the process")]]


class ZoneDto(TypedDict):
    """One zone in obcluster/info."""

    name: str
    idc_name: str
    region_name: str
    status: Annotated[str, Field(description="RUNNING, STOPPED, STARTING, STOPPING or UNKNOWN")]
    inner_status: str
    root_server: RootServerDto
    servers: list[ObserverDto]
    local_task_id: NotRequired[str]


class TopologyDto(TypedDict):
    """The zones with their servers."""

    zones: list[ZoneDto]


class ClusterInfoDto(TypedDict):
    """What a controller knows of its cluster; the rest is zero."""

    cluster_name: str
    cluster_id: int
    status: str
    is_community_edition: bool
    is_standalone: bool
    ob_version: str
    dead_lock_detection_enabled: bool
    startup_mode: str
    is_shared_storage: bool
    stats: ResourceStatsDto
    zones: list[ZoneDto]
    tenants: list[dict[str, Any]]
    tenant_stats: list[dict[str, Any]]
    local_task_id: NotRequired[str]

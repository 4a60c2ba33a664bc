"""Routes that report the cluster's state (protocol 3.3), after a bounded probe of its servers."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field

from dagengine import Engine, __version__
from dagengine.extension import AgentDto, Call, Contents, NoBody, Route, StatusDto, render_time
from tasks.cluster.cluster_file import ClusterFile
from tasks.cluster.observation import (
    AVAILABLE,
    NOT_RUNNING,
    Observation,
    cut_build,
    read_cluster_status,
    read_inner_status,
    read_server_status,
    read_zone_status,
)
from tasks.cluster.servers import Server
from tasks.monitoring.active_task import ActiveTask, find_active_task
from tasks.monitoring.monitor import ClusterMonitor
from tasks.routes.schemas import (
    AgentInstanceDto,
    ClusterInfoDto,
    ObInfoDto,
    ObserverDto,
    ResourceStatsDto,
    RootServerDto,
    ServerConfigDto,
    TopologyDto,
    ZoneDto,
)

_RUNNING = 2  # state of an agent
_NEVER = datetime.fromtimestamp(0, UTC)
_NO_STATS: ResourceStatsDto = {
    "cpu_core_total": 0.0,
    "cpu_core_assigned": 0.0,
    "cpu_core_assigned_percent": 0.0,
    "memory_total": "",
    "memory_assigned": "",
    "memory_in_bytes_total": 0,
    "memory_in_bytes_assigned": 0,
    "memory_assigned_percent": 0.0,
    "disk_total": "",
    "disk_assigned": "",
    "disk_in_bytes_total": 0,
    "disk_in_bytes_assigned": 0,
    "disk_assigned_percent": 0.0,
}


class ObQuery(BaseModel):
    """Query of the routes that report the state of servers."""

    ob_query_timeout: str = Field(
        default="",
        max_length=1000,
        description="microseconds; accepted and ignored: each probe has a fixed limit",
    )


class TopologyQuery(BaseModel):
    """Query of GET obcluster/topology/info."""

    probe: Literal["", "now"] = Field(
        default="", description="now: probe all servers, regardless of the age of the last probe"
    )


def read_routes(cluster: ClusterFile, monitor: ClusterMonitor) -> list[Route[NoBody]]:
    """Return GET ob/info, ob/agents, agents/status, obcluster/info, obcluster/topology/info."""
    reads = _Reads(cluster, monitor)
    return [
        Route("GET", "/ob/info", NoBody, reads.get_ob_info, answer=ObInfoDto, null_on_failure=True),
        Route("GET", "/ob/agents", NoBody, reads.list_agents, answer=Contents[AgentDto]),
        Route(
            "GET",
            "/agents/status",
            NoBody,
            reads.get_agents_status,
            query=ObQuery,
            answer=dict[str, StatusDto],
        ),
        Route("GET", "/obcluster/info", NoBody, reads.get_cluster_info, answer=ClusterInfoDto),
        Route(
            "GET",
            "/obcluster/topology/info",
            NoBody,
            reads.get_topology,
            query=TopologyQuery,
            answer=TopologyDto,
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Reads:
    cluster: ClusterFile
    monitor: ClusterMonitor

    async def get_ob_info(self, call: Call) -> ObInfoDto:
        """Every agent, and the cluster."""
        await self.monitor.refresh()
        is_answered = self._is_answered()
        agents: list[AgentInstanceDto] = [
            {
                "ip": server.ip,
                "port": server.agent_port,
                "zone": server.zone,
                "identity": "CLUSTER AGENT",
                "version": __version__,
            }
            for server in self.cluster.servers
        ]
        topology: dict[str, list[ServerConfigDto]] = {}
        for server in self.cluster.servers:
            topology.setdefault(server.zone, []).append(self._config(server))
        return {
            "agent_info": agents,
            "obcluster_info": {
                "id": self.cluster.cluster_id,
                "name": self.cluster.name,
                "version": self.cluster.version if is_answered else "",
                "topology": topology if is_answered else None,
                "is_shared_storage": False,
            },
        }

    async def list_agents(self, call: Call) -> Contents[AgentDto]:
        """Every agent: one for each server."""
        agents = [AgentDto(ip=s.ip, port=s.agent_port) for s in self.cluster.servers]
        return {"contents": agents}

    async def get_agents_status(self, call: Call) -> dict[str, StatusDto]:
        """The controller's own status, and that of every server whose state is known."""
        answered = await self.monitor.refresh()
        agent = call.engine.agent
        here = self.cluster.state_at(str(agent))
        own = self._status(call.engine, agent.ip, agent.port, here.ob_state)
        if not here.is_known:
            own["obStateUnknown"] = True
        statuses = {str(agent): own}
        for server in answered:
            observation = self.cluster.observation(server.name)
            state = observation.ob_state if observation else 0
            status = self._status(call.engine, server.ip, server.agent_port, state)
            statuses[server.name] = {**status, "sqlPort": server.sql_port}
        return dict(sorted(statuses.items()))

    async def get_cluster_info(self, call: Call) -> ClusterInfoDto:
        """What a controller knows of its cluster; the rest is zero."""
        zones = (await self.get_topology(call))["zones"]
        info: ClusterInfoDto = {
            "cluster_name": self.cluster.name,
            "cluster_id": self.cluster.cluster_id,
            "status": read_cluster_status([zone["status"] for zone in zones]),
            "is_community_edition": False,
            "is_standalone": False,
            "ob_version": cut_build(self.cluster.version),
            "dead_lock_detection_enabled": False,
            "startup_mode": "",
            "is_shared_storage": False,
            "stats": _NO_STATS,
            "zones": zones,
            "tenants": [],
            "tenant_stats": [],
        }
        if task_id := (await find_active_task(call.engine)).task_id:
            info["local_task_id"] = task_id
        return info

    async def get_topology(self, call: Call) -> TopologyDto:
        """The zones with their servers."""
        is_now = isinstance(call.query, TopologyQuery) and call.query.probe == "now"
        await self.monitor.refresh(is_now=is_now)
        moving = await find_active_task(call.engine)
        zones: dict[str, list[ObserverDto]] = {}
        for number, server in enumerate(self.cluster.servers, 1):
            observation = self.cluster.observation(server.name)
            if is_now:
                observation = self.monitor.find_current(server)
            observer = self._observer(number, server, moving, observation)
            zones.setdefault(server.zone, []).append(observer)
        return {"zones": [self._zone(name, servers) for name, servers in zones.items()]}

    # --- internal functions ---

    def _is_answered(self) -> bool:
        return self.cluster.ob_state == AVAILABLE

    def _config(self, server: Server) -> ServerConfigDto:
        observation, row = self.cluster.observation(server.name), self.cluster.row(server)
        is_stopped = row is not None and row.is_stopped
        version = row.build_version if row else observation.version if observation else ""
        return {
            "svr_ip": server.ip,
            "svr_port": server.rpc_port,
            "sql_port": server.sql_port,
            "agent_port": server.agent_port,
            "with_rootserver": "YES" if row is not None and row.with_rootserver else "NO",
            "status": "STOPPED" if is_stopped else read_inner_status(observation, row),
            "build_version": cut_build(version),
        }

    def _status(self, engine: Engine, ip: str, port: int, ob_state: int) -> StatusDto:
        return {
            "agent": {"ip": ip, "port": port, "identity": "CLUSTER AGENT"},
            "state": _RUNNING,
            "version": __version__,
            "pid": os.getpid(),
            "startAt": int(engine.started_at.timestamp() * 1_000_000) * 1000,
            "port": port,
            "obState": ob_state,
            "underMaintenance": bool(engine.holders()),
        }

    def _observer(
        self, number: int, server: Server, moving: ActiveTask, observation: Observation | None
    ) -> ObserverDto:
        row, move = self.cluster.row(server), moving.of(server)
        inner = read_inner_status(observation, row)
        observer: ObserverDto = {
            "id": number,
            "ip": server.ip,
            "svr_port": server.rpc_port,
            "sql_port": server.sql_port,
            "obshell_port": server.agent_port,
            "version": row.build_version if row else observation.version if observation else "",
            "with_rootserver": row is not None and row.with_rootserver,
            "ob_status": observation.ob_state if observation else NOT_RUNNING,
            "inner_status": inner,
            "status": read_server_status(observation, row, move),
            "start_time": render_time(row.start_at if row and row.start_at else _NEVER),
            "stop_time": render_time(_NEVER),
            "architecture": platform.machine(),
            "data_dir": server.data_path,
            "redo_dir": server.redo_path,
            "log_dir": server.log_file.rpartition("/")[0],
            "stats": {
                **_NO_STATS,
                "ip": server.ip,
                "port": server.rpc_port,
                "zone": server.zone,
                "disk_used": "",
                "disk_free": "",
                "disk_in_bytes_used": 0,
                "disk_in_bytes_free": 0,
                "disk_used_percent": 0.0,
            },
        }
        if move is not None:
            observer["local_task_id"] = moving.task_id
        if observation is not None and observation.reason:
            observer["why"] = observation.reason
        if observation is not None and observation.pid is not None:
            observer["pid"] = observation.pid
            if observation.started_at is not None:
                observer["process_start"] = render_time(observation.started_at)
        return observer

    def _zone(self, name: str, servers: list[ObserverDto]) -> ZoneDto:
        status = read_zone_status(server["status"] for server in servers)
        roots = [server for server in servers if server["with_rootserver"]]
        root: RootServerDto = {"ip": "", "role": "", "zone": name, "svr_port": 0}
        if roots:
            root |= {"ip": roots[0]["ip"], "role": "LEADER", "svr_port": roots[0]["svr_port"]}
        zone: ZoneDto = {
            "name": name,
            "idc_name": "",
            "region_name": "",
            "status": status,
            "inner_status": "ACTIVE" if status == "RUNNING" else "INACTIVE",
            "root_server": root,
            "servers": servers,
        }
        for server in servers:
            if "local_task_id" in server:
                zone["local_task_id"] = server["local_task_id"]
        return zone

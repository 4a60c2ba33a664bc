"""Membership of this process in the service: joins, watches the others, and owns clusters.

One pass reads the table once and then decides everything that depends on it. A pass never waits for
an engine: engines are opened and closed in tasks of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from dagengine.errors import MembershipRefused, StoreError
from dagengine.model.fencing import Ownership
from dagengine.ownership.cluster_host import ClusterHost
from dagengine.ownership.engine_check import check_engines, find_unserved
from dagengine.ownership.engines import OpenEngines, give_away
from dagengine.ownership.exit_timer import exit_after
from dagengine.ownership.heartbeat import Heartbeat
from dagengine.ownership.local_cluster import LocalCluster
from dagengine.ownership.metrics import OwnershipStatus
from dagengine.ownership.observation import Observation, observe
from dagengine.ownership.standing import Standing
from dagengine.ownership.take_over import (
    Vacancy,
    find_vacancies,
    plan_hand_over,
    plan_take_overs,
)
from dagengine.ownership.timings import Timings
from dagengine.runtime.cancellation import run_phase
from dagengine.runtime.clock import BootClock
from dagengine.runtime.service import Service
from dagengine.store.membership import ControllerState, Fleet, JoiningController, MembershipStore

_log = structlog.get_logger("dagengine.ownership")
_KEPT_CONTROLLERS = 20  # DEAD and LEFT ones that `dagengine fleet` still shows


@dataclass(slots=True)
class Membership:
    """One membership: from a join until the controller is fenced or leaves.

    Attributes:
        is_announced: whether the table has the clusters that this controller serves now.
        last_hand_over_s: when it last handed a cluster over.
    """

    controller_id: int
    standing: Standing
    heartbeat: Heartbeat
    observation: Observation = field(default_factory=Observation)
    vacancies: Mapping[str, Vacancy] = field(default_factory=dict)
    is_announced: bool = False
    last_hand_over_s: float | None = None


class OwnershipService(Service):
    """The part of a controller that takes over clusters; see the module docstring.

    Args:
        open_store: returns another connection to the store.
        joining: how this controller joins.
        local_clusters: returns the clusters of its configuration; called again by `reload`.
        host: opens and closes engines.
        clock: this machine's CLOCK_BOOTTIME.
        timings: all durations.
        exit_process: ends the process when the clean-up of a fenced controller takes too long.
    """

    name = "ownership"

    def __init__(
        self,
        open_store: Callable[[], MembershipStore],
        joining: JoiningController,
        local_clusters: Callable[[], Sequence[LocalCluster]],
        host: ClusterHost,
        clock: BootClock,
        timings: Timings,
        exit_process: Callable[[], None],
    ) -> None:
        super().__init__()
        self._store, self._beat_store = open_store(), open_store()
        self._joining = joining
        self._local_clusters = local_clusters
        self._clock = clock
        self._timings = timings
        self._exit_process = exit_process
        self._engines = OpenEngines(host, clock, timings)
        self._membership: Membership | None = None
        self._fleet = Fleet({}, {}, {})
        self._differences: dict[str, str] = {}
        self._unserved: frozenset[str] = frozenset()
        self._failures = 0
        self._take_overs = 0
        self._fencings = 0

    # --- state, for requests, health and metrics ---------------------------------------------

    @property
    def controller_id(self) -> int | None:
        """The id of this controller; None while it is not a member."""
        return None if self._membership is None else self._membership.controller_id

    @property
    def fleet(self) -> Fleet:
        """The result of the last read of the table."""
        return self._fleet

    @property
    def may_act(self) -> bool:
        """True while this controller may send commands, and answer reads and `/owner`."""
        return self._membership is not None and self._membership.standing.may_act

    @property
    def differences(self) -> Mapping[str, str]:
        """The clusters that this controller does not serve, because its files differ, and why."""
        return self._differences

    def owns(self, cluster: str) -> Ownership | None:
        """Return the ownership with which the engine of a cluster runs here; None otherwise."""
        is_here = self.may_act and cluster in self._engines.running
        return self._engines.held.get(cluster) if is_here else None

    def status(self) -> OwnershipStatus:
        """Return the current figures for metrics."""
        states = [record.state for record in self._fleet.controllers.values()]
        standing = None if self._membership is None else self._membership.standing
        return OwnershipStatus(
            is_member=standing is not None,
            controllers={state: states.count(state) for state in ControllerState},
            owned_clusters=len(self._engines.running),
            unserved_clusters=len(self._unserved),
            take_overs=self._take_overs,
            fencings=self._fencings,
            heartbeat_delay_s=None if standing is None else standing.age_s,
        )

    async def forget_cluster(self, name: str) -> None:
        """Delete all rows of a cluster; see MembershipStore.forget_cluster."""
        await self._store.forget_cluster(name)

    # --- joining and leaving -----------------------------------------------------------------

    async def join(self) -> None:
        """Join the service. Called before `start`, so that a refusal ends the program.

        Raises:
            MembershipRefused: lease or key differ from those of the other controllers.
            StoreError: the database cannot be used.
        """
        id_ = await self._store.join(self._joining)
        standing = Standing(self._clock, self._timings)
        heartbeat = Heartbeat(
            self._beat_store, id_, standing, self._clock, self._timings, self._end_membership
        )
        self._membership = Membership(id_, standing, heartbeat)
        heartbeat.start()
        _log.info("controller_joined", controller_id=id_, lease_s=self._timings.lease_s)

    def reload(self) -> None:
        """Announce the clusters again in the next pass, because the configuration has changed."""
        if self._membership is not None:
            self._membership.is_announced = False

    async def leave(self) -> None:
        """Close all engines and leave; other controllers take the clusters over at once.

        The heartbeat ends last: closing may take longer than the lease. Each phase has a limit. An
        engine that has not ended by then is left behind: it can neither write nor act, because
        its standing ends before others take the cluster.
        """
        await self.stop()
        await self._engines.close_all()
        membership, self._membership = self._membership, None
        if membership is not None:
            await membership.heartbeat.stop()
            membership.standing.fence()
            end, limit_s = self._leave(membership.controller_id), self._timings.leave_s
            await run_phase(end, limit_s=limit_s, phase="leaving the service")
        await self._engines.stop()
        await self._store.close()
        await self._beat_store.close()

    async def _leave(self, controller_id: int) -> None:
        """Tell the other controllers; otherwise they wait for the end of the lease."""
        try:
            await self._store.leave(controller_id)
        except StoreError as exc:
            _log.warning("leave_failed", error=str(exc))
        else:
            _log.info("controller_left", controller_id=controller_id)

    def _end_membership(self) -> None:
        """Drop all engines; the next pass joins with a new id.

        The clean-up has a limit, because an engine that cannot be ended must not run on.
        """
        membership, self._membership = self._membership, None
        if membership is None:
            return
        membership.standing.fence()
        self._fencings += 1
        clusters = sorted(self._engines.held)
        _log.error("controller_fenced", controller_id=membership.controller_id, clusters=clusters)
        self._engines.spawn(self._clean_up(), name="clean up")

    async def _clean_up(self) -> None:
        with exit_after(self._timings.clean_up_s, self._exit_process):
            self._engines.drop_all()
            await self._engines.wait_for(self._engines.busy)
        _log.info("clean_up_done")

    # --- passes ------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            began_s = self._clock.boot_s()
            await self.run_pass()
            took_s = self._clock.boot_s() - began_s
            await asyncio.sleep(max(self._timings.watch_s - took_s, 0.0))

    async def run_pass(self) -> None:
        """Read the table once and act on it; join first if this process is not a member."""
        try:
            if self._membership is None:
                await self.join()
            assert self._membership is not None
            await self._run_pass(self._membership)
        except StoreError as exc:
            self._note_failure(exc)
        else:
            self._failures = 0

    async def _run_pass(self, membership: Membership) -> None:
        if not membership.is_announced:
            await self._announce(membership)
        busy = self._engines.busy
        sent_s = self._clock.boot_s()
        fleet = await self._store.read_fleet()
        received_s = self._clock.boot_s()
        if membership.standing.is_fenced:
            return
        self._fleet = fleet
        await self._declare_dead(membership, sent_s, received_s)
        await self._check_engines(membership, busy)
        await self._take_over(membership)
        self._hand_over(membership)
        self._report_unserved()
        await self._forget_controllers()

    async def _announce(self, membership: Membership) -> None:
        announced, differences = [], {}
        for local in self._local_clusters():
            pinned = await self._store.pin_cluster(local.pins)
            announced.append(local.announced(pinned))
            if (reason := local.explain_refusal(pinned)) is not None:
                differences[local.pins.name] = reason
                _log.error("cluster_differs", cluster=local.pins.name, reason=reason)
        await self._store.announce(membership.controller_id, announced)
        membership.is_announced = True
        self._differences = differences

    async def _declare_dead(self, membership: Membership, sent_s: float, received_s: float) -> None:
        membership.observation, silent = observe(
            membership.observation,
            self._fleet,
            membership.controller_id,
            sent_s=sent_s,
            received_s=received_s,
            timings=self._timings,
        )
        for each in silent:
            if await self._store.declare_dead(each.controller_id, beat=each.beat):
                _log.warning("controller_declared_dead", controller_id=each.controller_id)

    async def _check_engines(self, membership: Membership, busy: frozenset[str]) -> None:
        """Compare with the table; `busy`: before the read, since it may show an older state."""
        if membership.standing.is_fenced:
            return
        engines = self._engines
        check = check_engines(
            self._fleet,
            membership.controller_id,
            engines.held,
            running=engines.running,
            busy=busy | engines.busy,
            failed=engines.failed,
        )
        for cluster in sorted(check.lost):
            _log.error("cluster_lost", cluster=cluster)
            engines.drop(cluster)
        for cluster in sorted(check.release):
            _log.warning("cluster_released", cluster=cluster)
            engines.hand_over(cluster, None, self._store)
        for ownership in check.reopen:
            _log.warning("cluster_without_engine", cluster=ownership.cluster)
            if ownership.cluster in engines.held:  # it has stopped by itself: the next pass opens
                engines.drop(ownership.cluster)
            else:
                engines.open(ownership, membership.standing)
        for ownership in check.give_away:
            if ownership.cluster not in engines.held:
                await give_away(self._store, ownership, None)

    async def _take_over(self, membership: Membership) -> None:
        now_s = self._clock.boot_s()
        membership.vacancies = find_vacancies(membership.vacancies, self._fleet, now_s)
        planned = plan_take_overs(
            self._fleet,
            membership.controller_id,
            membership.vacancies,
            excluded=self._engines.busy | self._engines.failed | self._engines.held.keys(),
            now_s=now_s,
            timings=self._timings,
        )
        for seen in planned:
            if not membership.standing.may_act:
                return  # the engine's first probe would wait, or this controller is fenced
            ownership = await self._store.take_over(seen, membership.controller_id)
            if ownership is None or membership.standing.is_fenced:
                continue
            self._take_overs += 1
            _log.info(
                "cluster_taken_over",
                cluster=seen.name,
                epoch=ownership.epoch,
                from_controller=seen.owner,
            )
            self._engines.open(ownership, membership.standing)

    def _hand_over(self, membership: Membership) -> None:
        now_s = self._clock.boot_s()
        planned = plan_hand_over(
            self._fleet,
            membership.controller_id,
            self._engines.idle,
            last_at_s=membership.last_hand_over_s,
            now_s=now_s,
            timings=self._timings,
        )
        if planned is not None:
            membership.last_hand_over_s = now_s
            _log.info("cluster_handed_over", cluster=planned.cluster, to=planned.to)
            self._engines.hand_over(planned.cluster, planned.to, self._store)

    def _report_unserved(self) -> None:
        unserved = find_unserved(self._fleet)
        for cluster in sorted(unserved - self._unserved):
            _log.error("cluster_unserved", cluster=cluster)
        self._unserved = unserved

    async def _forget_controllers(self) -> None:
        """Delete old rows, once there are twice as many as are kept."""
        named = {each.owner for each in self._fleet.clusters.values()}
        gone = [id_ for id_ in sorted(self._fleet.controllers) if not self._fleet.is_live(id_)]
        if len(gone) >= 2 * _KEPT_CONTROLLERS:
            await self._store.forget_controllers(
                [id_ for id_ in gone[:-_KEPT_CONTROLLERS] if id_ not in named]
            )

    def _note_failure(self, error: StoreError) -> None:
        if self._membership is not None:
            self._membership.observation = Observation()
        self._failures += 1
        if self._failures == 1:  # one line per outage
            event = "join_refused" if isinstance(error, MembershipRefused) else "watch_failed"
            _log.warning(event, error=str(error))

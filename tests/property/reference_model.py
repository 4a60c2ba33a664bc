"""A second implementation of the rules, as simple as possible: no counters, no records.

A cell is a stage of a lane (of no lane in a normal stage). After every event the model searches for
everything that may begin, from the first group; the real rules examine only the affected parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

from dagengine.model.stage_kinds import StageKind
from dagengine.model.states import State

Cell: TypeAlias = tuple[int, str | None]
PENDING, RUNNING, SUCCEED, FAILED = State.PENDING, State.RUNNING, State.SUCCEED, State.FAILED


class Reference:
    """Model of one DAG.

    Attributes:
        cells: the state of each cell.
        undoing: cells that a rollback is undoing.
        undone: cells that a rollback has undone.
        not_undone: cells whose undo failed.
        dag: RUNNING, SUCCEED or FAILED.
        direction: `up`, `nowhere` (the DAG is being cancelled) or `down` (it is rolled back).
        stage: the stage of a FAILED DAG; None where the model does not define it.
    """

    def __init__(self, kinds: Sequence[StageKind], targets: Sequence[str]) -> None:
        numbered = list(enumerate(kinds, 1))
        by_group = [
            (kind, [stage for stage, _ in members])
            for kind, members in groupby(numbered, key=lambda pair: pair[1])
        ]
        self.groups: list[tuple[bool, list[int]]] = []
        for kind, stages in by_group:
            is_lanes = kind is StageKind.PARALLEL
            self.groups += [(True, stages)] if is_lanes else [(False, [s]) for s in stages]
        self.targets = targets
        self.cells: dict[Cell, State] = {
            (stage, lane): PENDING
            for is_lanes, stages in self.groups
            for stage in stages
            for lane in self._lanes(is_lanes)
        }
        self.started: set[Cell] = set()
        self.undoing: set[Cell] = set()
        self.undone: set[Cell] = set()
        self.not_undone: set[Cell] = set()  # the undo failed
        self.stage: int | None = None
        self.dag, self.direction = RUNNING, "up"
        self._advance()

    # --- events --------------------------------------------------------------------------------

    def end(self, cell: Cell, *, well: bool) -> None:
        self.cells[cell] = SUCCEED if well else FAILED
        if cell in self.undoing:
            self.undoing.discard(cell)
            self.not_undone.discard(cell)
            (self.undone if well else self.not_undone).add(cell)
        if self.direction == "down":
            self._advance_rollback(cell[0])
        else:
            self._advance()

    def cancel(self) -> None:
        self.direction = "nowhere"
        self._advance()

    def retry(self) -> None:
        failed, first = self._failed_lanes(), 1 if self.was_touched else self._first_open()
        for is_lanes, stages in self.groups:
            for cell in [cell for cell in self.cells if cell[0] in stages and stages[-1] >= first]:
                is_good = is_lanes and cell[1] not in failed and self.cells[cell] is SUCCEED
                if self.was_touched or not is_good:
                    self.cells[cell] = PENDING
        self._restart_forward()

    def pass_node(self, stage: int) -> None:
        for cell in self.cells:
            if cell[0] == stage:
                self.cells[cell] = SUCCEED
        own = next(stages for _, stages in self.groups if stage in stages)
        for cell in self.cells:
            if cell[0] > own[-1]:
                self.cells[cell] = PENDING
        self._restart_forward()

    def pass_dag(self) -> None:
        self.cells = dict.fromkeys(self.cells, SUCCEED)
        self.dag = SUCCEED

    def roll_back(self) -> None:
        self.dag, self.direction = RUNNING, "down"
        self._advance_rollback(None)

    # --- consequences ------------------------------------------------------------------------

    def _lanes(self, is_lanes: bool) -> Iterable[str | None]:
        return self.targets if is_lanes else (None,)

    def _failed_lanes(self) -> set[str | None]:
        return {lane for (_, lane), state in self.cells.items() if lane and state is FAILED}

    @property
    def was_touched(self) -> bool:
        """Return whether a rollback has begun."""
        return bool(self.undone or self.not_undone)

    def _first_open(self) -> int:
        return min(stage for (stage, _), state in self.cells.items() if state is not SUCCEED)

    def _restart_forward(self) -> None:
        self.undone.clear()
        self.not_undone.clear()
        self.dag, self.direction = RUNNING, "up"
        self._advance()

    def _advance(self) -> None:
        if self.direction == "nowhere":
            if RUNNING not in self.cells.values():
                self._finish()
            return
        for is_lanes, stages in self.groups:
            living = [lane for lane in self._lanes(is_lanes) if lane not in self._failed_lanes()]
            for lane in living:
                self._begin_next([(stage, lane) for stage in stages])
            if any(self.cells[s, lane] is RUNNING for s in stages for lane in living):
                return
            if not living or (not is_lanes and self.cells[stages[0], None] is FAILED):
                break
        self._finish()

    def _begin_next(self, lane: list[Cell]) -> None:
        if not any(self.cells[cell] is RUNNING for cell in lane):
            for cell in lane:
                if self.cells[cell] is FAILED:
                    return
                if self.cells[cell] is PENDING:
                    self.cells[cell] = RUNNING
                    self.started.add(cell)
                    return

    def _finish(self) -> None:
        self.dag, self.stage = SUCCEED, None
        if set(self.cells.values()) != {SUCCEED} or self.was_touched:
            self.dag = FAILED
            is_plain = self.direction == "up" and not self.was_touched
            self.stage = self._first_open() if is_plain else None

    def _advance_rollback(self, from_stage: int | None) -> None:
        """Undo the highest remaining stage, once the one before is undone completely."""
        if RUNNING in self.cells.values():
            return
        if any(stage == from_stage for stage, _ in self.not_undone):
            self.dag, self.stage = FAILED, from_stage
            return
        remaining = self.started - self.undone
        if not remaining:
            self.dag = SUCCEED
        for cell in remaining:
            if cell[0] == max(stage for stage, _ in remaining):
                self.cells[cell] = RUNNING
                self.undoing.add(cell)

"""Pauses between repeated attempts at something that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """A sequence of pauses.

    Attributes:
        steps_s: the pauses in seconds, at least one; the last one repeats. A caller that gives up
            after them iterates over `steps_s`.
        jitter: share of a pause, 0 to 1, by which `pause_s` may shorten or lengthen it, so that
            many callers do not repeat at the same instant.
    """

    steps_s: Sequence[float]
    jitter: float = 0.0

    def pause_s(self, failures: int, random: Random | None = None) -> float:
        """Return the pause after a failure.

        Args:
            failures: how many failures came before this one.
            random: for the jitter; without it, the pause is exact.
        """
        step_s = self.steps_s[min(failures, len(self.steps_s) - 1)]
        if random is None:
            return step_s
        return step_s * (1 + self.jitter * random.uniform(-1, 1))

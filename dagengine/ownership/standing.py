"""Whether this controller may send commands to hosts. `may_act` is pure."""

from __future__ import annotations

import asyncio

from dagengine.ownership.timings import Timings
from dagengine.runtime.clock import BootClock


def may_act(held_since_s: float | None, now_s: float, timings: Timings) -> bool:
    """Return whether a command may be sent now.

    Args:
        held_since_s: when the last heartbeat that succeeded was sent; None before the first one,
            and once the controller is fenced.
        now_s: the current time, on the same clock.
        timings: lease and margin.
    """
    return held_since_s is not None and now_s - held_since_s < timings.act_limit_s


class Standing:
    """The standing of one membership: from a join until the controller is fenced or leaves.

    It is the `ActGuard` of the engines that this membership opens.

    Args:
        clock: this machine's CLOCK_BOOTTIME.
        timings: lease and margin.
    """

    def __init__(self, clock: BootClock, timings: Timings) -> None:
        self._clock = clock
        self._timings = timings
        self._held_since_s: float | None = None
        self._is_fenced = False
        self._renewed = asyncio.Event()

    @property
    def is_fenced(self) -> bool:
        return self._is_fenced

    @property
    def may_act(self) -> bool:
        """True while commands may be sent, and reads and `/owner` answered."""
        return may_act(self._held_since_s, self._clock.boot_s(), self._timings)

    @property
    def age_s(self) -> float | None:
        """Time since the last heartbeat that succeeded was sent; None without one."""
        held_since_s = self._held_since_s
        return None if held_since_s is None else self._clock.boot_s() - held_since_s

    def renew(self, sent_s: float) -> None:
        """Note a heartbeat that succeeded, with the instant before it was sent."""
        if not self._is_fenced:
            self._held_since_s = max(sent_s, self._held_since_s or sent_s)
            self._renewed.set()

    def fence(self) -> None:
        """End the standing for good."""
        self._is_fenced = True
        self._held_since_s = None

    async def wait_until_allowed(self) -> None:
        """Return at once while commands may be sent, otherwise after the next heartbeat.

        Once the controller is fenced, it waits until the clean-up cancels the attempt.
        """
        while not self.may_act:
            self._renewed.clear()
            await self._renewed.wait()

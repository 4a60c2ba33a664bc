"""The durations on which all controllers of a service agree, or which only one of them uses."""

from __future__ import annotations

from dataclasses import dataclass

from dagengine.errors import ConfigError
from dagengine.ownership import messages

MIN_LEASE_S, MAX_LEASE_S = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds, all on CLOCK_BOOTTIME of one machine.

    Attributes:
        lease_s: silence after which a controller is declared dead, 2 to 60. All controllers of a
            service have the same value; the store pins it.
        beat_s: time between two heartbeats.
        watch_s: time between two passes of the watch.
        act_margin_s: how long before the end of the lease no command is sent any more. It covers
            the different rates of two clocks and the time from the check to the send.
        reserved_s: how long others leave a cluster alone that was handed over to one controller.
        surplus_s: how long a cluster must have been free before a controller with its full share
            takes it.
        hand_over_s: time between two hand-overs by one controller.
        reopen_s: time between two attempts to open an engine, and how long a controller that
            failed to open a cluster leaves it to others.
        clean_up_s: limit on dropping the engines of a fenced controller.
        close_s: limit on closing all engines before the controller leaves.
        leave_s: limit on the statement with which it leaves.
    """

    lease_s: float = 2.5
    beat_s: float = 0.4
    watch_s: float = 0.25
    act_margin_s: float = 0.8
    reserved_s: float = 2.0
    surplus_s: float = 1.0
    hand_over_s: float = 60.0
    reopen_s: float = 5.0
    clean_up_s: float = 2.0
    close_s: float = 22.0
    leave_s: float = 4.0

    def __post_init__(self) -> None:
        if not MIN_LEASE_S <= self.lease_s <= MAX_LEASE_S:
            raise ConfigError(
                messages.LEASE_OUT_OF_RANGE(
                    lease_s=self.lease_s, least=MIN_LEASE_S, most=MAX_LEASE_S
                ),
                remedy=messages.CORRECT_LEASE(),
            )

    @property
    def max_gap_s(self) -> float:
        """The longest time without a read after which an observation still counts."""
        return 0.8 * self.lease_s

    @property
    def act_limit_s(self) -> float:
        """How long after a heartbeat was sent commands may be sent to hosts."""
        return self.lease_s - self.act_margin_s

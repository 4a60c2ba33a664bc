"""Messages of `dagengine.ownership`."""

from __future__ import annotations

from dagengine.errors import Message

LEASE_OUT_OF_RANGE = Message(
    "ownership.lease_out_of_range",
    "a lease of {lease_s} s cannot be used: it must be {least} to {most} s",
)
CORRECT_LEASE = Message("ownership.correct_lease", "correct `store.lease_s` in the engine file")
PIN_DIFFERS = Message(
    "ownership.pin_differs",
    "cluster {cluster} has the {field} {own} in the files of this controller, but {pinned} in the "
    "store",
)

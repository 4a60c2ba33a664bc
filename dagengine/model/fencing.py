"""Fencing tokens: by them a host rejects the commands of a controller that has been replaced."""

from __future__ import annotations

from dataclasses import dataclass

MAX_CHOSEN_EPOCH = 10**15
"""Limit on an epoch that a user chooses. Hosts compare numbers of up to 18 digits, so enough larger
epochs remain."""


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """The identity of a store.

    Attributes:
        store_id: 128 random bits in hexadecimal; copies and backups of the store keep it.
        epoch: starts at 1 and only grows. A restored store needs a new epoch, because hosts may
            know newer lock tokens than the backup.
    """

    store_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class FencingToken:
    """The right of a DAG to act on a host. A host accepts no token older than the newest it knows.

    Attributes:
        store_id: see StoreIdentity. Tokens of different stores cannot be compared.
        epoch: see StoreIdentity; a larger epoch is newer.
        lock_token: token of the lock that the DAG holds, 0 for none; of the same epoch, a larger
            one is newer.
        controller: name of the controller, for people.
    """

    store_id: str
    epoch: int
    lock_token: int
    controller: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """The right of a controller to write the rows of one cluster in a shared store.

    Attributes:
        cluster: the cluster's name.
        owner: id of the controller.
        epoch: number of the take-over; it grows each time the cluster changes hands.
        commit_no: number of the last commit when the controller took the cluster; each commit
            increases it by one.
    """

    cluster: str
    owner: int
    epoch: int
    commit_no: int

"""The fence of a home: the newest fencing token that has acted there. Pure.

`fence.sh` reads, compares and writes the file under the lock on the home.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dagengine import FencingToken
from dagengine.extension import MAX_CHOSEN_EPOCH
from tasks.hosts import messages
from tasks.hosts.identity import describe_lock_holder
from tasks.hosts.output import last_value, parse_lines

FENCE_FILE = ".dagengine-fence"
FUTURE_S = 86_400
"""An epoch that lies this far ahead of the Unix time cannot come from a clock that is right."""

_DAMAGED = "damaged"
_NAME_LIMIT = 80
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z.:_-]")
_RECORD = re.compile(
    r"(?P<store_id>[0-9a-f]{32}) (?P<epoch>[0-9]{1,18}) (?P<lock_token>[0-9]{1,18})"
    r" (?P<controller>[0-9A-Za-z.:_-]{1,80}) (?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class FenceRecord:
    """The content of a fence.

    Attributes:
        token: the newest token that acted in the home.
        at: when, by the host's clock: an instant in UTC, as text.
    """

    token: FencingToken
    at: str

    def __str__(self) -> str:
        return f"{render_token(self.token)} {self.at}"


@dataclass(frozen=True, slots=True)
class HomeFence:
    """The fence of a home.

    Attributes:
        record: its content; None if there is no file, or if it is damaged.
        is_damaged: whether the file is damaged or cannot be read.
    """

    record: FenceRecord | None = None
    is_damaged: bool = False

    def __str__(self) -> str:
        return _DAMAGED if self.is_damaged else str(self.record or "")


class FenceVerdict(StrEnum):
    """What a fence says about a token."""

    PASSED = "passed"
    STALE = "stale"
    FOREIGN = "foreign"


def render_token(token: FencingToken | None) -> str:
    """Return a token as an argument of the scripts; empty for None."""
    if token is None:
        return ""
    name = _NOT_IN_NAMES.sub("-", token.controller)[:_NAME_LIMIT] or "-"
    return f"{token.store_id} {token.epoch} {token.lock_token} {name}"


def parse_fence(values: Mapping[str, Sequence[str]]) -> HomeFence:
    """Return the fence that a script has read; invalid content counts as damaged."""
    text = last_value(values, "fence")
    if not text:
        return HomeFence()
    fields = _RECORD.fullmatch(text)
    if fields is None:
        return HomeFence(is_damaged=True)
    token = FencingToken(
        fields["store_id"],
        int(fields["epoch"]),
        int(fields["lock_token"]),
        fields["controller"],
    )
    return HomeFence(FenceRecord(token, fields["at"]))


def compare_token(fence: HomeFence, token: FencingToken) -> FenceVerdict:
    """Return what a fence says about a token, as the scripts decide it."""
    if fence.is_damaged:
        return FenceVerdict.FOREIGN
    if fence.record is None:
        return FenceVerdict.PASSED
    newest = fence.record.token
    if newest.store_id != token.store_id:
        return FenceVerdict.FOREIGN
    if (newest.epoch, newest.lock_token) > (token.epoch, token.lock_token):
        return FenceVerdict.STALE
    return FenceVerdict.PASSED


def explain_fence(
    verdict: FenceVerdict, fence: HomeFence, token: FencingToken, home: str, name: str
) -> tuple[str, str]:
    """Return why a token may not act in a home, and the remedy.

    Args:
        verdict: STALE or FOREIGN.
        fence: the fence of the home.
        token: the token that was rejected.
        home: the home.
        name: name of its server.
    """
    record = fence.record
    if record is None:
        return messages.FENCE_DAMAGED(file=f"{home}/{FENCE_FILE}"), messages.CLAIM_HOME(server=name)
    newest = record.token
    fields = {"home": home, "controller": newest.controller, "at": record.at}
    if verdict is FenceVerdict.STALE:
        cause = messages.TOKEN_STALE(
            **fields,
            epoch=newest.epoch,
            lock_token=newest.lock_token,
            own_epoch=token.epoch,
            own_token=token.lock_token,
        )
        return cause, _stale_remedy(newest.epoch, token.epoch, name)
    cause = messages.OTHER_STORE(**fields, store=newest.store_id[:8])
    return cause, messages.CLAIM_HOME(server=name)


def _stale_remedy(newest: int, own: int, name: str) -> str:
    if newest > MAX_CHOSEN_EPOCH:  # no epoch of a store can follow it
        return messages.CLAIM_DAMAGED_HOME(server=name)
    if newest > own:  # the Unix time may be smaller, if a clock was wrong once
        return messages.RENEW_EPOCH_AT_LEAST(epoch=newest + 1)
    return messages.RENEW_EPOCH()


def is_in_future(fence: HomeFence, now: datetime) -> bool:
    """Return True if the epoch of a fence shows a wrong clock or a damaged file."""
    record = fence.record
    return record is not None and record.token.epoch > now.timestamp() + FUTURE_S


class ProbeOutcome(StrEnum):
    """Result of the probes that record a token."""

    DONE = "done"  # no command holds the lock; the token was recorded if possible
    STALE = "stale"  # a newer token has acted in this home
    FOREIGN = "foreign"  # another store controls this home, or its fence is damaged
    UNKNOWN = ""  # a command holds the lock, or the home does not answer


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Parsed response of a probe that records a token; see StopReport."""

    outcome: ProbeOutcome
    fence: HomeFence = field(default_factory=HomeFence)
    unrecorded: str = ""
    lock_holder: str = ""
    failure: str = ""


def parse_probe(output: str) -> ProbeReport:
    """Parse the response to `wait_for_lock_command` or `confirm_first_start_command`."""
    values = parse_lines(output)
    outcome = last_value(values, "outcome")
    if "yes" in (last_value(values, "quiet"), last_value(values, "done")):
        outcome = ProbeOutcome.DONE
    return ProbeReport(
        ProbeOutcome(outcome) if outcome in set(ProbeOutcome) else ProbeOutcome.UNKNOWN,
        parse_fence(values),
        last_value(values, "fence_unrecorded"),
        describe_lock_holder(values),
    )


class ClaimOutcome(StrEnum):
    """Result of the claim of a home."""

    CLAIMED = "claimed"
    CHANGED = "changed"  # the fence is not the one that the user has seen
    UNKNOWN = ""  # not recorded, locked, or the home does not answer


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """Parsed response of the claim of a home; `unrecorded` is as in StopReport."""

    outcome: ClaimOutcome
    unrecorded: str = ""


def parse_claim(output: str) -> ClaimReport:
    """Parse the response to `claim_home_command`."""
    values = parse_lines(output)
    outcome = last_value(values, "outcome")
    return ClaimReport(
        ClaimOutcome(outcome) if outcome in set(ClaimOutcome) else ClaimOutcome.UNKNOWN,
        last_value(values, "fence_unrecorded"),
    )

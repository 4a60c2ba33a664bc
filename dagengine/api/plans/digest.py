"""Digest of the decisions in a plan. Pure.

The digest has one part for each kind of decision, so that a different digest shows what has
changed, although the server does not keep the plan.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagengine.api import messages
from dagengine.api.extension import Plan
from dagengine.api.schemas.tasks import PlanPart
from dagengine.errors import IllegalArgument, Message

IF_PLAN_MATCHES = "If-Plan-Matches"
"""Header of a request that is to have exactly the effects of a plan: the digest of that plan."""

PLAN_DIGEST = "Plan-Digest"
"""Header of a response with a plan."""

_VERSION = "p1"
_PART_CHARS = 16  # 64 bits: parts differ by accident only, they protect against no attacker
_PATTERN = re.compile(rf"{_VERSION}(?:-[0-9a-f]{{{_PART_CHARS}}}){{4}}")
_SHOWN_CHARS = 100


@dataclass(frozen=True, slots=True)
class PlanDigest:
    """Digests of the parts of a plan; `str` renders it as it is sent.

    Attributes:
        targets: the operation, its servers and its parameters.
        verdicts: the verdict on each server, and its basis.
        lock: the DAGs that hold the lock or have requested it.
        cluster_file: the content of the cluster file.
    """

    targets: str
    verdicts: str
    lock: str
    cluster_file: str

    def __str__(self) -> str:
        return f"{_VERSION}-{self.targets}-{self.verdicts}-{self.lock}-{self.cluster_file}"

    def find_changes(self, new: PlanDigest) -> tuple[PlanPart, ...]:
        """Return the parts in which another digest differs."""
        parts = (
            (PlanPart.TARGETS, self.targets == new.targets),
            (PlanPart.VERDICTS, self.verdicts == new.verdicts),
            (PlanPart.LOCK, self.lock == new.lock),
            (PlanPart.CLUSTER_FILE, self.cluster_file == new.cluster_file),
        )
        return tuple(part for part, is_same in parts if not is_same)


CHANGES: Mapping[PlanPart, Message] = {
    PlanPart.TARGETS: messages.TARGETS_CHANGED,
    PlanPart.VERDICTS: messages.VERDICTS_CHANGED,
    PlanPart.LOCK: messages.LOCK_CHANGED,
    PlanPart.CLUSTER_FILE: messages.CLUSTER_FILE_CHANGED,
}
"""Descriptions of the changes that `PlanDigest.find_changes` returns."""


def digest_plan(plan: Plan, claims: Sequence[int], file_digest: str) -> PlanDigest:
    """Return the digest of a plan.

    Args:
        plan: the plan.
        claims: ids of the DAGs that hold the plan's lock or have requested it.
        file_digest: digest of the cluster file in use.
    """
    submission = plan.submission
    params = json.dumps(submission.params, sort_keys=True)
    verdicts = [[server.name, server.verdict, *server.basis] for server in plan.servers]
    return PlanDigest(
        targets=_digest([submission.operation, list(submission.targets), params]),
        verdicts=_digest(verdicts),
        lock=_digest([plan.lock_key, sorted(claims)]),
        cluster_file=_digest(file_digest),
    )


def parse_digest(text: str) -> PlanDigest:
    """Return the digest in a header or a form.

    Raises:
        IllegalArgument: the text does not have the form of a digest.
    """
    if not _PATTERN.fullmatch(text):
        raise IllegalArgument(
            messages.PLAN_DIGEST_INVALID(header=IF_PLAN_MATCHES, value=text[:_SHOWN_CHARS]),
            remedy=messages.SEND_PLAN_DIGEST(),
        )
    return PlanDigest(*text.split("-")[1:])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:_PART_CHARS]

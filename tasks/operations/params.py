"""Parameters of the operations: created by the routes, stored as JSON, passed to every step.

Keys and values of the JSON are stored in existing stores and must not change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar

from dagengine import Failed, Json, Outcome, Problem, StepContext, StepFunction
from tasks.cluster.scope import RequestedScope, ScopeKind
from tasks.errors import StoredParamsInvalid
from tasks.flavours.base import StopMode
from tasks.operations import messages

P = TypeVar("P")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class StartParams:
    """Parameters of `Start OB`.

    Attributes:
        scope: the servers to start.
        force_pass: generic ids of tasks to pass if one of them holds the cluster lock.
        skip_checks: names of checks whose block is ignored.
    """

    scope: RequestedScope
    force_pass: tuple[str, ...] = ()
    skip_checks: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return the parameters as stored."""
        skips = {"skip_checks": [*self.skip_checks]} if self.skip_checks else {}
        return {**_render_common(self.scope, self.force_pass), **skips}

    @classmethod
    def from_json(cls, params: Json) -> StartParams:
        """Decode stored parameters; other keys are ignored.

        Raises:
            StoredParamsInvalid: a key is missing, or its value is invalid.
        """
        return cls(
            _parse_scope(params),
            _parse_names(params, "force_pass"),
            _parse_names(params, "skip_checks"),
        )


@dataclass(frozen=True, slots=True)
class StopParams:
    """Parameters of `Stop OB`.

    Attributes:
        scope: the servers to stop.
        mode: how they are stopped.
        force_pass: generic ids of tasks to pass if one of them holds the cluster lock.
        freeze: a plain stop begins with a minor freeze, as a terminating stop always does.
    """

    scope: RequestedScope
    mode: StopMode
    force_pass: tuple[str, ...] = ()
    freeze: bool = False

    @property
    def has_freeze(self) -> bool:
        """Whether the servers write their memory to disk before they are stopped."""
        return self.freeze or self.mode is StopMode.TERMINATE

    def to_json(self) -> Json:
        """Return the parameters as stored."""
        freeze = {"freeze": True} if self.freeze else {}
        return {**_render_common(self.scope, self.force_pass), "mode": str(self.mode), **freeze}

    @classmethod
    def from_json(cls, params: Json) -> StopParams:
        """Decode stored parameters; other keys are ignored.

        Raises:
            StoredParamsInvalid: a key is missing, or its value is invalid.
        """
        return cls(
            _parse_scope(params),
            _parse_choice(StopMode, "mode", params.get("mode")),
            _parse_names(params, "force_pass"),
            params.get("freeze") is True,
        )


Step: TypeAlias = Callable[[StepContext, P], Awaitable[Outcome]]
"""A step that receives the parameters of its operation."""


def with_params(decode: Callable[[Json], P], step: Step[P]) -> StepFunction:
    """Return a step for a Stage that decodes the stored parameters; it fails if they are invalid.

    Args:
        decode: `from_json` of the parameters' class.
        step: receives the decoded parameters.
    """

    async def run(context: StepContext) -> Outcome:
        try:
            params = decode(context.params)
        except StoredParamsInvalid as exc:
            return Failed(Problem(exc.err_code, exc.message, exc.remedy))
        return await step(context, params)

    return run


def _render_common(scope: RequestedScope, force_pass: tuple[str, ...]) -> Json:
    return {
        "scope": {"type": str(scope.kind), "target": [*scope.target]},
        "force_pass": [*force_pass],
    }


def _parse_scope(params: Json) -> RequestedScope:
    scope = params.get("scope")
    if not isinstance(scope, dict):
        raise _invalid_error("scope", messages.NOT_OBJECT(value=scope))
    kind = _parse_choice(ScopeKind, "scope.type", scope.get("type"))
    return RequestedScope(kind, _parse_names(scope, "target", name="scope.target"))


def _parse_names(params: Json, key: str, *, name: str = "") -> tuple[str, ...]:
    """Return a list of texts; missing and null count as an empty list."""
    names = params.get(key)
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(text, str) for text in names):
        raise _invalid_error(name or key, messages.NOT_TEXTS(value=names))
    return tuple(names)


def _parse_choice(choices: type[E], key: str, value: object) -> E:
    for choice in choices:
        if choice == value:
            return choice
    raise _invalid_error(key, messages.NOT_CHOICE(value=value, choices=", ".join(choices)))


def _invalid_error(key: str, reason: str) -> StoredParamsInvalid:
    return StoredParamsInvalid(
        messages.PARAMETER_INVALID(key=key, reason=reason), remedy=messages.CANCEL_AND_REPEAT()
    )

"""The steps between versions of the schema, and who may use a store.

Each version has an *expand* step, which adds what its programs need, and may have a *contract*
step, which removes what they do not use any more. Programs of the previous version keep working
after the first; the second waits until none of them runs. An expand step without statements is for
a version that only removes something: its programs have ceased to write it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from dagengine.store.queries import read_sql

_STORE, _STEPS = "dagengine.store.mysql", "migrations"
_STEP_FILE = re.compile(r"(?P<version>[0-9]{4})_\w+\.(?P<kind>expand|contract)\.sql")
_COMPATIBLE_FROM = re.compile(r"-- compatible_from: ([0-9]+)$", re.MULTILINE)
_COMMENT = re.compile(r"--.*")


class StepKind(StrEnum):
    """What a step does; of one version, EXPAND comes first."""

    EXPAND = "expand"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an upgrade.

    Attributes:
        version: the schema version to which it belongs.
        compatible_from: programs of this schema version and later work with the store after it.
        statements: DDL; each may run again.
    """

    version: int
    kind: StepKind
    compatible_from: int
    statements: Sequence[str]

    def __post_init__(self) -> None:
        """Check that the lowest version fits the kind."""
        is_contract = self.kind is StepKind.CONTRACT
        if self.compatible_from > self.version or (
            is_contract and self.compatible_from != self.version
        ):
            raise ValueError(f"step {self} must not be compatible from {self.compatible_from}")

    def __str__(self) -> str:
        return f"{self.version} ({self.kind})"


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a program has.

    Attributes:
        creation: creates all tables in an empty database, as they are after all steps.
        steps: ascending by version, EXPAND before CONTRACT.

    Raises:
        ValueError: a version has no expand step, or a contract step although programs that are two
            versions older may run beside its programs.
    """

    creation: Sequence[str]
    steps: Sequence[Step]

    def __post_init__(self) -> None:
        """Check that the steps fit together."""
        expand = {step.version: step for step in self.steps if step.kind is StepKind.EXPAND}
        if list(expand) != list(range(2, len(expand) + 2)):
            raise ValueError(f"expand steps are not numbered 2, 3, …: {list(expand)}")
        for step in self.steps:
            before = expand.get(step.version)
            if before is None or (
                step.kind is StepKind.CONTRACT and before.compatible_from < step.version - 1
            ):
                raise ValueError(f"step {step} needs an expand step for the previous version only")

    @property
    def version(self) -> int:
        """Return the version of the schema."""
        return max((step.version for step in self.steps), default=1)

    @property
    def created(self) -> SchemaState:
        """Return the state of a store that this program has created."""
        lowest = max((step.compatible_from for step in self.steps), default=1)
        return SchemaState(self.version, lowest, self.version)


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What a store says of its schema.

    Attributes:
        version: up to this version all expand steps are done; 0 if there is no complete schema.
        compatible_from: the lowest schema version of a program that may use the store.
        contracted: up to this version all contract steps are done.
    """

    version: int
    compatible_from: int
    contracted: int

    def admits(self, version: int) -> bool:
        """Return whether a program with this schema version may use the store."""
        return self.compatible_from <= version <= self.version


def find_expand_steps(schema: Schema, state: SchemaState) -> Sequence[Step]:
    """Return the expand steps that are still to be done."""
    return [
        step
        for step in schema.steps
        if step.kind is StepKind.EXPAND and step.version > state.version
    ]


def find_contract_steps(schema: Schema, state: SchemaState) -> Sequence[Step]:
    """Return the contract steps that are still to be done, after all expand steps."""
    return [
        step
        for step in schema.steps
        if step.kind is StepKind.CONTRACT and step.version > state.contracted
    ]


@cache
def load_schema() -> Schema:
    """Return the schema of this program."""
    files = resources.files(_STORE).joinpath(_STEPS)
    names = [entry.name for entry in files.iterdir() if entry.name.endswith(".sql")]
    steps = [parse_step(name, read_sql(_STORE, f"{_STEPS}/{name}")) for name in names]
    steps.sort(key=lambda step: (step.version, step.kind is StepKind.CONTRACT))
    return Schema(split_statements(read_sql(_STORE, "schema.sql")), steps)


def parse_step(name: str, text: str) -> Step:
    """Parse a file `NNNN_name.expand.sql` or `NNNN_name.contract.sql`.

    Its first line is `-- compatible_from: N`.

    Raises:
        ValueError: the name or the first line does not have this form.
    """
    file, lowest = _STEP_FILE.fullmatch(name), _COMPATIBLE_FROM.match(text)
    if file is None or lowest is None:
        raise ValueError(f"{name} is not a step of a migration")
    kind = StepKind(file["kind"])
    return Step(int(file["version"]), kind, int(lowest[1]), split_statements(text))


def split_statements(text: str) -> Sequence[str]:
    """Return the statements of a file without comments."""
    statements = (part.strip() for part in _COMMENT.sub("", text).split(";"))
    return [statement for statement in statements if statement]

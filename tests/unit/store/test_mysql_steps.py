"""The steps that upgrade a shared store: files, order, and who may use a store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagengine.store.mysql.migrations.steps import (
    Schema,
    SchemaState,
    Step,
    StepKind,
    find_contract_steps,
    find_expand_steps,
    load_schema,
    parse_step,
)

EXPAND, CONTRACT = StepKind.EXPAND, StepKind.CONTRACT
TWO = Step(2, EXPAND, 1, ("a",))
THREE = Step(3, EXPAND, 2, ("b",))
REMOVAL = Step(3, CONTRACT, 3, ("c",))
SCHEMA = Schema(("CREATE",), (TWO, THREE, REMOVAL))


def test_own_schema_creates_meta_first() -> None:
    schema = load_schema()
    assert "CREATE TABLE IF NOT EXISTS meta" in schema.creation[0]
    assert schema.version >= 2
    assert schema.created.admits(schema.version)


def test_step_is_parsed_with_lowest_version() -> None:
    text = "-- compatible_from: 3\n-- why; and how\nALTER TABLE a ADD b INT; -- c\nDROP TABLE d;\n"
    step = parse_step("0004_name.expand.sql", text)
    assert step == Step(4, EXPAND, 3, ["ALTER TABLE a ADD b INT", "DROP TABLE d"])
    assert str(step) == "4 (expand)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0004_name.sql", "-- compatible_from: 3\n"),
        ("4_name.expand.sql", "-- compatible_from: 3\n"),
        ("0004_name.expand.sql", "ALTER TABLE a ADD b INT;"),
        ("0004_name.expand.sql", "-- why\n-- compatible_from: 3\n"),
        ("0004_name.expand.sql", "-- compatible_from: 5\n"),
        ("0004_name.contract.sql", "-- compatible_from: 3\n"),
    ],
)
def test_file_of_other_form_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="step"):
        parse_step(name, text)


@pytest.mark.parametrize(
    "steps",
    [
        (THREE,),
        (TWO, REMOVAL),
        (TWO, replace(THREE, compatible_from=1), REMOVAL),
    ],
    ids=["gap", "contract without expand", "contract beside programs of two versions"],
)
def test_steps_that_do_not_fit_are_refused(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="expand step"):
        Schema((), steps)


@pytest.mark.parametrize(
    ("state", "expand", "contract"),
    [
        (SchemaState(1, 1, 1), [TWO, THREE], [REMOVAL]),
        (SchemaState(2, 1, 1), [THREE], [REMOVAL]),
        (SchemaState(3, 2, 2), [], [REMOVAL]),
        (SchemaState(3, 3, 2), [], [REMOVAL]),  # interrupted after programs were excluded
        (SchemaState(3, 3, 3), [], []),
        (SchemaState(4, 3, 4), [], []),
    ],
)
def test_remaining_steps_are_found(
    state: SchemaState, expand: list[Step], contract: list[Step]
) -> None:
    assert find_expand_steps(SCHEMA, state) == expand
    assert find_contract_steps(SCHEMA, state) == contract


def test_created_store_has_nothing_to_contract() -> None:
    assert SCHEMA.created == SchemaState(3, 3, 3)
    assert Schema((), (TWO, THREE)).created == SchemaState(3, 2, 3)
    assert Schema((), ()).created == SchemaState(1, 1, 1)


@pytest.mark.parametrize(("program", "is_admitted"), [(1, False), (2, True), (3, True), (4, False)])
def test_store_admits_programs_in_range(program: int, *, is_admitted: bool) -> None:
    assert SchemaState(3, 2, 2).admits(program) is is_admitted

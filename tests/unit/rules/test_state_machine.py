"""The state table."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dagengine.model.states import Entity, Operator, State
from dagengine.rules.state_machine import RULES, Event, IllegalTransition, next_state
from docs.generate import render_state_machine

NOW = datetime(2024, 1, 1, tzinfo=UTC)

# protocol.md 5.1, the pairs that clients may see. (The rules produce a subset of them.)
LEGAL = {
    Entity.DAG: {
        *((s, o) for s in ("READY", "RUNNING", "FAILED", "SUCCEED") for o in ("RUN", "ROLLBACK")),
        *((s, "CANCEL") for s in ("READY", "RUNNING", "FAILED")),
        ("SUCCEED", "PASS"),
    },
    Entity.NODE: {
        *(
            (s, o)
            for s in ("PENDING", "RUNNING", "FAILED", "SUCCEED")
            for o in ("RUN", "RETRY", "ROLLBACK")
        ),
        *((s, "CANCEL") for s in ("PENDING", "RUNNING", "FAILED")),
        ("SUCCEED", "PASS"),
    },
    Entity.SUB_TASK: {
        ("PENDING", "RUN"),
        *((s, o) for s in ("READY", "RUNNING", "FAILED", "SUCCEED") for o in ("RUN", "ROLLBACK")),
        ("SUCCEED", "PASS"),
    },
}


def test_next_state_each_rule_gives_legal_pair() -> None:
    for rule in RULES:
        for state in rule.states:
            for operator in rule.operators:
                if (state, operator) not in LEGAL[rule.entity]:
                    continue
                assert next_state(rule.entity, state, operator, rule.event) in LEGAL[rule.entity]


def test_next_state_illegal_transition_names_state_and_event() -> None:
    with pytest.raises(IllegalTransition, match="a dag that is SUCCEED \\+ RUN cannot retry"):
        next_state(Entity.DAG, State.SUCCEED, Operator.RUN, Event.RETRY)


def test_state_machine_rules_do_not_overlap() -> None:
    cases = [
        (rule.entity, state, operator, rule.event)
        for rule in RULES
        for state in rule.states
        for operator in rule.operators
    ]
    assert len(cases) == len(set(cases))


def test_state_machine_page_matches_generated_text() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "state_machine.md"
    assert page.read_text(encoding="utf-8") == render_state_machine()

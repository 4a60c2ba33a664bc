"""docs/state_machine.md, made from the table: `python -m dagengine.rules.page [--check] FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from dagengine.model.states import Entity
from dagengine.rules.machine import ANY, INITIAL, REACHABLE, RULES


def render_page() -> str:
    """docs/state_machine.md, made from the table."""
    lines = [
        "# The state machine",
        "",
        "Generated from the table in `dagengine/rules/machine.py` by",
        "`python -m dagengine.rules.page docs/state_machine.md`; `make check` compares the two.",
    ]
    for entity in Entity:
        rules = [rule for rule in RULES if rule.entity is entity]
        lines += [
            "",
            f"## {str(entity).upper() if entity is Entity.DAG else str(entity).capitalize()}",
            "",
        ]
        lines += ["```mermaid", "stateDiagram-v2", f"    [*] --> {INITIAL[entity][0]}"]
        for rule in rules:
            for state in rule.states:
                lines.append(
                    f"    {state} --> {rule.to_state or state}: {rule.letter} {rule.event}"
                )
        lines += ["```", "", "| | from | operator | event | to | operator then | meaning |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for rule in rules:
            operators = "any" if rule.operators == ANY else ", ".join(rule.operators)
            lines.append(
                f"| {rule.letter} | {', '.join(rule.states)} | {operators} | {rule.event} "
                f"| {rule.to_state or 'same'} | {rule.to_operator or 'same'} | {rule.meaning} |"
            )
        pairs = sorted(f"{state} + {operator}" for state, operator in REACHABLE[entity])
        lines += ["", f"Legal pairs: {', '.join(pairs)}."]
    return "\n".join(lines) + "\n"


def main(argv: list[str]) -> int:
    """Write the page, or with `--check` compare it."""
    path = Path(argv[-1])
    if argv[0] != "--check":
        path.write_text(render_page(), encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == render_page():
        return 0
    sys.stderr.write(f"{path} is not what the table says; run python -m {__spec__.name} {path}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""YAML in which nothing is lost without a word, and whose errors quote nothing."""

from __future__ import annotations

from typing import Any

import yaml


class _KeyTwice(yaml.MarkedYAMLError):
    """A key occurs twice in one map."""


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that occurs twice: one of the two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key '{key.value}' occurs twice"
                raise _KeyTwice(problem=problem, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def explain_yaml(exc: yaml.YAMLError) -> str:
    """What is wrong and where, without a word of the file."""
    mark = getattr(exc, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    what = exc.problem if isinstance(exc, _KeyTwice) else "it is not YAML"
    return f"{what}{where}"

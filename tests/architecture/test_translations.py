"""Each table of translations matches the English catalogues, and covers the errors of the API."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter

import pytest

from dagengine.errors import ApiError, DagengineError, Message, SecurityError
from dagengine.messages_zh import TEMPLATES as DAGENGINE_ERRORS
from dagengine.security.errors import DECRYPTION_ERRORS, TooManyRequests
from dagengine.web.messages_zh import TEMPLATES as DAGENGINE_PAGES
from tasks.messages_zh import TEMPLATES as TASKS_ERRORS
from tasks.web.messages_zh import TEMPLATES as TASKS_PAGES
from tests.architecture.test_messages import error_names, in_all, message_name
from tests.support.source_trees import parse_source

ROOT = Path(__file__).parents[2]
DAGENGINE = {**DAGENGINE_ERRORS, **DAGENGINE_PAGES}
TASKS = {**TASKS_ERRORS, **TASKS_PAGES}
TABLES = {"dagengine": DAGENGINE, "tasks": TASKS}
ENGLISH = {message.key: message for _, _, message in in_all()}
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# Only names, fields and punctuation.
NO_WORDS = {
    *("rules.dag_name", "tasks.flavours.remedies", "tasks.planning.blocked"),
    *("tasks.web.operation_on", "tasks.web.sentence", "tasks.web.server_is"),
}
# Not sent by a controller: the command line and the client raise errors of the API themselves.
CALLERS = ("dagengine/cli", "dagengine/client", "tasks/cli", "tasks/demo")


def replacements(template: str) -> set[tuple[str, str, str]]:
    """Return the fields of a template with their format and conversion."""
    return {
        (name, spec or "", conversion or "")
        for _, name, spec, conversion in Formatter().parse(template)
        if name is not None
    }


def subclass_names(error: type[DagengineError]) -> set[str]:
    return {error.__name__}.union(*map(subclass_names, error.__subclasses__()))


def sent_errors() -> set[str]:
    """Return the names of the errors that a controller responds with."""
    error_names()  # imports all modules
    bases = (ApiError, SecurityError, TooManyRequests, *DECRYPTION_ERRORS)
    return set().union(*map(subclass_names, bases))


def sent_messages(source: str, errors: set[str]) -> set[str]:
    """Return the constants of the messages in calls of these errors, and in their constructors."""
    tree = parse_source(source)
    calls: list[ast.AST] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in errors
    ]
    calls += [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name in errors]
    return {name for call in calls for n in ast.walk(call) if (name := message_name(n))}


@pytest.mark.parametrize("package", TABLES)
def test_translation_keys_are_those_of_messages(package: str) -> None:
    other = [key for key in TABLES[package] if key not in ENGLISH]
    assert other == []
    assert {key.startswith("tasks.") for key in TABLES[package]} == {package == "tasks"}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_translation_has_the_fields_of_its_message(table: Mapping[str, str]) -> None:
    wrong = {
        key: template
        for key, template in table.items()
        if replacements(template) != replacements(ENGLISH[key].template)
    }
    assert wrong == {}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_translation_is_one_line_of_chinese(table: Mapping[str, str]) -> None:
    wrong = [
        key
        for key, template in table.items()
        if (key not in NO_WORDS and not CHINESE.search(template))
        or "\n" in template
        or template.endswith(("。", "；", ".", ";"))
    ]
    assert wrong == []


def test_translation_of_task_not_found_keeps_prefix() -> None:
    assert DAGENGINE["dagengine.task_not_found"].startswith("Task not found: ")


def test_each_message_of_an_api_error_is_translated() -> None:
    errors, missing, sent = sent_errors(), set(), dict[str, set[str]]()
    for catalogue, name, message in in_all():
        if (package := catalogue.package) not in sent:
            own = [f.read_text("utf-8") for f in catalogue.sources() if not is_of_caller(f)]
            sent[package] = set().union(*(sent_messages(source, errors) for source in own))
        if name in sent[package]:
            missing |= {message.key} - DAGENGINE.keys() - TASKS.keys()
    assert len(sent["dagengine/security"]) > 20
    assert missing == set()


def is_of_caller(file: Path) -> bool:
    return file.relative_to(ROOT).as_posix().startswith(CALLERS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise Conflict(messages.A(b=messages.B()), remedy=messages.C())", {"A", "B", "C"}),
        ("class Conflict(E):\n    def f(self):\n        super().f(messages.A())", {"A"}),
        ("raise ConfigError(messages.A())", set()),
    ],
)
def test_sent_messages_finds_all_of_an_error(source: str, expected: set[str]) -> None:
    assert sent_messages(source, {"Conflict"}) == expected


@pytest.mark.parametrize("template", ["{b}", "{a} {b}", "{a!r}", "{a:g}", ""])
def test_other_fields_of_a_translation_are_found(template: str) -> None:
    assert replacements(template) != replacements(Message("x.a", "text {a}").template)

"""User-visible texts are in the catalogues `messages.py`, well-formed, and used as declared."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import dagengine
import tasks
from dagengine.errors import DagengineError, Message
from tests.architecture.test_vocabulary import hits_in
from tests.support.source_trees import nodes_in, parse_source

ROOT = Path(__file__).parents[2]
NEGATED_NOUN = re.compile(r"\b[Nn]o \w+ (that|which|who)\b")
# Constructors and functions with texts for users, in addition to all errors. Two kinds of texts
# stay outside `messages.py`, because their declarations are catalogues themselves: the arguments
# `examines`, `remedy` and `blocks_when` of `@check` in tasks/preflight/checks_*.py, which belong to
# the name and severity of a check at its function, and errors in tasks/diagnosis/error_codes.py.
IN_TEMPLATE = re.compile(r"\b(?:ui|t)\.([A-Z_]+)")  # a message in the template of a page
OTHER_SHOWN = {
    *("Problem", "YamlRefused", "SelfCheckResult", "typer.BadParameter"),
    *("Finding", "Blocked", "NoOp", "Contradictory", "Diagnosis"),
    *("MetaDbUnreadable", "MetaDbEmpty"),
    *("sys.stdout.write", "sys.stderr.write"),
    *("retryable_problem", "context.log", "context.wait_for"),
    *("ServerPlan", "Observation", "NotListening", "Refused"),
}
ALLOWED = {
    "dagengine/messages.py": "programming errors in a catalogue",
    "tasks/demo/reaper.py": "a program of its own that imports the standard library only",
}


@dataclass(frozen=True)
class Catalogue:
    """The messages of one package.

    Attributes:
        package: path of the package, such as `dagengine/api`.
        constants: the messages by the names of their constants.
    """

    package: str
    constants: dict[str, Message]

    @property
    def prefix(self) -> str:
        """Return the first part of each key: the package without `dagengine.`."""
        return self.package.replace("/", ".").removeprefix("dagengine.")

    def sources(self) -> list[Path]:
        """Return the modules of the package that use the catalogue."""
        if self.package == "dagengine":
            errors = (ROOT / "dagengine" / "errors").glob("*.py")
            others = (ROOT / "dagengine" / name for name in ("lines.py", "local_user.py"))
            return [*errors, *others]
        return [*(ROOT / self.package).rglob("*.py")]


@cache
def catalogues() -> tuple[Catalogue, ...]:
    files = [*ROOT.glob("dagengine/**/messages.py"), *ROOT.glob("tasks/**/messages.py")]
    modules = [
        importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for file in sorted(files)
    ]
    made = [
        Catalogue(
            module.__name__.rpartition(".")[0].replace(".", "/"),
            {name: value for name, value in vars(module).items() if isinstance(value, Message)},
        )
        for module in modules
    ]
    return tuple(catalogue for catalogue in made if catalogue.constants)


def in_all() -> Iterator[tuple[Catalogue, str, Message]]:
    for catalogue in catalogues():
        for name, message in catalogue.constants.items():
            yield catalogue, name, message


@cache
def error_names() -> frozenset[str]:
    """Return the names of all error classes of both packages."""
    for package in (dagengine, tasks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    names, classes = set(), [DagengineError]
    while classes:
        error = classes.pop()
        names.add(error.__name__)
        classes += error.__subclasses__()
    return frozenset(names)


def checked_sources() -> list[Path]:
    """Return the sources of `dagengine`, and of those packages of `tasks` that have a catalogue."""
    return sorted(
        file
        for package in ("dagengine", *(c.package for c in catalogues() if "tasks" in c.package))
        for file in (ROOT / package).rglob("*.py")
        if file.name != "messages.py"
    )


def is_text(node: ast.AST) -> bool:
    """Return whether a literal has words, unlike a code, a key or a composition of values."""
    match node:
        case ast.Constant(value=str(text)):
            words = text
        case ast.JoinedStr(values=parts):
            words = "{}".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
        case ast.BinOp(left=left, right=right):
            return is_text(left) or is_text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return is_text(body) or is_text(orelse)
        case ast.BoolOp(values=values):
            return any(map(is_text, values))
        case _:
            return False
    return " " in words and re.search(r"[A-Za-z]{2}", words) is not None


def literal_names(function: ast.AST) -> set[str]:
    """Return the local variables of a function to which a literal text is assigned."""
    return {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and is_text(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def literal_messages(source: str, errors: frozenset[str]) -> list[int]:
    """Return the lines that build an error, or show a text, from a literal."""
    lines = []
    for scope in ast.walk(tree := parse_source(source)):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        local = set() if isinstance(scope, ast.Module) else literal_names(scope)
        for call in ast.walk(scope):
            if not (isinstance(call, ast.Call) and is_shown(call, tree, errors)):
                continue
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any(
                is_text(node) or (isinstance(node, ast.Name) and node.id in local)
                for node in arguments
            ):
                lines.append(call.lineno)
    return sorted(set(lines))


def is_shown(call: ast.Call, tree: ast.Module, errors: frozenset[str]) -> bool:
    name = ast.unparse(call.func)
    if name == "super().__init__":
        return any(
            isinstance(owner, ast.ClassDef) and owner.name in errors and call in ast.walk(owner)
            for owner in ast.walk(tree)
        )
    return name in OTHER_SHOWN or name.rpartition(".")[2] in errors


def wrong_calls(source: str, catalogue: dict[str, Message]) -> list[str]:
    """Return the direct calls whose keywords are not the fields of the message."""
    return [
        ast.unparse(node)
        for node in nodes_in(source)
        if isinstance(node, ast.Call)
        and (name := message_name(node.func)) in catalogue
        and None not in (keywords := {keyword.arg for keyword in node.keywords})
        and (node.args or keywords != catalogue[name].fields)
    ]


def message_name(node: ast.AST) -> str:
    """Return `NAME` of `messages.NAME`, else the empty text."""
    match node:
        case ast.Attribute(value=ast.Name(id="messages"), attr=name):
            return name
    return ""


def used_names(source: str) -> set[str]:
    return {name for node in nodes_in(source) if (name := message_name(node))}


def template_faults(template: str) -> list[str]:
    """Return the faults in the text of a message."""
    faults = hits_in(template)
    faults += [match[0] for match in NEGATED_NOUN.finditer(template)]
    if template.endswith((".", ";")):
        faults.append("ends with punctuation")
    if "\n" in template or not template.strip():
        faults.append("is not one line")
    return faults


# --- keys and templates ------------------------------------------------------------


def test_each_package_of_dagengine_has_a_catalogue() -> None:
    packages = {f"dagengine/{path.parent.name}" for path in ROOT.glob("dagengine/*/__init__.py")}
    packages -= {"dagengine/errors"}  # its texts are in the catalogue of `dagengine`
    assert {"dagengine", *packages} == {
        c.package
        for c in catalogues()
        if c.package.startswith("dagengine") and c.package.count("/") < 2  # parts may have more
    }


def test_message_key_is_package_and_constant() -> None:
    wrong = [
        message.key
        for catalogue, name, message in in_all()
        if message.key != f"{catalogue.prefix}.{name.lower()}"
    ]
    assert wrong == []


def test_message_keys_are_unique() -> None:
    keys = [message.key for _, _, message in in_all()]
    assert len(keys) > 300
    assert sorted(keys) == sorted(set(keys))


def test_message_templates_are_well_formed() -> None:
    faults = {m.key: faults for _, _, m in in_all() if (faults := template_faults(m.template))}
    assert faults == {}


@pytest.mark.parametrize(
    "template",
    [
        "mend the file",
        "there is no server that answers",
        "cannot read {path}.",
        "two\nlines",
        "",
    ],
)
def test_template_with_a_fault_is_found(template: str) -> None:
    assert template_faults(template)


# --- use ----------------------------------------------------------------------------


@pytest.mark.parametrize("catalogue", catalogues(), ids=lambda c: c.package)
def test_every_message_is_used(catalogue: Catalogue) -> None:
    used = {name for file in catalogue.sources() for name in used_names(file.read_text("utf-8"))}
    for template in (ROOT / catalogue.package / "templates").glob("*.html"):
        used |= set(IN_TEMPLATE.findall(template.read_text("utf-8")))
    assert set(catalogue.constants) - used == set()


def test_message_without_use_is_found() -> None:
    assert used_names("raise Conflict(messages.A(), remedy=other.B())") == {"A"}


@pytest.mark.parametrize("catalogue", catalogues(), ids=lambda c: c.package)
def test_every_message_is_called_with_its_fields(catalogue: Catalogue) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {call}"
        for file in catalogue.sources()
        for call in wrong_calls(file.read_text("utf-8"), catalogue.constants)
    ]
    assert wrong == []


@pytest.mark.parametrize("call", ["messages.A()", "messages.A(b=1)", "messages.A(a=1, b=2)"])
def test_call_with_wrong_fields_is_found(call: str) -> None:
    assert wrong_calls(call, {"A": Message("x.a", "text {a}")}) == [call]


# --- no texts outside the catalogues --------------------------------------------------


def test_errors_take_their_texts_from_catalogues() -> None:
    names = {file: file.relative_to(ROOT).as_posix() for file in checked_sources()}
    literals = [
        f"{name}:{line}"
        for file, name in names.items()
        if name not in ALLOWED
        for line in literal_messages(file.read_text("utf-8"), error_names())
    ]
    assert literals == []


def test_allowed_files_exist() -> None:
    assert [name for name in ALLOWED if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(
    "source",
    [
        'raise ConfigError("the file is missing")',
        'raise ConfigError(f"cannot read {path}")',
        'raise errors.ConfigError(messages.A(), remedy="name a file")',
        'raise ConfigError("the file " + name)',
        'raise ConfigError("the file" if x else "the other file")',
        'def f():\n    what = f"no {x} here"\n    return Conflict(what)',
        'class ConfigError(E):\n    def __init__(self):\n        super().__init__("a file")',
        'raise typer.BadParameter("give one of them")',
        'sys.stderr.write("it has ended\\n")',
        'return Finding(f"the home {home} is missing")',
        'return Diagnosis(messages.A(), "read the log", lines)',
        'async def f(context):\n    await context.log(f"{x}: has ended")',
        'def f(context):\n    context.wait_for("sql", f"the end of {x}")',
    ],
)
def test_literal_message_of_an_error_is_found(source: str) -> None:
    assert len(literal_messages(source, error_names())) == 1


@pytest.mark.parametrize(
    "source",
    [
        'raise ValueError("a defect of the caller")',
        'raise OperatorRefused(f"{_PREFIX}.NotAllowed", messages.A(), remedy=messages.B())',
        'raise ApiRefused(message, status=1, code="Task.NotFound", legacy=0)',
        'raise StaleWrite(f"{kind}: {exc}")',
        '@check("home", examines="it exists", remedy="create it")\ndef f():\n    return None',
    ],
)
def test_message_of_a_catalogue_is_accepted(source: str) -> None:
    assert literal_messages(source, error_names()) == []

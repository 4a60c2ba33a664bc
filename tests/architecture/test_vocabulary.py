"""One word per concept: replaced names do not return, and texts stay plain English."""

from __future__ import annotations

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import checkout
from tests.support.checkout import ROOT
from tests.support.source_trees import nodes_in, tokens_in

HERE = Path(__file__).parent
LIMIT = 0.5  # hits per 1,000 words: the maximum among the reference projects
FEWEST_PATTERNS = 23
FIRST_COMMIT = "d8f0381"  # the rules for subjects apply to later commits
LONGEST_SUBJECT = 72
# Folders of tests whose literals are checked as well; elsewhere many are data.
CHECKED_LITERALS = ("tests/acceptance/", "tests/integration/", "tests/support/")
# Literals that are data: a value of the configuration, and the text of a recorded store.
DATA = {"whoever listens on the way can come in", "look at the server, then RETRY"}
PARTICIPLES = {"asked", "found", "said", "shown", "told"}
# Files with replaced names: the migrations, a recorded store, and the lists of this test.
EXEMPT = (
    "CHANGELOG.md",
    "dagengine/store/sqlite/migrations/",
    "tests/architecture/markers.txt",
    "tests/architecture/old_names.txt",
    "tests/architecture/old_subjects.txt",
    "tests/architecture/test_vocabulary.py",
    "tests/fixtures/store_d8f0381.sql",
)


@cache
def tracked_files(*suffixes: str) -> tuple[Path, ...]:
    """Return the files tracked by git with one of these suffixes, without the exempt ones."""
    return tuple(
        ROOT / name
        for name in checkout.tracked_files()
        if name.endswith(suffixes) and not name.startswith(EXEMPT)
    )


@cache
def patterns() -> tuple[re.Pattern[str], ...]:
    lines = (HERE / "markers.txt").read_text(encoding="utf-8").splitlines()
    return tuple(
        re.compile(line, re.IGNORECASE) for line in lines if line and not line.startswith("#")
    )


@cache
def old_names() -> dict[str, str]:
    lines = (HERE / "old_names.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs}


def python_names(source: str) -> Iterator[str]:
    yield from (text for kind, text in tokens_in(source) if kind == tokenize.NAME)


def python_variables(source: str) -> Iterator[str]:
    """Names of local variables, parameters and fields, without leading underscores."""
    for node in nodes_in(source):
        match node:
            case (
                ast.Name(id=str(name), ctx=ast.Store())
                | ast.Attribute(attr=str(name), ctx=ast.Store())
                | ast.arg(arg=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                yield name.lstrip("_")


def python_texts(source: str) -> Iterator[str]:
    """Yield docstrings and comments."""
    for node in nodes_in(source):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                value = getattr(statement, "value", None)
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value
    yield from (text for kind, text in tokens_in(source) if kind == tokenize.COMMENT)


def python_literals(source: str) -> Iterator[str]:
    """Yield string literals that are not docstrings."""
    nodes = nodes_in(source)
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text


def texts_of(file: Path) -> Iterator[str]:
    source = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        yield from python_texts(source)
    elif file.suffix in (".sh", ".sql"):
        yield from (line for line in source.splitlines() if line.lstrip().startswith(("#", "--")))
    else:
        yield from source.splitlines()


def hits_in(text: str) -> list[str]:
    return [match[0] for pattern in patterns() for match in pattern.finditer(text)]


def test_vocabulary_replaced_names_are_not_used() -> None:
    used = {
        f"{file.relative_to(ROOT)}: {name}, now {old_names()[name]}"
        for file in tracked_files(".py")
        if file.relative_to(ROOT).parts[0] in ("benchmarks", "dagengine", "tasks")
        for name in python_names(file.read_text(encoding="utf-8"))
        if name in old_names()
    }
    assert used == set()


def test_vocabulary_replaced_name_in_source_is_detected() -> None:
    assert [name for name in python_names("x = Desk()  # Door") if name in old_names()] == ["Desk"]


def test_variables_are_not_named_by_participles() -> None:
    hits = {
        f"{name}: {variable}"
        for file in tracked_files(".py")
        if (name := file.relative_to(ROOT).as_posix()).startswith(("dagengine/", "tasks/"))
        for variable in python_variables(file.read_text(encoding="utf-8"))
        if variable in PARTICIPLES
    }
    assert hits == set()


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "class A:\n    said: str",
        "self._told = 1",
        "def f(*, asked): ...",
        "lambda shown: 1",
        "for (found, x) in y: ...",
        "[1 for found in x]",
        "if (found := 1): ...",
        "match x:\n    case [*found]: ...",
        "match x:\n    case {**found}: ...",
        "match x:\n    case A() as found: ...",
    ],
)
def test_variable_named_by_participle_is_detected(source: str) -> None:
    assert PARTICIPLES.intersection(python_variables(source))


def test_variables_of_source_include_no_other_names() -> None:
    source = "from x import found\nserver = told.said(asked=shown)"
    assert list(python_variables(source)) == ["server"]


@pytest.mark.parametrize("suffixes", [(".py",), (".sh", ".sql"), (".md", ".yaml")])
def test_vocabulary_texts_stay_below_marker_limit(suffixes: tuple[str, ...]) -> None:
    words, hits = 0, []
    for file in tracked_files(*suffixes):
        name = file.relative_to(ROOT).as_posix()
        for text in texts_of(file):
            words += len(re.findall(r"\w+", text))
            hits += [f"{name}: {hit}" for hit in hits_in(text)]
    assert len(hits) <= LIMIT * words / 1000, "\n".join(hits)


def test_texts_of_tests_stay_below_marker_limit() -> None:
    words, hits = 0, []
    for file in tracked_files(".py"):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(CHECKED_LITERALS):
            continue
        source = file.read_text(encoding="utf-8")
        for text in {*python_texts(source), *python_literals(source)} - DATA:
            words += len(re.findall(r"\w+", text))
            hits += [f"{name}: {hit}" for hit in hits_in(text)]
    assert words > 10_000
    assert len(hits) <= LIMIT * words / 1000, "\n".join(hits)


def test_literals_stay_below_the_limit_of_markers() -> None:
    words, hits = 0, []
    for file in tracked_files(".py"):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith(("dagengine/", "tasks/")):
            continue
        for text in python_literals(file.read_text(encoding="utf-8")):
            words += len(re.findall(r"\w+", text))
            hits += [f"{name}: {hit}" for hit in hits_in(text)]
    assert words > 5_000
    assert len(hits) <= LIMIT * words / 1000, "\n".join(hits)


def test_literal_in_source_is_read_without_docstring() -> None:
    source = 'def f():\n    """Mend it."""\n    raise E(f"mend {x}", "anew")'
    assert sorted(python_literals(source)) == ["anew", "mend "]


def git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else ""


def subject_faults(subject: str) -> list[str]:
    too_long = [f"{len(subject)} characters"] if len(subject) > LONGEST_SUBJECT else []
    return too_long + hits_in(subject)


def test_commit_subjects_are_short_and_plain() -> None:
    if not git("rev-parse", "--verify", "--quiet", f"{FIRST_COMMIT}^{{commit}}"):
        pytest.skip(f"this checkout does not have the history since {FIRST_COMMIT}")
    lines = (HERE / "old_subjects.txt").read_text(encoding="utf-8").splitlines()
    accepted = {line.split()[0] for line in lines if line and not line.startswith("#")}
    log = git("log", "--format=%H %s", f"{FIRST_COMMIT}..HEAD").splitlines()
    commits = dict(line.split(" ", 1) for line in log)
    faults = {
        f"{commit} {subject}": reasons
        for commit, subject in commits.items()
        if commit not in accepted and (reasons := subject_faults(subject))
    }
    assert faults == {}


@pytest.mark.parametrize("subject", ["Start the servers " * 5, "Mend the store", "Read it anew"])
def test_commit_subject_with_a_fault_is_found(subject: str) -> None:
    assert subject_faults(subject)


def test_vocabulary_marker_list_is_not_shortened() -> None:
    assert len(patterns()) >= FEWEST_PATTERNS


@pytest.mark.parametrize(
    "sentence",
    [
        "It is said of the mark that `unproven` has shown last.",
        "By what a caller says that a submission is one that it made before.",
        "Make the file when it is missing; refuse one that is no use.",
        "A hard link is not seen through by nobody.",
        "Before anything is awaited: who is told of an end looks at what is live.",
        "return  # as nearly all",
        "Whom a client believes at an `https` URL, and who it says it is.",
        "an OBShell (pid 5) looks at this home; mend it",
    ],
)
def test_vocabulary_markers_match_old_sentences(sentence: str) -> None:
    assert hits_in(sentence)

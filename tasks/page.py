"""Pages made from tables: `python -m tasks.page [--check] docs/checks.md docs/known_errors.md`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tasks.checks import CHECKS
from tasks.known_errors import HERE, KNOWN_ERRORS, SIGNS
from tasks.verdicts import Skip

_MAY_SKIP = {Skip.YES: "yes", Skip.NO: "no", Skip.NOT_BY_ROOT: "not by root"}

_CHECKS_HEAD = """\
# The checks of a start

Stage 2 of `Start OB` asks each host in one round trip, and judges the answer. What is not well is a
line in the sub-task's log and an entry in `additional_data.evidence` (`checks`). A block ends that
server's lane; a warning does not. Before all of these the host has to be reached, its host key has
to be known, and the login has to work, and sudo too where `ssh.sudo` is set: these fail with an
error of their own and cannot be skipped.

A check is skipped by its name, `dagengine start --skip-check NAME` (`skipChecks` in the request);
the log and the audit say so. What would do harm cannot be skipped. A server that runs already is
asked only for *process*, *manager* and *clock*, and of these only *process* can block.

Made from the table in `tasks/checks.py` by `python -m tasks.page`; `make check` compares the two.

| check | looks at | ends in | may be skipped | what to do |
|---|---|---|---|---|
"""

_ERRORS_HEAD = """\
# What a server's error codes mean

When a server ends, these are what its last words are looked up in. A general code counts only when
no other one was found; a text that goes with it tells more.

Made from the table in `tasks/known_errors.py` by `python -m tasks.page`; `make check` compares the
two. Codes and names are those of the server's public list (`src/share/ob_errno.def`).

| code | name | cause | what to do | |
|---|---|---|---|---|
"""


def render_checks() -> str:
    """docs/checks.md."""
    rows = (
        f"| {check.name} | {check.looks_at} | {check.levels} | {_MAY_SKIP[check.skip]} "
        f"| {check.remedy} |\n"
        for check in CHECKS
    )
    return _CHECKS_HEAD + "".join(rows)


def render_known_errors() -> str:
    """docs/known_errors.md."""
    rows = [
        f"| {code} | {known.name} | {known.cause} | {known.remedy} "
        f"| {_remarks(known.is_general, known.source)} |\n"
        for code, known in sorted(KNOWN_ERRORS.items(), reverse=True)
    ]
    rows += [
        f"| {sign.code} | with “{sign.text}” | {sign.cause} | {sign.remedy} "
        f"| {_remarks(False, sign.source)} |\n"
        for sign in SIGNS
    ]
    return _ERRORS_HEAD + "".join(rows)


PAGES: Mapping[str, Callable[[], str]] = {
    "checks.md": render_checks,
    "known_errors.md": render_known_errors,
}


def main(argv: Sequence[str]) -> int:
    """Write the pages, or with `--check` compare them."""
    status = 0
    for path in [Path(text) for text in argv if text != "--check"]:
        text = PAGES[path.name]()
        if "--check" not in argv:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(
                f"{path} is not what the table says; run python -m tasks.page {path}\n"
            )
            status = 1
    return status


def _remarks(is_general: bool, source: str) -> str:
    said = ["general"] * is_general + ["provoked with seekdb 1.4"] * (source == HERE)
    return ", ".join(said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Running commands as another user, and recognising sudo's errors."""

from __future__ import annotations

import shlex

import pytest

from dagengine.remote.command import Command, Secret
from dagengine.remote.runner import HostAddress
from dagengine.remote.sudo import SudoFailure, parse_sudo_probe, probe_sudo, sudo_error, with_sudo

ADDRESS = HostAddress("10.0.0.1", user="deploy", sudo="admin")
LINE = "deploy ALL=(admin) NOPASSWD: /bin/sh"


def test_with_sudo_without_user_returns_same_command() -> None:
    command = Command(("echo", "x"), stdin="y")
    assert with_sudo(command, None) is command


def test_with_sudo_keeps_arguments_and_secrets() -> None:
    command = Command(("printf", "a b", "-n", "$HOME", Secret("s3cret")), stdin=Secret("in"))
    wrapped = with_sudo(command, "admin")
    words = shlex.split(wrapped.render())
    assert words[:6] == ["sudo", "-n", "-H", "-u", "admin", "--"]
    assert words[6:] == ["printf", "a b", "-n", "$HOME", "s3cret"]
    assert wrapped.stdin == Secret("in")
    assert "s3cret" not in wrapped.render_masked()


def test_probe_sudo_runs_permitted_program_only() -> None:
    words = shlex.split(probe_sudo("admin").render())
    assert words[-9:] == ["sudo", "-n", "-H", "-u", "admin", "--", "/bin/sh", "-c", ":"]


@pytest.mark.parametrize(
    ("output", "failure"),
    [
        ("missing\n", SudoFailure.MISSING),
        ("unknown\n", SudoFailure.UNKNOWN_USER),
        ("refused\nsudo: unknown user admin\n", SudoFailure.UNKNOWN_USER),
        ("refused\nsudo: a password is required\n", SudoFailure.PASSWORD),
        ("refused\nsudo: interactive authentication is required\n", SudoFailure.PASSWORD),
        ("refused\nsudo: sorry, you must have a tty to run sudo\n", SudoFailure.TERMINAL),
        ("refused\ndeploy is not in the sudoers file.\n", SudoFailure.NOT_ALLOWED),
        (
            "refused\nSorry, user deploy is not allowed to execute '/bin/sh -c :' as admin on h.\n",
            SudoFailure.NOT_ALLOWED,
        ),
        ("refused\nsudo: /etc/sudoers is world writable\n", SudoFailure.OTHER),
        ("refused\n", SudoFailure.OTHER),
        ("", SudoFailure.OTHER),
        ("works\n", None),
    ],
)
def test_parse_sudo_probe_output_gives_failure(output: str, failure: SudoFailure | None) -> None:
    assert parse_sudo_probe(output)[0] is failure


def test_parse_sudo_probe_text_is_one_short_line() -> None:
    _, summary = parse_sudo_probe("refused\nsudo: bad\n  thing\n" + "x" * 1000)
    assert summary.startswith("sudo: bad thing xxx")
    assert len(summary) == 300


@pytest.mark.parametrize("failure", list(SudoFailure))
def test_sudo_error_names_host_and_remedy(failure: SudoFailure) -> None:
    error = sudo_error(ADDRESS, failure, "its words")
    assert "10.0.0.1:22" in error.message
    assert error.host == "10.0.0.1:22"
    assert error.remedy
    if failure in (SudoFailure.PASSWORD, SudoFailure.NOT_ALLOWED):
        assert LINE in error.remedy

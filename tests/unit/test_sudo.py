"""How a command becomes one of another user, and how sudo's refusals are told apart."""

from __future__ import annotations

import shlex

import pytest

from dagengine.remote.command import Command, Secret
from dagengine.remote.runner import HostAddress
from dagengine.remote.sudo import SudoFailure, parse_sudo_probe, probe_sudo, sudo_error, with_sudo

ADDRESS = HostAddress("10.0.0.1", user="deploy", sudo="admin")
LINE = "deploy ALL=(admin) NOPASSWD: /bin/sh"


def test_without_a_user_to_become_a_command_stays_what_it_is() -> None:
    command = Command(("echo", "x"), stdin="y")
    assert with_sudo(command, None) is command


def test_words_of_a_command_and_its_secrets_stay_what_they_are() -> None:
    command = Command(("printf", "a b", "-n", "$HOME", Secret("s3cret")), stdin=Secret("in"))
    wrapped = with_sudo(command, "admin")
    words = shlex.split(wrapped.render())
    assert words[:6] == ["sudo", "-n", "-H", "-u", "admin", "--"]
    assert words[6:] == ["printf", "a b", "-n", "$HOME", "s3cret"]
    assert wrapped.stdin == Secret("in")
    assert "s3cret" not in wrapped.render_masked()


def test_sudo_is_tried_with_the_only_program_that_a_rule_has_to_allow() -> None:
    words = shlex.split(probe_sudo("admin").render())
    assert words[-9:] == ["sudo", "-n", "-H", "-u", "admin", "--", "/bin/sh", "-c", ":"]


@pytest.mark.parametrize(
    ("answer", "trouble"),
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
def test_a_refusal_is_known_by_what_the_host_says(answer: str, trouble: SudoFailure | None) -> None:
    assert parse_sudo_probe(answer)[0] is trouble


def test_sudos_words_are_one_short_line() -> None:
    _, said = parse_sudo_probe("refused\nsudo: bad\n  thing\n" + "x" * 1000)
    assert said.startswith("sudo: bad thing xxx")
    assert len(said) == 300


@pytest.mark.parametrize("trouble", list(SudoFailure))
def test_every_refusal_names_the_host_and_what_to_do(trouble: SudoFailure) -> None:
    error = sudo_error(ADDRESS, trouble, "its words")
    assert "10.0.0.1:22" in error.message
    assert error.host == "10.0.0.1:22"
    assert error.remedy
    if trouble in (SudoFailure.PASSWORD, SudoFailure.NOT_ALLOWED):
        assert LINE in error.remedy

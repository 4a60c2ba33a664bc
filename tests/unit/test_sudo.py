"""How a command becomes one of another user, and how sudo's refusals are told apart."""

from __future__ import annotations

import shlex

import pytest

from dagengine.remote.command import Command, Secret
from dagengine.remote.runner import HostAddress
from dagengine.remote.sudo import Trouble, explain_trouble, read_trouble, through_sudo, try_sudo

ADDRESS = HostAddress("10.0.0.1", user="deploy", sudo="admin")
LINE = "deploy ALL=(admin) NOPASSWD: /bin/sh"


def test_without_a_user_to_become_a_command_stays_what_it_is() -> None:
    command = Command(("echo", "x"), stdin="y")
    assert through_sudo(command, None) is command


def test_words_of_a_command_and_its_secrets_stay_what_they_are() -> None:
    command = Command(("printf", "a b", "-n", "$HOME", Secret("s3cret")), stdin=Secret("in"))
    wrapped = through_sudo(command, "admin")
    words = shlex.split(wrapped.render())
    assert words[:6] == ["sudo", "-n", "-H", "-u", "admin", "--"]
    assert words[6:] == ["printf", "a b", "-n", "$HOME", "s3cret"]
    assert wrapped.stdin == Secret("in")
    assert "s3cret" not in wrapped.render_masked()


def test_sudo_is_tried_with_the_only_program_that_a_rule_has_to_allow() -> None:
    words = shlex.split(try_sudo("admin").render())
    assert words[-9:] == ["sudo", "-n", "-H", "-u", "admin", "--", "/bin/sh", "-c", ":"]


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ("missing\n", Trouble.MISSING),
        ("unknown\n", Trouble.UNKNOWN_USER),
        ("refused\nsudo: unknown user admin\n", Trouble.UNKNOWN_USER),
        ("refused\nsudo: a password is required\n", Trouble.PASSWORD),
        ("refused\nsudo: interactive authentication is required\n", Trouble.PASSWORD),
        ("refused\nsudo: sorry, you must have a tty to run sudo\n", Trouble.TERMINAL),
        ("refused\ndeploy is not in the sudoers file.\n", Trouble.NOT_ALLOWED),
        (
            "refused\nSorry, user deploy is not allowed to execute '/bin/sh -c :' as admin on h.\n",
            Trouble.NOT_ALLOWED,
        ),
        ("refused\nsudo: /etc/sudoers is world writable\n", Trouble.OTHER),
        ("refused\n", Trouble.OTHER),
        ("", Trouble.OTHER),
        ("works\n", None),
    ],
)
def test_a_refusal_is_known_by_what_the_host_says(answer: str, trouble: Trouble | None) -> None:
    assert read_trouble(answer)[0] is trouble


def test_sudos_words_are_one_short_line() -> None:
    _, said = read_trouble("refused\nsudo: bad\n  thing\n" + "x" * 1000)
    assert said.startswith("sudo: bad thing xxx")
    assert len(said) == 300


@pytest.mark.parametrize("trouble", list(Trouble))
def test_every_refusal_names_the_host_and_what_to_do(trouble: Trouble) -> None:
    error = explain_trouble(ADDRESS, trouble, "its words")
    assert "10.0.0.1:22" in error.message
    assert error.host == "10.0.0.1:22"
    assert error.remedy
    if trouble in (Trouble.PASSWORD, Trouble.NOT_ALLOWED):
        assert LINE in error.remedy

"""Running commands as another user on a host, and diagnosis of sudo failures.

The scripts are constant; the user's name is an argument. sudo only ever runs `/bin/sh`, which
starts every command, so a sudoers rule has to allow just that program.
"""

from __future__ import annotations

from enum import StrEnum

from dagengine.errors import SudoRefused
from dagengine.remote import messages
from dagengine.remote.command import Command, script
from dagengine.remote.runner import HostAddress

_SHELL = "/bin/sh"
_MESSAGE_LENGTH = 300

# $1 is the target user; the other arguments are a command that does nothing as that user. The
# locale is C because sudo's messages are parsed; sudo only has to allow /bin/sh.
_TRY = r"""
user=$1
shift
command -v sudo >/dev/null || { echo missing; exit 0; }
id -u "$user" >/dev/null 2>&1 || { echo unknown; exit 0; }
said=$(LC_ALL=C "$@" 2>&1 </dev/null) && { echo works; exit 0; }
printf 'refused\n%s\n' "$said"
"""


class SudoFailure(StrEnum):
    """Why sudo does not run commands as a user."""

    MISSING = "missing"
    UNKNOWN_USER = "unknown user"
    PASSWORD = "password"  # noqa: S105  # sudo asks for one
    NOT_ALLOWED = "not allowed"
    TERMINAL = "terminal"
    OTHER = "other"


# English messages of sudo and its successor sudo-rs.
_PHRASES = (
    ("unknown user", SudoFailure.UNKNOWN_USER),
    ("password is required", SudoFailure.PASSWORD),
    ("authentication is required", SudoFailure.PASSWORD),
    ("must have a tty", SudoFailure.TERMINAL),
    ("is not allowed to", SudoFailure.NOT_ALLOWED),
    ("not in the sudoers file", SudoFailure.NOT_ALLOWED),
    ("may not run sudo", SudoFailure.NOT_ALLOWED),
    ("I'm afraid I can't do that", SudoFailure.NOT_ALLOWED),
)


def with_sudo(command: Command, user: str | None) -> Command:
    """Return the same command as another user; unchanged if `user` is None.

    `-n` never prompts for a password. `-H` sets HOME to that user's, regardless of sudoers.
    """
    if user is None:
        return command
    return Command(("sudo", "-n", "-H", "-u", user, "--", *command.argv), command.stdin)


def probe_sudo(user: str) -> Command:
    """Build a probe for whether the login user may become this user.

    It runs as the login user; `parse_sudo_probe` parses its output.
    """
    noop_command = with_sudo(Command((_SHELL, "-c", ":")), user)
    return script(_TRY, "dagengine-sudo", user, *noop_command.argv)


def parse_sudo_probe(answer: str) -> tuple[SudoFailure | None, str]:
    """Parse the output of `probe_sudo`; return the problem (None if none) and sudo's message."""
    first, _, output = answer.partition("\n")
    sudo_message = " ".join(output.split())[:_MESSAGE_LENGTH]
    match first:
        case "works":
            return None, ""
        case "missing":
            return SudoFailure.MISSING, ""
        case "unknown":
            return SudoFailure.UNKNOWN_USER, ""
    matches = (failure for phrase, failure in _PHRASES if phrase in sudo_message)
    return next(matches, SudoFailure.OTHER), sudo_message


def sudo_error(address: HostAddress, failure: SudoFailure, sudo_message: str = "") -> SudoRefused:
    """Build the error that states the problem and its remedy.

    Args:
        address: the host; its `sudo` is the target user.
        failure: the problem.
        sudo_message: sudo's message.
    """
    login, user = address.user, address.sudo
    rule = messages.ADD_SUDO_RULE(login=login, user=user, shell=_SHELL)
    match failure:
        case SudoFailure.MISSING:
            message = messages.SUDO_MISSING(address=address, login=login)
            remedy = messages.INSTALL_SUDO(user=user)
        case SudoFailure.UNKNOWN_USER:
            message = messages.SUDO_USER_UNKNOWN(user=user, address=address)
            remedy = messages.ADD_USER()
        case SudoFailure.PASSWORD:
            message = messages.SUDO_PASSWORD(address=address, login=login, user=user)
            remedy = rule
        case SudoFailure.NOT_ALLOWED:
            message = messages.SUDO_NOT_ALLOWED(
                address=address, login=login, shell=_SHELL, user=user, reason=sudo_message
            )
            remedy = rule
        case SudoFailure.TERMINAL:
            message = messages.SUDO_TERMINAL(address=address, login=login)
            remedy = messages.DROP_REQUIRETTY(login=login)
        case SudoFailure.OTHER:
            message = messages.SUDO_FAILED(
                address=address, login=login, user=user, reason=sudo_message or "no output"
            )
            remedy = messages.TRY_SUDO(login=login, user=user, shell=_SHELL)
    return SudoRefused(message, host=str(address), remedy=remedy)

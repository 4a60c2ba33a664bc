"""Running commands as another user on a host, and diagnosis of sudo failures.

The scripts are constant; the user's name is an argument. sudo only ever runs `/bin/sh`, which
starts every command, so a sudoers rule has to allow just that program.
"""

from __future__ import annotations

from enum import StrEnum

from dagengine.errors import SudoRefused
from dagengine.remote.command import Command, script
from dagengine.remote.runner import HostAddress

_SHELL = "/bin/sh"
_SAID_LENGTH = 300

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


class Trouble(StrEnum):
    """Why sudo does not run commands as a user."""

    MISSING = "missing"
    UNKNOWN_USER = "unknown user"
    PASSWORD = "password"  # noqa: S105  # sudo asks for one
    NOT_ALLOWED = "not allowed"
    TERMINAL = "terminal"
    OTHER = "other"


# English messages of sudo and its successor sudo-rs.
_PHRASES = (
    ("unknown user", Trouble.UNKNOWN_USER),
    ("password is required", Trouble.PASSWORD),
    ("authentication is required", Trouble.PASSWORD),
    ("must have a tty", Trouble.TERMINAL),
    ("is not allowed to", Trouble.NOT_ALLOWED),
    ("not in the sudoers file", Trouble.NOT_ALLOWED),
    ("may not run sudo", Trouble.NOT_ALLOWED),
    ("I'm afraid I can't do that", Trouble.NOT_ALLOWED),
)


def through_sudo(command: Command, user: str | None) -> Command:
    """Return the same command as another user; unchanged if `user` is None.

    `-n` never prompts for a password. `-H` sets HOME to that user's, regardless of sudoers.
    """
    if user is None:
        return command
    return Command(("sudo", "-n", "-H", "-u", user, "--", *command.argv), command.stdin)


def try_sudo(user: str) -> Command:
    """Build a probe for whether the login user may become this user.

    It runs as the login user; `read_trouble` parses its output.
    """
    nothing = through_sudo(Command((_SHELL, "-c", ":")), user)
    return script(_TRY, "dagengine-sudo", user, *nothing.argv)


def read_trouble(answer: str) -> tuple[Trouble | None, str]:
    """Parse the output of `try_sudo`; return the problem (None if none) and sudo's message."""
    first, _, rest = answer.partition("\n")
    said = " ".join(rest.split())[:_SAID_LENGTH]
    match first:
        case "works":
            return None, ""
        case "missing":
            return Trouble.MISSING, ""
        case "unknown":
            return Trouble.UNKNOWN_USER, ""
    found = (trouble for phrase, trouble in _PHRASES if phrase in said)
    return next(found, Trouble.OTHER), said


def explain_trouble(address: HostAddress, trouble: Trouble, said: str = "") -> SudoRefused:
    """Build the error that states the problem and its remedy.

    Args:
        address: the host; its `sudo` is the target user.
        trouble: the problem.
        said: sudo's message.
    """
    login, user = address.user, address.sudo
    rule = (
        "add a file to /etc/sudoers.d there (visudo -f /etc/sudoers.d/dagengine) with the line "
        f"`{login} ALL=({user}) NOPASSWD: {_SHELL}`"
    )
    match trouble:
        case Trouble.MISSING:
            what = f"sudo is not installed on {address}, or not in the PATH of {login}"
            remedy = f"install it there, or log in as {user} and leave ssh.sudo out"
        case Trouble.UNKNOWN_USER:
            what = f"there is no user {user} on {address}, whom ssh.sudo names"
            remedy = "add the user there, or correct ssh.sudo"
        case Trouble.PASSWORD:
            what = f"sudo on {address} needs a password to let {login} become {user}"
            remedy = rule
        case Trouble.NOT_ALLOWED:
            what = f"sudo on {address} does not allow {login} to run {_SHELL} as {user}: {said}"
            remedy = rule
        case Trouble.TERMINAL:
            what = f"sudo on {address} wants {login} to have a terminal"
            remedy = f"add to its sudoers (visudo): `Defaults:{login} !requiretty`"
        case Trouble.OTHER:
            what = f"sudo on {address} did not let {login} become {user}: {said or 'no word'}"
            remedy = f"try it there as {login}: sudo -n -H -u {user} -- {_SHELL} -c id"
    return SudoRefused(what, host=str(address), remedy=remedy)

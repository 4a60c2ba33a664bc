"""The man page dagengine(1), from the help texts of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from dagengine.cli.commands import app
from dagengine.cli.exit_codes import ExitCode
from dagengine.server.plugins import load_extension_points

_HEAD = r""".\" Generated from the help texts by docs/generate.py.
.TH DAGENGINE 1 "" "dagengine" "User Commands"
.SH NAME
dagengine \- start and stop the servers of OceanBase and seekdb clusters
.SH SYNOPSIS
.B dagengine
.I COMMAND
.RI [ OPTION ]...
.SH DESCRIPTION
"""

_TAIL = r""".SH ENVIRONMENT
.TP
.B DAGENGINE_URL
URL of the controller; like \-\-url.
.TP
.B DAGENGINE_PASSWORD
Password of root@sys for the commands that call a controller.
.TP
.B DAGENGINE_TOKEN
API token for these commands, instead of the password.
.TP
.B DAGENGINE_CA_FILE
PEM file with the CA that signed the certificate of the controller; without it, those of the system.
.TP
.B DAGENGINE_CERT_FILE, DAGENGINE_KEY_FILE
PEM files with a client certificate and its key.
.TP
.B DAGENGINE_API__PORT, ...
Each key of the engine file is also a variable of the controller: section and key in upper case,
joined by two underscores.
.SH FILES
The documentation is installed in share/doc/dagengine of the environment, with examples of all
configuration files in share/doc/dagengine/configs.
"""


def render_man_page() -> str:
    """Return the page in the language of man(7)."""
    group: Any = typer.main.get_command(app)
    commands = {name: c for name, c in group.commands.items() if not c.hidden}
    for point in load_extension_points().points:
        for name, extension in point.commands.items():
            command: Any = typer.main.get_command(extension.app())
            command.help = command.help or extension.help
            commands[name] = command
    lines = [_escape(group.help), ".SH COMMANDS"]
    for name, command in commands.items():
        lines += _render_command(name, command)
    lines.append(".SH EXIT STATUS")
    for code in ExitCode:
        lines += [
            ".TP",
            rf".B {int(code)}",
            _escape(f"{code.meaning[:1].upper()}{code.meaning[1:]}."),
        ]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _render_command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join([name, *(argument.metavar or argument.name.upper() for argument in arguments)])
    yield f'.SS "{_escape(usage)}"'
    yield _escape(" ".join((command.help or "").split("\n\n")[0].split()))
    for option in options:
        if option.name == "help" or "--help" in option.opts:
            continue
        names = ", ".join([*option.opts, *option.secondary_opts])
        if not option.is_flag:
            names += f" {option.metavar or option.name.upper().replace('_', '-')}"
        yield ".TP"
        yield rf".B {_escape(names)}"
        yield _escape(" ".join((option.help or "").split())) or r"\&"
    for child, sub_command in getattr(command, "commands", {}).items():
        if not sub_command.hidden:
            yield from _render_command(f"{name} {child}", sub_command)


def _escape(text: str) -> str:
    r"""Escape a text: `\`, hyphens of options, and characters at the beginning of a line."""
    escaped = (
        text.replace("…", "...").replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga")
    )
    escaped = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in escaped)
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped

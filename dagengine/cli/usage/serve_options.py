"""The options of `serve`, parsed without typer; their help is in `commands.py`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from dagengine.cli.usage import messages
from dagengine.cli.usage.choices import join_choices
from dagengine.cli.usage.hidden_values import hide_values
from dagengine.errors import ConfigError, MessageText

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogFormat(StrEnum):
    """The format of the log."""

    AUTO = "auto"
    """TEXT on a terminal, otherwise JSON."""
    TEXT = "text"
    JSON = "json"


def parse_serve_options(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments.

    Raises:
        ConfigError: an argument is wrong.
    """
    # argparse's own checks would report in its own words, in part without the value.
    parser = argparse.ArgumentParser(
        "dagengine serve", add_help=False, allow_abbrev=False, exit_on_error=False
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE")
    parser.add_argument("--log-format", default=str(LogFormat.AUTO))
    parser.add_argument("--log-level", default="info")
    try:
        options, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as exc:  # no option has another fault than a missing value
        name = (exc.argument_name or "").rpartition("/")[2]
        raise _usage_error(messages.OPTION_WITHOUT_VALUE(name=name)) from exc
    if rest and rest[0].startswith("-"):
        raise _usage_error(messages.OPTION_UNKNOWN(name=hide_values(rest)[0]))
    if rest:
        raise _usage_error(messages.ARGUMENTS_UNEXPECTED(arguments=" ".join(hide_values(rest))))
    _check_choice("--log-format", options.log_format, [*map(str, LogFormat)])
    _check_choice("--log-level", options.log_level, [*LEVELS])
    return options


def _check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        known = join_choices(choices)
        reason = messages.NOT_ONE_OF(known=known)
        raise _usage_error(
            messages.VALUE_INVALID(parameter=option, value=value, reason=reason),
            messages.WRITE_ONE_OF(known=known),
        )


def _usage_error(message: MessageText, remedy: str = "") -> ConfigError:
    see_help = messages.SEE_SERVE_HELP()
    return ConfigError(message, remedy=f"{remedy}; {see_help}" if remedy else see_help)

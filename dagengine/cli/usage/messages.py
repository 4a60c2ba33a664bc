"""Messages of `dagengine.cli.usage`."""

from __future__ import annotations

from dagengine.errors import Message

ARGUMENT = Message("cli.usage.argument", "the argument {name}")
PARAMETER_MISSING = Message("cli.usage.parameter_missing", "{parameter} is missing")
VALUE_INVALID = Message("cli.usage.value_invalid", "{parameter} has the value {value!r}: {reason}")
VALUE_UNUSABLE = Message("cli.usage.value_unusable", "{parameter}: {reason}")
NOT_ONE_OF = Message("cli.usage.not_one_of", "it is not {known}")
WRITE_ONE_OF = Message("cli.usage.write_one_of", "write {known}")
NOT_NUMBER = Message("cli.usage.not_number", "it is not a number")
WRITE_NUMBER = Message("cli.usage.write_number", "write a number, such as 30")
NOT_WHOLE_NUMBER = Message("cli.usage.not_whole_number", "it is not a whole number")
WRITE_WHOLE_NUMBER = Message("cli.usage.write_whole_number", "write digits only, such as 30")
AT_LEAST = Message("cli.usage.at_least", "at least {limit:.15g}")
AT_MOST = Message("cli.usage.at_most", "at most {limit:.15g}")
OUT_OF_RANGE = Message("cli.usage.out_of_range", "it must be {bound}")
WRITE_IN_RANGE = Message("cli.usage.write_in_range", "write a number of {bound}")
OPTION_UNKNOWN = Message("cli.usage.option_unknown", "the option {name} does not exist")
COMMAND_UNKNOWN = Message("cli.usage.command_unknown", "the command {name} does not exist")
USE_NEAREST = Message("cli.usage.use_nearest", "use {names}")
OPTION_WITHOUT_VALUE = Message("cli.usage.option_without_value", "{name} needs a value")
WRITE_VALUE = Message("cli.usage.write_value", "write the value after {name}")
OPTION_WITH_VALUE = Message("cli.usage.option_with_value", "{name} does not take a value")
OMIT_VALUE = Message("cli.usage.omit_value", "write {name} alone")
ARGUMENTS_UNEXPECTED = Message(
    "cli.usage.arguments_unexpected", "the command does not take {arguments}"
)
OR = Message("cli.usage.or", "{names} or {last}")
SEE_SERVE_HELP = Message("cli.usage.see_serve_help", "see `dagengine serve --help`")
CANCEL_FIRST = Message("cli.usage.cancel_first", "end a running one first with `dagengine cancel`")

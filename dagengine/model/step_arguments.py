"""Checks of what a step passes to its StepContext: an embedder's mistake is named at its call."""

from __future__ import annotations

from collections.abc import Sequence

from dagengine.messages import MessageText
from dagengine.model import messages
from dagengine.model.declarations import refuse_argument
from dagengine.model.records import LockRecord

_MAX_ROW_ID = 2**63 - 1
_LONGEST_WAIT_S = 1e9  # the instant must be a representable date


class StepCall:
    """One method of the StepContext, as a step calls it. The methods raise IllegalArgument."""

    __slots__ = ("_function", "_operation", "_stage")

    def __init__(self, function: str, stage: str, operation: str) -> None:
        self._function = function
        self._stage = stage
        self._operation = operation

    def check_text(self, **arguments: object) -> None:
        """Raise unless every argument is a text."""
        for name, value in arguments.items():
            if not isinstance(value, str):
                self._refuse(name, value, messages.GIVE_STRING())

    def check_optional_text(self, name: str, value: object) -> None:
        """Raise unless the argument is a text or None."""
        if value is not None:
            self.check_text(**{name: value})

    def check_row_id(self, name: str, value: object) -> None:
        """Raise unless the argument can be the id of a row."""
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_ROW_ID:
            self._refuse(name, value, messages.GIVE_ROW_ID())

    def check_pause(self, name: str, value: object) -> None:
        """Raise unless the argument is a number of seconds or None."""
        if value is None:
            return
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -_LONGEST_WAIT_S <= value <= _LONGEST_WAIT_S:  # type: ignore[operator]
            self._refuse(name, value, messages.GIVE_PAUSE())

    def check_texts(self, name: str, value: object) -> None:
        """Raise unless the argument is a sequence of texts."""
        is_sequence = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        if not is_sequence or not all(isinstance(each, str) for each in value):  # type: ignore[attr-defined]
            self._refuse(name, value, messages.GIVE_IDS())

    def check_holder(self, name: str, value: object) -> None:
        """Raise unless the argument is the lock of a holder."""
        if not isinstance(value, LockRecord):
            self._refuse(name, value, messages.GIVE_HOLDER())

    def _refuse(self, name: str, value: object, remedy: MessageText) -> None:
        subject = messages.STEP_CALL(
            function=self._function, stage=self._stage, operation=self._operation
        )
        refuse_argument(subject, name, value, remedy)

"""User-visible messages: the type that all catalogues use, and the catalogue of `dagengine.errors`
and `dagengine.lines`.

Each package that shows texts to users has one module `messages.py` with one constant per message.
A constant is called with the fields of its template and returns a `MessageText`: a string that
keeps the message and the fields, so that a renderer can produce it in another language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from dagengine.text import escape_controls


@dataclass(frozen=True, slots=True)
class Message:
    """A user-visible text with named fields.

    Attributes:
        key: `<package>.<constant in lower case>`; identifies the message across languages.
        template: the English text, in the syntax of `str.format` with plain field names.
        fields: names of the fields in the template.
    """

    key: str
    template: str
    fields: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = [name for _, name, _, _ in Formatter().parse(self.template) if name is not None]
        if not all(name.isidentifier() for name in names):
            raise ValueError(f"{self.key}: a field is not a plain name: {self.template}")
        object.__setattr__(self, "fields", frozenset(names))

    def __call__(self, **fields: object) -> MessageText:
        """Return the text with these fields.

        Raises:
            TypeError: a field is missing, or the template does not have it.
        """
        if fields.keys() != self.fields:
            raise TypeError(f"{self.key} has fields {sorted(self.fields)}, not {sorted(fields)}")
        # An exception would keep its traceback, and thus all local variables, alive.
        values = {k: str(v) if isinstance(v, BaseException) else v for k, v in fields.items()}
        return MessageText(self, values)


class MessageText(str):
    """Text of a message, in one line. The field of a message may be the text of another one.

    Control characters in fields are escaped in the text.

    Attributes:
        message: the message with its key and template.
        fields: the value of each field, not yet formatted.
    """

    __slots__ = ("fields", "message")

    message: Message
    fields: Mapping[str, object]

    def __new__(cls, message: Message, fields: Mapping[str, object]) -> MessageText:
        text = super().__new__(cls, escape_controls(message.template.format_map(fields)))
        text.message = message
        text.fields = fields
        return text

    def __getnewargs__(self) -> tuple[Message, Mapping[str, object]]:  # type: ignore[override]
        return (self.message, self.fields)


OMITTED = Message("dagengine.omitted", "{first} [… {size_bytes:,} bytes omitted …] {last}")
HOME_UNKNOWN = Message("dagengine.home_unknown", "the home directory in {path} is unknown")
SET_HOME = Message(
    "dagengine.set_home", "write an absolute path, or set HOME in the environment of this program"
)
TASK_NOT_FOUND = Message("dagengine.task_not_found", "Task not found: {detail}")
CLUSTER_UNKNOWN = Message("dagengine.cluster_unknown", "the service has no cluster {cluster!r}")
CLUSTER_NOT_SERVED = Message(
    "dagengine.cluster_not_served", "the cluster {cluster} is not served by this controller now"
)
SEE_CLUSTER_REFUSAL = Message(
    "dagengine.see_cluster_refusal",
    "see `dagengine fleet` or the controller's log for the reason; then correct it and send SIGHUP",
)
INVALID_ID = Message("dagengine.invalid_id", "Invalid ID: {generic_id}")
INVALID_ID_REASON = Message("dagengine.invalid_id_reason", "Invalid ID: {generic_id}: {detail}")
NOT_OWNER = Message(
    "dagengine.not_owner", "this controller does not own the cluster {cluster} at present"
)
CALL_OWNER = Message("dagengine.call_owner", "call the controller at {url}")
CALL_LATER = Message("dagengine.call_later", "repeat the call in a few seconds")
OWNER_UNAVAILABLE = Message(
    "dagengine.owner_unavailable",
    "no controller can answer for the cluster {cluster} at present; nothing was done",
)
OWNER_LOST = Message(
    "dagengine.owner_lost",
    "the controller that owns the cluster {cluster} was lost before it answered: the result is "
    "unknown",
)
REPEAT_WITH_KEY = Message(
    "dagengine.repeat_with_key", "repeat the call with the same Idempotency-Key"
)

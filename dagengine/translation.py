"""Texts of errors in the language of the caller.

The catalogues are English, and so is everything that is stored or logged. A table has the templates
of one language by the keys of the messages; texts without a template stay English.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from dagengine.errors import DagengineError
from dagengine.lines import clean_line
from dagengine.messages import Message, MessageText

ENGLISH = "en"

Tables: TypeAlias = Mapping[str, Mapping[str, str]]
"""By language, such as `zh`: templates by the keys of messages."""

_MAX_RANGES = 20  # of a header; browsers send fewer than ten
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*[qQ]=([01](?:\.\d{0,3})?)\s*)?"
)
_SEPARATORS = {"zh": "；"}


class Translator:
    """Renders the text of errors in the languages of its tables."""

    def __init__(self, tables: Iterable[Tables]) -> None:
        """Combine the tables of several packages."""
        self._messages: dict[str, dict[str, Message]] = {}
        for table in tables:
            for language, templates in table.items():
                known = self._messages.setdefault(language, {})
                known.update({key: Message(key, text) for key, text in templates.items()})

    def choose_language(self, accept_language: str) -> str:
        """Return the language of a request; English if it accepts none of the known ones.

        Args:
            accept_language: the header `Accept-Language`, with quality values. A range matches as
                in RFC 4647, section 3.4: `zh-CN` and `zh-Hans-SG` match `zh`.
        """
        best, best_quality = ENGLISH, 0.0
        for language, quality in _ranges(accept_language):
            if quality > best_quality and (language == ENGLISH or language in self._messages):
                best, best_quality = language, quality
        return best

    def describe(self, error: DagengineError, *, accept_language: str) -> str:
        """Return message and remedy of an error in the language of a request."""
        language = self.choose_language(accept_language) if accept_language else ENGLISH
        if language not in self._messages:
            return str(error)
        parts = (self._translate(part, language) for part in (error.message, error.remedy) if part)
        return clean_line(_SEPARATORS.get(language, "; ").join(parts))

    def translate(self, text: str, language: str) -> str:
        """Return a text in a language; the text itself if the language has no template for it."""
        return self._translate(text, language) if language in self._messages else text

    def _translate(self, text: str, language: str) -> str:
        """Return a text in a language, with its fields; the text itself without a template."""
        if not isinstance(text, MessageText):
            return text
        message = self._messages[language].get(text.message.key)
        if message is None:
            return text
        fields = {
            name: self._translate(value, language) if isinstance(value, str) else value
            for name, value in text.fields.items()
        }
        return message(**fields)


def _ranges(accept_language: str) -> Iterable[tuple[str, float]]:
    """Yield the primary language and the quality of each valid range, `*` as English."""
    for part in accept_language.split(",")[:_MAX_RANGES]:
        if match := _RANGE.fullmatch(part):
            tag, quality = match.groups()
            language = ENGLISH if tag == "*" else tag.partition("-")[0].lower()
            yield language, float(quality or 1)

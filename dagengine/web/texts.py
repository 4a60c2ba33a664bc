"""Texts of pages in the language of a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from dagengine.errors import DagengineError
from dagengine.messages import Message
from dagengine.translation import ENGLISH, Translator

_LANGUAGE_TAGS = {"zh": "zh-Hans"}


def render_language(language: str) -> str:
    """Return the value of the attribute `lang`."""
    return _LANGUAGE_TAGS.get(language, language)


@dataclass(frozen=True, slots=True)
class Texts:
    """Renders messages in one language.

    Attributes:
        translator: has the templates of all languages.
        language: the language, such as `en` or `zh`.
    """

    translator: Translator
    language: str = ENGLISH

    def __call__(self, text: str) -> str:
        """Return a text in the language; one without a template stays as it is."""
        return self.translator.translate(text, self.language)

    def describe(self, error: DagengineError) -> str:
        """Return message and remedy of an error."""
        return self.translator.describe(error, accept_language=self.language)


class CatalogueTexts:
    """The messages of one catalogue, for templates.

    `texts.TITLE` is the text of a message without fields; a message with fields is called with
    them.
    """

    def __init__(self, catalogue: ModuleType, texts: Texts) -> None:
        self._catalogue = catalogue
        self._texts = texts

    def __getattr__(self, name: str) -> str | Callable[..., str]:
        message = getattr(self._catalogue, name)
        if not isinstance(message, Message):
            raise AttributeError(name)
        if not message.fields:
            return self._texts(message())
        return lambda **fields: self._texts(message(**fields))

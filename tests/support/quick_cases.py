"""Choice of the cases of a test that `make test` runs, when each case costs about a second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest


def first_quick(cases: Iterable[Any], quick: int = 1) -> Iterator[Any]:
    """Yield the cases for `parametrize`; those after the first `quick` are slow tests."""
    for number, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        yield case if number < quick else pytest.param(*values, marks=pytest.mark.slow)

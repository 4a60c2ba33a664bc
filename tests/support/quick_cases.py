"""Choice of the cases of a test that `make test` runs, when each case costs about a second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_quick(cases: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return the cases for `parametrize`; those after the first `quick` are slow tests."""

    def make_slow(case: Any) -> Any:
        values = case if isinstance(case, tuple) else (case,)
        return pytest.param(*values, marks=pytest.mark.slow)

    return [case if number < quick else make_slow(case) for number, case in enumerate(cases)]

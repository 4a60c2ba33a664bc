"""Choice of the cases of a test that `make test` or CI runs, when each case costs seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def first_quick(cases: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return the cases for `parametrize`; those after the first `quick` are slow tests."""

    def make_slow(case: Any) -> Any:
        values = case if isinstance(case, tuple) else (case,)
        return pytest.param(*values, marks=pytest.mark.slow)

    return [case if number < quick else make_slow(case) for number, case in enumerate(cases)]


def sample_pairs(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Return all pairs for `parametrize`; half of them are outside of the sample that CI runs.

    The sample has each element of both sequences, combined with every second one of the other.
    """
    return [
        pytest.param(
            *(a, b),
            id="-".join(str(getattr(each, "name", each)) for each in (a, b)),
            marks=[] if (i + i // 2 + j) % 2 else pytest.mark.outside_sample,
        )
        for i, a in enumerate(first)
        for j, b in enumerate(second)
    ]

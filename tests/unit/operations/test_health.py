"""The interval at which a booting server is probed."""

from __future__ import annotations

import pytest

from tasks.operations.health import choose_pause_s


@pytest.mark.parametrize(
    ("waited_s", "pause_s"),
    [(0, 0.02), (0.4, 0.02), (1, 0.05), (2, 0.1), (5, 0.1), (29.9, 0.1), (30, 1.0), (60, 1.0)],
)
def test_choose_pause_s_grows_with_waited_time(waited_s: float, pause_s: float) -> None:
    assert choose_pause_s(waited_s) == pytest.approx(pause_s)

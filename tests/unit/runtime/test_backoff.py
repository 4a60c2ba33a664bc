"""Backoff: pauses between repeated attempts."""

from __future__ import annotations

from random import Random

from dagengine.runtime.backoff import Backoff

STEPS_S = (0.1, 0.5, 2.0)


def test_backoff_after_last_step_repeats_it() -> None:
    backoff = Backoff(STEPS_S)
    assert [backoff.pause_s(failures) for failures in range(5)] == [0.1, 0.5, 2.0, 2.0, 2.0]


def test_backoff_with_jitter_varies_within_its_share() -> None:
    random = Random(1)
    pauses = {Backoff(STEPS_S, jitter=0.5).pause_s(2, random) for _ in range(100)}
    assert len(pauses) > 50
    assert 1.0 <= min(pauses) < 1.2
    assert 2.8 < max(pauses) <= 3.0


def test_backoff_without_jitter_is_exact() -> None:
    assert Backoff(STEPS_S).pause_s(1, Random(1)) == 0.5

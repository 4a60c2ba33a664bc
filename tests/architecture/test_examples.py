"""Examples of hypothesis: the same ones in each run of CI, and no time limit for one of them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings


def test_default_settings_have_no_time_limit() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


@pytest.mark.parametrize(("profile", "is_fixed"), [("fixed", True), ("random", False)])
def test_profiles_differ_only_in_their_examples(profile: str, is_fixed: bool) -> None:
    chosen = settings.get_profile(profile)
    assert chosen.derandomize is is_fixed
    assert (chosen.deadline, chosen.database) == (None, None)

"""The sample of cases that CI runs."""

from __future__ import annotations

from tests.support.quick_cases import sample_pairs


def test_sample_pairs_keeps_half_with_each_element() -> None:
    stages, faults = range(12), ["down", "frozen", "killed"]
    pairs = sample_pairs(stages, faults)
    sample = [pair.values for pair in pairs if not pair.marks]
    assert len(pairs) == 2 * len(sample) == 36
    assert {stage for stage, _ in sample} == set(stages)
    for fault in faults:  # not always with the even stages, which are alike in some tests
        assert len({stage % 2 for stage, each in sample if each == fault}) == 2

"""Limits on connections that fit the limit on open descriptors."""

from __future__ import annotations

import pytest

from dagengine.api.connections import Limits

OWN = 512


@pytest.mark.parametrize(
    ("allowed", "used", "connections", "per_address"),
    [
        (1_048_576, 20, 10_000, 2500),
        (10_532, 20, 10_000, 2500),
        (10_531, 20, 9999, 2500),  # 512 of the free ones are left
        (1024, 20, 502, 251),
        (256, 20, 118, 59),
        (64, 20, 22, 11),
        (24, 20, 2, 1),
        (20, 20, 1, 1),  # no connection at all would make the controller unusable
    ],
)
def test_fit_descriptors_leaves_share_for_hosts(
    allowed: int, used: int, connections: int, per_address: int
) -> None:
    limits = Limits().fit_descriptors(allowed, own=OWN, used=used)
    assert (limits.connections, limits.connections_per_address) == (connections, per_address)


@pytest.mark.parametrize("per_address", [3, 10])
def test_fit_descriptors_keeps_limits_that_fit(per_address: int) -> None:
    configured = Limits(connections=10, connections_per_address=per_address)
    assert configured.fit_descriptors(64, own=OWN, used=20) is configured

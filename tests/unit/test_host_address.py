"""Addresses of hosts."""

from __future__ import annotations

from dagengine.remote import HostAddress


def test_route_without_bastion_is_the_host_itself() -> None:
    address = HostAddress("10.0.0.1")
    assert address.route() == (address,)


def test_route_over_two_bastions_begins_with_the_outer_one() -> None:
    outer = HostAddress("outer")
    inner = HostAddress("inner", jump=outer)
    address = HostAddress("10.0.0.1", jump=inner)
    assert address.route() == (outer, inner, address)

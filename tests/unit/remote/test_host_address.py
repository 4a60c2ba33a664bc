"""Addresses of hosts."""

from __future__ import annotations

from dagengine.remote import HostAddress


def test_host_address_route_without_bastion_is_host() -> None:
    address = HostAddress("10.0.0.1")
    assert address.route() == (address,)


def test_host_address_route_begins_with_outer_bastion() -> None:
    outer = HostAddress("outer")
    inner = HostAddress("inner", jump=outer)
    address = HostAddress("10.0.0.1", jump=inner)
    assert address.route() == (outer, inner, address)

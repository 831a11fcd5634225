"""Scopes: no two kinds are ever the same one, whatever is in them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import get_args

from controllers.vmc.view.flow_scopes import (
    BASE,
    BalancerScope,
    FirewallScope,
    LookupScope,
    NetworkScope,
    OffloadScope,
    RouteScope,
    Scope,
    VmScope,
)

SAME = (
    BASE,
    *(kind("x") for kind in (NetworkScope, VmScope, FirewallScope, BalancerScope)),
    RouteScope("x", IPv4Network("10.0.0.0/24")),
    OffloadScope("x", "y"),
    LookupScope("x", "y", IPv4Address("10.0.0.1")),
)


def test_scopes_of_one_name_and_different_kinds_are_different() -> None:
    assert len(set(SAME)) == len(SAME) == len(get_args(Scope))
    assert len({scope.kind for scope in SAME}) == len(SAME)


def test_scopes_of_one_kind_and_content_are_one() -> None:
    assert VmScope("x") == VmScope("x")
    assert RouteScope("x", IPv4Network("10.0.0.0/24")) == RouteScope("x", IPv4Network("10.0.0.0/24"))

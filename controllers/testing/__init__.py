"""Tools for tests of programming models, policies and flows: switches in memory, and a cluster without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hoverboard.contract.public_names import public_names

PUBLIC = {
    "FakeSwitch": "controllers.testing.fake_switch",
    "FakeFabric": "controllers.testing.fake_switch",
    "World": "controllers.testing.world",
}

if TYPE_CHECKING:
    from controllers.testing.fake_switch import FakeFabric as FakeFabric
    from controllers.testing.fake_switch import FakeSwitch as FakeSwitch
    from controllers.testing.world import World as World
else:
    __getattr__, __dir__ = public_names(__name__, PUBLIC)

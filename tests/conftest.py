"""All rings: warnings are errors, random tests draw the same each time, a test belongs to the ring of its directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A green ring is the same ring each time. The long ring draws new examples: HOVERBOARD_TESTS=random.
# No deadline: the first call of a compiled function takes seconds, and the machine is shared.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("random", database=None, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HOVERBOARD_TESTS", "fixed"))

# What other people's packages say about themselves and we cannot change.
IGNORED_WARNINGS = (
    # Mininet 2.3.0 imports distutils, which setuptools stands in for from Python 3.12 on.
    "ignore:The distutils package is deprecated:DeprecationWarning",
    "ignore:distutils Version classes are deprecated:DeprecationWarning",
    # Mininet forks from a process that may have threads; its child only execs.
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Strict for every ring, whoever calls pytest: `error` first, the exceptions after it."""
    for line in ("error", *IGNORED_WARNINGS):
        config.addinivalue_line("filterwarnings", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in tests/system, so that `-m "not system"` leaves it out."""
    system = Path(__file__).parent / "system"
    for item in items:
        if system in item.path.parents:
            item.add_marker(pytest.mark.system)

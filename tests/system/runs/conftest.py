"""Fixtures of tests of whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

TINY = "hosts: 1\nhoverboards: 1\nnetworks:\n  - {name: blue, vni: 7, subnet: 10.0.0.0/24, vms: 1}\n"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A topology file: one host, one VM."""
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    return file

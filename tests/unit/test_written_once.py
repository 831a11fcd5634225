"""What one module does for all others is written nowhere else."""

from __future__ import annotations

import pytest

from tests.unit.source_tree import source_tree


@pytest.mark.parametrize(
    ("text", "module"),
    [
        ("import difflib", "hoverboard.contract.checks.similar_names"),
        ('"OpenFlow10,', "hoverboard.contract.openflow.tables"),
    ],
)
def test_it_stands_in_one_module(text: str, module: str) -> None:
    assert [name for name, source in source_tree().items() if text in source.text] == [module]

"""What docs/coprocessors.md says is true: its rules load, its stage works, its reasons are all there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.registry import Registry
from hoverboard.coprocessor.stage_policy import StagePolicy
from tests.documented import file_text
from tests.unit.hoverboard.coprocessor.fakes import IP, UDP, context, ethernet, packet

ROOT = Path(__file__).parents[4]
PAGE = "docs/coprocessors.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_the_rules():
    policy = StagePolicy.read(yaml.safe_load(file_text(PAGE, "stages.yaml"))["stages"])
    assert [spec.stage for spec in policy.stages] == ["internet-acl", "wan-shaping", "wan-encryption"]
    registry = Registry()
    for spec in policy.stages:
        registry.check(spec.stage, spec.settings)
        with pytest.raises(InputError):
            registry.check(spec.stage, {**spec.settings, "no_such_key": 1})


def test_the_stage(tmp_path):
    path = tmp_path / "no_jumbo.py"
    path.write_text(file_text(PAGE, "no_jumbo.py"))
    stage = Registry().make(str(path), context(), {"largest": 100})
    small, large = packet(bytes(100)), packet(bytes(101))
    assert stage.process([small, large]) == [small]
    assert large.reason == "jumbo"
    assert stage.tick(0) == []
    assert stage.deadline() is None


def test_the_stage_that_asks_for_samples(tmp_path):
    path = tmp_path / "no_fragments.py"
    path.write_text(file_text(PAGE, "no_fragments.py"))
    registry = Registry()
    assert [registry.sampling(str(path), {}, direction) for direction in ("ingress", "egress")] == [64, 0]
    blocked = []
    stage = registry.make(str(path), context(block=lambda *call: blocked.append(call)), {})
    whole, first, last, other = (
        packet(ethernet(IP(src=f"10.0.0.{number}", flags=flags, frag=offset), UDP()), "ingress")
        for number, flags, offset in ((1, "DF", 0), (2, "MF", 0), (3, 0, 185), (4, 0, 0))
    )
    assert stage.process([whole, first, last, other]) == [whole, first, last, other]
    assert blocked == [(bytes([10, 0, 0, number]), 10) for number in (2, 3)]


@pytest.mark.parametrize("module", sorted((ROOT / "hoverboard/coprocessor").rglob("*.py")), ids=lambda path: path.stem)
def test_the_page_names_each_reason_and_each_key(module):
    source = module.read_text(encoding="utf-8")
    reasons = re.findall(r'"((?:esp|acl|shaping|dos|abuse|stage|no-such|coprocessor)-[a-z-]+)"', source)
    assert {reason for reason in reasons if f"`{reason}`" not in TEXT} == set()

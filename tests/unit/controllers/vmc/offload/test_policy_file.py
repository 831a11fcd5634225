"""Offload policies from files: what is loaded, and how a file that is no good is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controllers.testing.world import START
from controllers.vmc.offload.policy import OffloadPolicy, OffloadSettings, Pair, Sent
from controllers.vmc.offload.policy_file import load_policy
from hoverboard.contract.errors import InputError

GOOD = """
from controllers.vmc.offload.policy import Decision, OffloadPolicy

class Everything(OffloadPolicy):
    def decide(self, host, candidates, now):
        return Decision(tuple(pair for pair, rate in candidates))
"""


TWO = (
    GOOD
    + """
class Nothing(Everything):
    def decide(self, host, candidates, now):
        return Decision()
"""
)
EXAMPLE = "write a file with `class Mine(OffloadPolicy)`, and name it as mine.py:Mine (see docs/models.md)"


def starts(policy: OffloadPolicy) -> list[Pair]:
    """The offloads for a pair that sends next to nothing."""
    decision = policy.report([Sent(Pair("a", "b"), "h1", 1)], 1.0, START)
    return list(decision.start)


def test_a_policy_of_ones_own_is_loaded_with_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(GOOD)
    settings = OffloadSettings(threshold_bps=1e9)
    for reference in (f"{file}:Everything", str(file)):
        policy = load_policy(reference, settings)
        assert starts(policy) == [Pair("a", "b")]
        assert policy.settings is settings
    built_in = load_policy(None, settings)
    assert type(built_in) is OffloadPolicy
    assert built_in.settings is settings


def test_of_several_policies_in_a_file_the_named_one_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(TWO)
    assert starts(load_policy(f"{file}:Everything", OffloadSettings())) == [Pair("a", "b")]
    assert starts(load_policy(f"{file}:Nothing", OffloadSettings())) == []


@pytest.mark.parametrize(
    ("text", "name", "message", "where", "next_step"),
    [
        (None, ":Mine", "there is no Python file 'mine.py'", "{}:Mine", EXAMPLE),
        ("x = 1\n\nx / 0", ":Mine", "the file raised ZeroDivisionError: division by zero", "{}:3",
         "correct it; see the whole error with: hoverboard python {}"),
        ("class Mine: pass", ":Mine", "'Mine' is no offload policy", "{}:Mine", EXAMPLE),
        (GOOD, ":OffloadPolicy", "'OffloadPolicy' is no offload policy", "{}:OffloadPolicy", EXAMPLE),
        (TWO, "", "name one offload policy: the file has Everything, Nothing", "{}",
         "name it as mine.py:Everything"),
        (GOOD + "\n    def __init__(self): pass\n", ":Everything", r"Everything\(settings\) raised TypeError.*",
         "{}:Everything", "let `__init__` take OffloadSettings, like OffloadPolicy"),
    ],
)  # fmt: skip
def test_a_bad_policy_file_is_refused_in_full(
    tmp_path: Path, text: str | None, name: str, message: str, where: str, next_step: str
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError) as refused:
        load_policy(f"{file}{name}", OffloadSettings())
    assert re.fullmatch(message, refused.value.what)
    assert (refused.value.where, refused.value.next_step) == (where.format(file), next_step.format(file))

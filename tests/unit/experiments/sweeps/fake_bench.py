"""A bench without testbeds: it counts what is measured, and interrupts when it should."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

from experiments.sweeps.bench import random_seed


class FakeBench:
    """`runner.RunnerBench`; raises KeyboardInterrupt at the point number `interrupt_at`, counted from 1."""

    quick = False

    def __init__(self, interrupt_at: int = 0, seed: int = 1) -> None:
        self.begun: list[str] = []
        self.ended = 0
        self._raw: dict[str, Any] = {}
        self._interrupt_at, self._seed = interrupt_at, seed

    def testbed(self, topology: Any = "", **options: Any) -> Any:
        raise AssertionError

    fresh = testbed

    def raw(self, name: str, document: Any) -> None:
        self._raw[name] = document

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        return random.Random(random_seed(self._seed, self.begun[-1], of, across))

    def say(self, what: str) -> None: ...

    def begin(self, key: str) -> None:
        self.begun.append(key)
        if len(self.begun) == self._interrupt_at:
            raise KeyboardInterrupt

    def end(self) -> dict[str, Any]:
        self.ended += 1
        raw, self._raw = self._raw, {}
        return raw

    def topologies(self) -> Mapping[str, str]:
        return {"none": "hosts: 0\n"}


def quiet(what: str, share: float) -> None:
    """Progress that is thrown away."""

"""The bench of a measurement: testbeds that stay up from point to point, raw data, random numbers.

Testbeds stay up because a start takes seconds, and because the compared points take turns.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from experiments.sweeps.pinning import Pinning, apply, restored
from topologies.processes.ledger import Ledger, live_processes
from topologies.processes.process_table import LinuxProcesses
from topologies.processes.signals import defer_signals
from topologies.run.testbed import Testbed

_DATAPLANE = ("host", "nursery", "switch")  # kinds of processes in a run's ledger
_MOST_UP = 6  # testbeds at a time; one of two hosts with an idle fast path takes about 0.2 GiB


def random_seed(seed: int, key: str, of: str, across: Collection[str]) -> str:
    """The seed of random numbers: the run's seed and the point's key (folder.key_of) without the names in `across`.

    A value may contain commas: a part that is not NAME=VALUE belongs to the value before it.
    """
    words: list[str] = []
    for word in key.split(","):
        if "=" in word or not words:
            words.append(word)
        else:
            words[-1] += "," + word
    kept = [word for word in words if word.partition("=")[0] not in across]
    return "/".join([str(seed), ",".join(kept), *([of] if of else [])])


class TestbedBench:
    """The `experiment.Bench` with real testbeds.

    Args:
        quick: this is a quick run.
        seed: the seed of the run.
        say: shows a line of progress.
        pinning: the CPUs of the data planes and the other CPUs; a text or None: no process is pinned.
    """

    __test__ = False  # for pytest

    def __init__(
        self, *, quick: bool, seed: int, say: Callable[[str], None], pinning: Pinning | str | None = None
    ) -> None:
        self.quick = quick
        self._seed = seed
        self._say = say
        # A testbed is in here before its start and until it is down, so that an interruption loses none.
        self._up: OrderedDict[str, Testbed] = OrderedDict()
        self._brief = contextlib.ExitStack()
        self._key = ""
        self._raw: dict[str, Any] = {}
        self._used: dict[str, str] = {}
        self._pinning = pinning if isinstance(pinning, Pinning) else None
        self._unpinned = contextlib.ExitStack()
        if self._pinning is not None:
            self._unpinned.enter_context(restored())
            apply(self._pinning, [])

    # --- for experiments ----------------------------------------------------------------------------

    def testbed(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A running testbed with this topology and these options. It stays up for later points."""
        name = json.dumps([str(topology), options], sort_keys=True, default=str)
        if (found := self._up.get(name)) is not None:
            if not found.going_down:
                self._up.move_to_end(name)  # the least recently used goes down first
                self._record(found, options)
                return found
            self._down(name)
        while len(self._up) >= _MOST_UP:
            self._down(next(iter(self._up)))
        made = self._up[name] = self._testbed(topology, options)
        try:
            self._bring_up(made, topology, options)
        except BaseException:
            self._down(name)
            raise
        return made

    def fresh(self, topology: Any = "two-hosts", **options: Any) -> Testbed:
        """A new running testbed for this point alone."""
        made = self._testbed(topology, options)
        self._brief.callback(made.down)
        self._bring_up(made, topology, options)
        return made

    def raw(self, name: str, document: Any) -> None:
        """Keep a JSON document or a text with the point's raw data."""
        self._raw[name] = document

    def random(self, of: str = "", *, across: Collection[str] = ()) -> random.Random:
        """A generator of random numbers, seeded by seed, point without `across`, repetition and `of`."""
        return random.Random(random_seed(self._seed, self._key, of, across))

    def say(self, what: str) -> None:
        """Show a line of progress."""
        self._say(what)

    # --- for the runner -----------------------------------------------------------------------------

    def begin(self, key: str) -> None:
        """Begin a point, and forget the raw data of the last one."""
        self._key, self._raw, self._used = key, {}, {}

    def end(self) -> dict[str, Any]:
        """End the point: take down its fresh testbeds, and return its raw data."""
        self._brief.close()
        raw, self._raw = self._raw, {}
        return raw

    def topologies(self) -> dict[str, str]:
        """The testbeds of the last point, as topology files by name."""
        return dict(self._used)

    def close(self) -> None:
        """Take down all testbeds, and restore the CPUs of this process."""
        with defer_signals():  # a second Ctrl-C must leave none
            self._brief.close()
            while self._up:
                self._down(next(reversed(self._up)))
            self._unpinned.close()

    def _down(self, name: str) -> None:
        self._up[name].down()
        del self._up[name]

    def _testbed(self, topology: Any, options: dict[str, Any]) -> Testbed:
        return Testbed(topology, run=f"experiment-{uuid.uuid4().hex[:8]}", **options)

    def _bring_up(self, made: Testbed, topology: Any, options: dict[str, Any]) -> None:
        name = topology if isinstance(topology, str | Path) else "its topology"
        self._say(
            f"bringing up {name} {' '.join(str(value) for value in options.values() if isinstance(value, str))}".strip()
        )
        made.up(lambda event: self._say(event.note) if event.note else None)
        self._record(made, options)

    def _record(self, testbed: Testbed, options: dict[str, Any]) -> None:
        if self._pinning is not None:  # each time: a restarted process has the CPUs of this process
            running = live_processes(Ledger(testbed.directory), LinuxProcesses())
            apply(self._pinning, [one.process.pid for one in running if one.kind in _DATAPLANE])
        words = [f"{name}={value}" for name, value in options.items()]
        name = re.sub(r"[^A-Za-z0-9_.=,-]+", "_", ",".join([testbed.topology.name, *words]))
        facts = f"# {', '.join(words) or 'as it stands'}; Open vSwitch's datapath: {testbed.datapath_type}\n"
        self._used[name] = facts + testbed.topology.text

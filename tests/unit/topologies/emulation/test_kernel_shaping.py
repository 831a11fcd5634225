"""Who makes a link, and the commands with which the kernel makes it."""

from __future__ import annotations

import pytest

from hoverboard.contract.links.link_properties import LinkProperties
from topologies.emulation import kernel_shaping
from topologies.emulation.kernel_shaping import KernelShaping, Means, choose, commands, shape

ALL, NONE = KernelShaping("", "", ""), KernelShaping("no netem", "no htb", "no netem")
WITHOUT_NETEM, WITHOUT_HTB = KernelShaping("no netem", "", "no netem"), KernelShaping("", "no htb", "")
WITHOUT_SEED = KernelShaping("", "", "no seed")
DELAY, RATE = LinkProperties(delay=0.01), LinkProperties(rate=10**6)
BOTH = LinkProperties(delay=0.01, rate=10**6)


@pytest.mark.parametrize(
    ("properties", "kernel", "means"),
    [
        (LinkProperties(), NONE, Means("plain")),
        (DELAY, ALL, Means("kernel", ("netem",))),
        (RATE, ALL, Means("kernel", ("htb",))),
        (BOTH, ALL, Means("kernel", ("htb", "netem"))),
        (DELAY, WITHOUT_NETEM, Means("element", ("element",), "netem: no netem")),
        (RATE, WITHOUT_NETEM, Means("kernel", ("htb",))),
        (BOTH, WITHOUT_NETEM, Means("element", ("element",), "netem: no netem")),
        (DELAY, WITHOUT_HTB, Means("kernel", ("netem",))),
        (RATE, WITHOUT_HTB, Means("element", ("element",), "htb: no htb")),
        (BOTH, WITHOUT_HTB, Means("element", ("element",), "htb: no htb")),
        (LinkProperties(loss=0.1), WITHOUT_SEED, Means("kernel", ("netem",))),
        (LinkProperties(delay=0.1, seed=4), WITHOUT_SEED, Means("kernel", ("netem",))),
        (LinkProperties(loss=0.1, seed=4), ALL, Means("kernel", ("netem",))),
        (LinkProperties(loss=0.1, seed=4), WITHOUT_SEED, Means("element", ("element",), "a seed of netem: no seed")),
    ],
)
def test_the_kernel_makes_what_it_can(properties: LinkProperties, kernel: KernelShaping, means: Means) -> None:
    assert choose(properties, kernel) == means


def test_a_rate_alone_has_a_queue_of_100_ms() -> None:
    assert commands("d", LinkProperties(rate=10**9), 3) == [
        "qdisc add dev d root handle 1: htb default 1",
        "class add dev d parent 1: classid 1:1 htb rate 1000000000bit burst 65521 quantum 60000",
        "qdisc add dev d parent 1:1 handle 10: bfifo limit 12500000",
    ]


def test_all_words_go_to_netem_under_the_rate() -> None:
    wanted = LinkProperties(delay=0.01, jitter=0.002, loss=0.001, reorder=0.25, duplicate=1, rate=10**8)
    assert commands("d", wanted, 3)[2:] == [
        "qdisc add dev d parent 1:1 handle 20: netem limit 934 delay 10000us 2000us loss 0.1% duplicate 100% "
        "reorder 25% seed 3"
    ]


def test_jitter_alone_does_not_reorder() -> None:
    (command,) = commands("d", LinkProperties(delay=0.01, jitter=0.002), None)
    assert command == ("qdisc add dev d root handle 20: netem limit 12000 delay 10000us 2000us rate 1000gbit")


class Tc:
    """A tc that rejects commands with a word."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *rejected: str) -> None:
        self.rejected = rejected
        self.done: list[str] = []
        monkeypatch.setattr(kernel_shaping, "_tc", self)

    def __call__(self, pid: int, words: str) -> str:
        if any(word in words for word in self.rejected):
            return "not here"
        self.done.append(words)
        return ""


def test_a_delay_alone_needs_no_seed() -> None:
    assert commands("d", DELAY, 5) == ["qdisc add dev d root handle 20: netem limit 10000 delay 10000us"]


def test_what_the_kernel_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Tc(monkeypatch, "qdisc", "class")
    assert shape(1, "d", BOTH, 5) == ["rate: not here", "delay and chance: not here"]


def test_the_probe_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tc = Tc(monkeypatch)
    assert kernel_shaping.probe(1) == ALL
    assert [words.split()[1] for words in tc.done] == ["add", "del", "add", "del", "add", "add", "del"]
    Tc(monkeypatch, "netem", "htb")
    assert kernel_shaping.probe(1) == KernelShaping("not here", "not here", "not here")

"""How commands end at a signal: as at Ctrl-C, but not at one that the caller ignores, and not once a run is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from console import guard

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_each_signal_ends_the_block(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in ALL]
    with pytest.raises(KeyboardInterrupt), guard.ended_by_signals():
        signal.raise_signal(number)
    assert [signal.getsignal(one) for one in ALL] == before


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with guard.ended_by_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_signals_can_be_ignored_to_the_end_of_the_process() -> None:
    with guard.ended_by_signals() as signals:
        signals.ignore()
        for number in ALL:
            signal.raise_signal(number)
    for number in ALL:
        signal.raise_signal(number)
    assert {signal.getsignal(number) for number in ALL} == {signal.SIG_IGN}

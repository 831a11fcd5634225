"""The fuzz run's bounded form; the long one is `python -m tests.fuzz.fastpath --packets 10000000`."""

from __future__ import annotations

import pytest

from tests.fuzz.fastpath import fuzz


@pytest.mark.timeout(300)
def test_malformed_packets_crash_nothing_and_reach_no_wrong_vm():
    report = fuzz(200_000)
    assert not report.faults
    # The packets get everywhere, or the run says nothing.
    assert all(report.functions[name] > 500 for name in ("parsed", "found", "decapsulated", "cut pieces", "completed"))
    for part in (report.one_by_one, report.in_batches):
        assert all(part[name] > 1_000 for name in ("delivered", "sent", "dropped", "missed"))
    assert len(report.drops) > 8

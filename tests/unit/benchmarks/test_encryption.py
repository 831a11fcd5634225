"""The encryption benchmark's reading of openssl, and its bars."""

from __future__ import annotations

import pytest

from benchmarks import encryption
from hoverboard.contract.errors import MeasurementError


def test_openssls_figure():
    printed = "+H:1448\n+F:25:AES-128-GCM:1448000000.00\n"
    assert encryption.parse_speed(printed, 1448) == pytest.approx(1e-6)


@pytest.mark.parametrize("printed", ["", "+H:1448\n", "+F:25:AES-128-GCM:0.00\n"])
def test_no_figure(printed):
    with pytest.raises(MeasurementError):
        encryption.parse_speed(printed, 1448)


def test_every_contestant_has_its_turn_and_the_bars_hold_the_stages_own(monkeypatch):
    cost = {name: 2e-6 if name in (encryption.SEAL, encryption.OPEN) else 1e-6 for name in encryption.NAMES}
    fake = tuple((name, lambda plan, size, name=name: cost[name]) for name, _ in encryption.CONTESTANTS)
    monkeypatch.setattr(encryption, "CONTESTANTS", fake)
    rows = encryption.measure(encryption.Plan(3, 1, 128), lambda what, share: None)
    assert [row["bytes"] for row in rows] == [1448, 65536]
    made = encryption.bars(rows)
    assert [bar.value for bar in made] == [2.0] * 4
    assert not any(bar.passed for bar in made)
    assert encryption.table(rows).row_count == 12


@pytest.mark.parametrize("ingress", [False, True])
def test_the_stages_turn_is_of_packets_that_pass(ingress):
    assert encryption.stage(encryption.Plan(1, 0.001, 128), 65536, ingress=ingress) > 0
    assert encryption.aead(encryption.Plan(1, 0.001, 256), 1448, opening=ingress) > 0

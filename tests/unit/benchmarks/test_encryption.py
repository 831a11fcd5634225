"""The encryption benchmark's reading of openssl, and its bars."""

from __future__ import annotations

import pytest

from benchmarks import encryption
from hoverboard.contract.errors import MachineError, MeasurementError
from tests.unit.experiments.tools.no_namespace import program


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
    assert [(bar.value, bar.limit, bar.sense) for bar in made] == [(2.0, 1.3, "<=")] * 4
    assert not any(bar.passed for bar in made)
    shown = [list(column.cells) for column in encryption.table(rows).columns]
    assert len(shown[0]) == 2 * len(encryption.NAMES)
    # 1448 bytes in 1 us are 11.58 Gbit/s; seal takes twice as long.
    assert [column[0] for column in shown[-3:]] == ["1.00 .. 1.00", "11.58", "1.00 x"]
    seal = encryption.NAMES.index(encryption.SEAL)
    assert [column[seal] for column in shown[-2:]] == ["5.79", "2.00 x"]


class Openssl:
    """An `openssl` that prints what it should."""

    def __init__(self, monkeypatch, tmp_path, text):
        program(tmp_path, "openssl", text)
        monkeypatch.setattr(encryption.programs, "find", lambda name: str(tmp_path / name))


def test_openssl_is_asked_for_the_same_cipher_bytes_and_seconds(monkeypatch, tmp_path):
    printed = '#!/bin/sh\necho "$*" > ' + str(tmp_path / "asked") + "\necho '+F:25:AES-256-GCM:2000000.00'\n"
    Openssl(monkeypatch, tmp_path, printed)
    assert encryption.openssl(encryption.Plan(1, 3, 256), 1448, "-aead") == 1448 / 2e6
    assert (tmp_path / "asked").read_text() == "speed -mr -seconds 3 -bytes 1448 -aead -evp aes-256-gcm\n"


def test_without_openssl_or_without_its_end_there_is_no_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(encryption.programs, "find", lambda name: None)
    with pytest.raises(MachineError, match="there is no openssl command"):
        encryption.openssl(encryption.Plan(1, 1, 128), 1448)
    Openssl(monkeypatch, tmp_path, "#!/bin/sh\nexit 0\n")
    limits = []

    def run(line, **settings):
        limits.append(settings["timeout"])
        raise encryption.subprocess.TimeoutExpired(line, settings["timeout"])

    monkeypatch.setattr(encryption.subprocess, "run", run)
    with pytest.raises(MeasurementError, match="did not end"):
        encryption.openssl(encryption.Plan(1, 2, 128), 1448)
    assert limits == [26]


def test_options():
    given = encryption.options([])
    assert (given.repeat, given.seconds, given.bits) == (5, 1, 128)
    assert encryption.options(["--bits", "256"]).bits == 256


@pytest.mark.parametrize("ingress", [False, True])
def test_the_stages_turn_is_of_packets_that_pass(ingress):
    assert encryption.stage(encryption.Plan(1, 0.001, 128), 65536, ingress=ingress) > 0
    assert encryption.aead(encryption.Plan(1, 0.001, 256), 1448, opening=ingress) > 0

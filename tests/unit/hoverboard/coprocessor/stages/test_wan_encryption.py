"""The stage that encrypts between hosts: there and back, against forgers, over restarts."""

from __future__ import annotations

import struct
import time
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.stage import PLAIN_VNET, StageContext
from hoverboard.coprocessor.stages.wan_encryption import WanEncryption
from tests.unit.hoverboard.coprocessor.esp_frames import SEGMENT, SIX, SMALL, SPI, VNET
from tests.unit.hoverboard.coprocessor.fakes import (  # fmt: skip
    ARP,
    HERE,
    IP,
    THERE,
    UDP,
    Clock,
    context,
    ethernet,
    packet,
)


class Pair:
    """A VM on each of two hosts, and the way from the first to the second."""

    def __init__(self, **config):
        self.clock = Clock()
        self.config = config
        self.sender_context = context(self.clock, local=HERE, number=3)
        self.receiver_context = context(self.clock, local=THERE, number=9)
        self.sender = WanEncryption(self.sender_context, config)
        self.receiver = WanEncryption(self.receiver_context, config)

    def send(self, frame=SMALL, vnet=PLAIN_VNET):
        """The packets on the wire."""
        (out,) = self.sender.process([packet(frame, vnet=vnet)])
        assert out.vnet == PLAIN_VNET
        return bytes(out.frame)

    def receive(self, frame, *, peer: IPv4Address | None = HERE, vni=7):
        """The frame, or why it was dropped."""
        got = packet(frame, "ingress", peer=peer, vni=vni)
        passed = self.receiver.process([got])
        return bytes(passed[0].frame) if passed else got.reason


def test_there_and_back():
    pair = Pair()
    sent = packet(SEGMENT, vnet=VNET)
    (sent,) = pair.sender.process([sent])
    got = packet(bytes(sent.frame), "ingress", peer=HERE)
    (got,) = pair.receiver.process([got])
    assert (bytes(got.frame), got.vnet) == (SEGMENT, VNET)


def test_a_replay_is_dropped_and_a_late_one_is_not():
    pair = Pair(window=32)
    wire = [pair.send() for _ in range(40)]
    assert [pair.receive(wire[n]) for n in (0, 39, 20, 8)] == [SMALL] * 4
    assert [pair.receive(wire[n]) for n in (0, 39, 20, 8, 7)] == ["esp-replayed"] * 5


def test_a_forgery_does_not_move_the_window():
    pair = Pair()
    first, second = pair.send(), bytearray(pair.send())
    assert pair.receive(first) == SMALL
    forged = second.copy()
    forged[34 + 4 : 34 + 16] = struct.pack("!IQ", 99, int.from_bytes(second[42:50], "big") & ~0xFFFFFFFF | 99)
    assert pair.receive(bytes(forged)) in {"esp-wrong-tag", "esp-replayed"}
    assert pair.receive(bytes(second)) == SMALL


def changed(wire, at):
    out = bytearray(wire)
    out[at] ^= 1
    return bytes(out)


GOLDEN = [
    ("plain where ESP is required", lambda wire: SMALL, "esp-plain"),
    ("ARP where ESP is required", lambda wire: ethernet(ARP()), "esp-plain"),
    ("last bit of the tag", lambda wire: changed(wire, -1), "esp-wrong-tag"),
    ("first byte of the ciphertext", lambda wire: changed(wire, 50), "esp-wrong-tag"),
    ("sequence number", lambda wire: changed(wire, 41), "esp-malformed"),
    ("sequence number and IV", lambda wire: changed(changed(wire, 41), 49), "esp-wrong-tag"),
    ("another VM's SPI", lambda wire: changed(wire, 37), "esp-wrong-tag"),
    ("a reserved SPI", lambda wire: wire[:34] + b"\0\0\0\1" + wire[38:], "esp-malformed"),
    ("source address", lambda wire: changed(wire, 29), "esp-malformed"),
    ("destination address", lambda wire: changed(wire, 33), "esp-malformed"),
    ("cut short", lambda wire: wire[:60], "esp-malformed"),
    ("cut in its header", lambda wire: wire[:40], "esp-malformed"),
    ("untouched", lambda wire: wire, SMALL),
    ("padded by Ethernet", lambda wire: wire + bytes(6), SMALL),
]


@pytest.mark.parametrize(("what", "change", "verdict"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden_ingress(what, change, verdict):
    pair = Pair()
    assert pair.receive(change(pair.send())) == verdict


EGRESS = [
    ("ARP", ethernet(ARP()), THERE, "esp-not-ip"),
    ("too short for IP", SMALL[:30], THERE, "esp-not-ip"),
    ("longer than it says it is", ethernet(IP(len=4000), UDP()), THERE, "esp-not-ip"),
    ("IPv6 called IPv4", SIX[:12] + b"\x08\x00" + SIX[14:], THERE, "esp-not-ip"),
    ("to a VM of this host", SMALL, None, "esp-no-peer"),
    ("longer than IP can be", SMALL[:16] + bytes(65530), THERE, "esp-too-long"),
]


@pytest.mark.parametrize(("what", "frame", "peer", "reason"), EGRESS, ids=[row[0] for row in EGRESS])
def test_golden_egress(what, frame, peer, reason):
    one = packet(frame, peer=peer)
    assert Pair().sender.process([one]) == []
    assert one.reason == reason


def test_another_network_or_host_has_another_key():
    pair = Pair()
    wire = pair.send()
    assert pair.receive(wire, vni=8) == "esp-wrong-tag"
    assert pair.receive(wire, peer=IPv4Address("172.16.0.3")) == "esp-wrong-tag"
    assert pair.receive(wire, peer=None) == "esp-no-peer"
    assert pair.receive(wire) == SMALL


def test_plain_passes_where_it_may():
    assert Pair(require=False).receive(SMALL) == SMALL


def spi_of(wire):
    return int.from_bytes(wire[34:38], "big")


@pytest.mark.parametrize(
    "rotation", [{"packets": 2}, {"bytes": 2 * len(SMALL)}, {"seconds": 10}], ids=["packets", "bytes", "seconds"]
)
def test_epochs_follow_each_other(rotation):
    pair = Pair(rotation=rotation)
    wire = []
    for _ in range(6):
        wire.append(pair.send())
        pair.clock.now += 5
    assert len({spi_of(one) for one in wire}) == 3
    assert [spi_of(one) & 0xFFFF for one in wire] == [3] * 6
    # Epochs 1 and 2; 1 is still good; 3 begins and 2 is; 1 no longer is.
    order = [(0, SMALL), (2, SMALL), (1, SMALL), (4, SMALL), (3, SMALL), (5, SMALL)]
    assert [pair.receive(wire[n]) for n, _ in order] == [verdict for _, verdict in order]
    assert pair.receive(wire[1]) == "esp-stale-epoch"
    assert pair.receive(wire[3]) == "esp-replayed"


def test_a_receiver_that_forgot_everything_refuses_what_is_old():
    pair = Pair(rotation={"seconds": 100}, grace_seconds=10)
    wire = pair.send()
    pair.clock.now += 111
    assert pair.receive(wire) == "esp-stale-epoch"
    pair.clock.now += 100
    assert pair.receive(pair.send()) == SMALL


def test_nothing_from_the_future():
    pair = Pair(grace_seconds=10)
    pair.clock.slept = 11 * 10**9
    wire = pair.send()
    pair.clock.slept = 0
    assert pair.receive(wire) == "esp-stale-epoch"


@pytest.mark.parametrize("hours", [0.5, 8, 24 * 30])
def test_a_machine_that_slept_loses_no_packet_between_vms_that_never_spoke(hours):
    """The sender goes on in its epoch where the monotonic clock stood still; the receiver hears of it first now."""
    pair = Pair(rotation={"seconds": 3600})
    known = pair.send()
    assert pair.receive(known) == SMALL
    pair.clock.slept += int(hours * 3600 * 10**9)
    assert pair.receive(pair.send()) == SMALL, "to one who knows the epoch"
    pair.receiver = WanEncryption(context(pair.clock, local=THERE, number=10), pair.config)
    assert pair.receive(pair.send()) == SMALL, "to one who does not"
    if hours > 1.1:
        assert pair.receive(known) == "esp-stale-epoch", "what was recorded before the sleep is old"


def test_no_clock_that_somebody_sets_is_read(monkeypatch):
    """The wall clock jumps by years, back and forth, and all else stays as it is."""
    steps = iter([0, 10**18, -(10**18), 5] * 50)
    for name in ("time", "time_ns"):
        monkeypatch.setattr(time, name, lambda: next(steps))
    pair = Pair()
    stage = StageContext("web-1", "h1", HERE, secret=b"a secret of sixteen or more bytes")
    pair.sender = WanEncryption(stage, {})
    pair.receiver = WanEncryption(StageContext("db-1", "h2", THERE, secret=stage.secret), {})
    assert [pair.receive(pair.send()) for _ in range(20)] == [SMALL] * 20


def test_a_restarted_stage_repeats_no_number_and_forgets_none():
    pair = Pair()
    wire = [pair.send() for _ in range(3)]
    assert pair.receive(wire[0]) == SMALL
    pair.sender = WanEncryption(pair.sender_context, pair.config)
    pair.receiver = WanEncryption(pair.receiver_context, pair.config)
    wire.append(pair.send())
    assert len({one[34:50] for one in wire}) == 4
    assert pair.receive(wire[0]) == "esp-replayed"
    assert pair.receive(wire[3]) == SMALL


def test_a_restarted_host_process_is_heard_at_once():
    pair = Pair()
    before = pair.send()
    assert pair.receive(before) == SMALL
    pair.clock.now += 0.001
    pair.sender = WanEncryption(context(pair.clock, local=HERE, number=3), {})
    after = pair.send()
    assert after[42:50] > before[42:50]
    assert pair.receive(after) == SMALL
    assert pair.receive(before) == "esp-replayed"


@given(st.lists(st.tuples(st.sampled_from("srR"), st.integers(0, 30)), max_size=60))
def test_each_packet_is_delivered_once_at_most_whatever_restarts(steps):
    """s: send; r: replay or deliver the n-th packet; R: both stages restart."""
    pair = Pair(rotation={"packets": 3}, window=32)
    wire, delivered = [], set()
    for step, n in steps:
        if step == "s":
            wire.append(pair.send())
        elif step == "R":
            pair.sender = WanEncryption(pair.sender_context, pair.config)
            pair.receiver = WanEncryption(pair.receiver_context, pair.config)
        elif wire:
            n %= len(wire)
            if pair.receive(wire[n]) == SMALL:
                assert n not in delivered
                delivered.add(n)
    assert len({one[42:50] for one in wire}) == len(wire)


@given(
    st.binary(max_size=120), st.sampled_from([b"", b"\x08\x00\x45", b"\x86\xdd\x60", b"\x08\x00\x65"]), st.booleans()
)
def test_anything_at_all_is_dropped_by_a_reason(data, start, as_esp):
    frame = bytearray((bytes(12) if start else b"") + start + data)
    if as_esp and len(frame) > 50:
        frame[16:18], frame[23], frame[20] = (len(frame) - 14).to_bytes(2, "big"), 50, 50
        frame[34:38] = SPI.to_bytes(4, "big")
    pair = Pair()
    assert str(pair.receive(bytes(frame))).startswith("esp-")
    one = packet(bytes(frame))
    assert bool(pair.sender.process([one])) != (one.reason is not None)


@pytest.mark.parametrize("second", [{"window": 32}, {"key_bits": 256}])
def test_two_rules_of_one_vm_use_no_nonce_twice(second):
    pair = Pair()
    other = WanEncryption(pair.sender_context, second)
    wire = []
    for _ in range(3):
        wire.append(pair.send())
        (out,) = other.process([packet(SMALL)])
        wire.append(bytes(out.frame))
    assert len({one[42:50] for one in wire}) == 6
    receivers = [pair.receiver, WanEncryption(pair.receiver_context, second)]
    for n, one in enumerate(wire):
        got = packet(one, "ingress", peer=HERE)
        assert [bytes(passed.frame) for passed in receivers[n % 2].process([got])] == [SMALL]


def test_it_needs_a_secret():
    with pytest.raises(InputError, match="secret"):
        WanEncryption(context(secret=b"short"), {})


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"key_bits": 192}, "config.key_bits"),
        ({"rotation": {"packet": 5}}, "config.rotation.packet"),
        ({"window": "many"}, "config.window"),
        ({"cipher": "rot13"}, "config.cipher"),
    ],
)
def test_a_wrong_configuration_is_named(config, key):
    with pytest.raises(InputError) as caught:
        WanEncryption(context(), config)
    assert key in caught.value.where

"""Golden packets for stages, per-VM queues with their scheduler, and the commands to an engine."""

from __future__ import annotations

import os

import pytest

from hoverboard.fastpath.elements.stages import run_stages
from hoverboard.fastpath.elements.vmqueue import AGED, HALF_LIFE_NS, RECENT, TURN, choose, deliver, enqueue, recent_work
from hoverboard.fastpath.engine.commands import run_commands, take_injected
from hoverboard.fastpath.engine.compose import EGRESS_CHAIN, compose, source
from hoverboard.fastpath.memory import control, entries, packets, ports, rings
from hoverboard.fastpath.memory import host as host_words
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.flow_table import Entry
from hoverboard.testing.memory_host import (
    NO_VNET,
    OFPORTS,
    OTHER_VM,
    VM,
    key_of,
    to_tunnel,
    tunnel_word,
    unwrapped,
    vnet,
)
from tests.unit.hoverboard.packets import UDP, array, frame


@pytest.fixture
def bell(host):
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    for m in host.datapath.memories:
        m.side_wake[VM, rings.COPROCESSOR_FD] = fd
    yield fd
    os.close(fd)


@pytest.fixture
def both_bells(host, bell):
    for m in host.datapath.memories:
        m.side_wake[OTHER_VM, rings.COPROCESSOR_FD] = bell


def numbered(count):
    return [frame(UDP(sport=number)) for number in range(count)]


class TestStages:
    def through(self, host, entry, count=1, m=None, port=VM, header=NO_VNET, **more):
        m = host.egress if m is None else m
        key = key_of(frame(), OFPORTS[VM])
        host.table.update([(key, entry)])
        row = host.table._rows[key]
        slots = [host.place(m, data, port, header, **more) for data in numbered(count)]
        n = host.batch(m, *slots)
        kept = 0
        for slot in slots:
            m.packets[slot, packets.INDEX] = row
            m.stats[row, 0] += 1
            m.batch[0] = slot
            kept += run_stages(m, 1)
        assert n == count
        return kept

    def test_an_entry_without_stages(self, host, bell):
        assert self.through(host, Entry(entries.ACT_VPORT, OTHER_VM)) == 1
        assert not host.side(host.egress, VM, rings.TO_COPROCESSOR)

    def test_a_diverted_packet_leaves_with_its_chain_header_and_tunnel(self, host, bell):
        entry = to_tunnel(stages=entries.STAGE_COPROCESSOR, chain=3)
        assert self.through(host, entry, header=vnet(offset=6), tunnel=9) == 0
        (diverted,) = host.side(host.egress, VM, rings.TO_COPROCESSOR)
        assert (diverted.kind, diverted.frame, diverted.vnet) == (3, numbered(1)[0], vnet(offset=6))
        assert (diverted.port, diverted.tunnel) == (VM, 9)
        assert host.all_free(host.egress)

    def test_on_its_way_in_a_packet_goes_to_the_coprocessor_of_the_vm_it_is_for(self, host, bell):
        entry = Entry(entries.ACT_VPORT, VM, stages=entries.STAGE_COPROCESSOR, chain=4)
        assert self.through(host, entry, m=host.ingress, port=ports.UPLINK, tunnel=tunnel_word()) == 0
        (diverted,) = host.side(host.ingress, VM, rings.TO_COPROCESSOR)
        assert (diverted.port, diverted.kind, diverted.tunnel) == (ports.UPLINK, 4, tunnel_word())

    def test_a_packet_that_came_back_passes(self, host, bell):
        assert self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR | entries.STAGE_SAMPLE), staged=1) == 1
        assert not host.side(host.egress, VM, rings.TO_COPROCESSOR)

    def test_one_in_so_many_is_sampled_and_goes_on(self, host, bell):
        entry = to_tunnel(stages=entries.STAGE_SAMPLE, chain=7, sample=4)
        host.egress.ctl[control.DICE] = 1
        taken = []
        for _ in range(100):
            assert self.through(host, entry, count=8) == 8
            taken += host.side(host.egress, VM, rings.TO_COPROCESSOR)
            host.reset_pool(host.egress)
        assert {one.kind for one in taken} == {rings.CHAIN_SAMPLE - 7}
        assert {one.frame for one in taken} <= set(numbered(8))
        assert 150 < len(taken) < 250  # one in four of 800, whichever they are
        assert host.egress.samples[VM].tolist() == [len(taken), 0]

    def test_a_sample_is_a_whole_copy_with_its_header(self, host, bell):
        entry = to_tunnel(stages=entries.STAGE_SAMPLE, chain=7, sample=1)
        assert self.through(host, entry, header=vnet(offset=6), tunnel=9) == 1
        (one,) = host.side(host.egress, VM, rings.TO_COPROCESSOR)
        assert (one.frame, one.vnet, one.port, one.tunnel) == (numbered(1)[0], vnet(offset=6), VM, 9)

    def test_samples_leave_room_for_packets_and_are_counted_when_there_is_none(self, host, bell):
        entry = to_tunnel(stages=entries.STAGE_SAMPLE, sample=1)
        assert self.through(host, entry, count=rings.SIDE_SLOTS) == rings.SIDE_SLOTS
        assert host.egress.samples[VM].tolist() == [rings.SIDE_SLOTS - rings.SAMPLE_ROOM, rings.SAMPLE_ROOM]
        assert host.drops() == {}
        assert self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR), count=rings.SAMPLE_ROOM) == 0
        assert host.drops() == {}

    def test_sampled_and_diverted(self, host, bell):
        entry = to_tunnel(stages=entries.STAGE_SAMPLE | entries.STAGE_COPROCESSOR, chain=3, sample=1)
        assert self.through(host, entry) == 0
        assert [one.kind for one in host.side(host.egress, VM, rings.TO_COPROCESSOR)] == [rings.CHAIN_SAMPLE - 3, 3]

    def test_between_two_vms_of_a_host_the_receivers_stages_are_behind_the_senders(self, host, both_bells):
        entry = Entry(
            entries.ACT_VPORT,
            OTHER_VM,
            stages=entries.STAGE_COPROCESSOR | entries.STAGE_COPROCESSOR << entries.STAGE_NEXT,
            chain=3 | 40_000 << 16,
        )
        wanted = [(VM, 3), (OTHER_VM, 40_000)]
        for done, (port, chain) in enumerate(wanted):
            assert self.through(host, entry, staged=done) == 0
            (one,) = host.side(host.egress, port, rings.TO_COPROCESSOR)
            assert (one.port, one.kind) == (VM, chain)
        assert self.through(host, entry, staged=packets.ALL_DONE) == 1

    def test_only_the_receiver_has_stages(self, host, both_bells):
        entry = Entry(
            entries.ACT_VPORT,
            OTHER_VM,
            stages=(entries.STAGE_SAMPLE | entries.STAGE_COPROCESSOR) << entries.STAGE_NEXT,
            chain=5 << 16,
            sample=1 << 16,
        )
        assert self.through(host, entry) == 0
        assert not host.side(host.egress, VM, rings.TO_COPROCESSOR)
        assert [one.kind for one in host.side(host.egress, OTHER_VM, rings.TO_COPROCESSOR)] == [
            rings.CHAIN_SAMPLE - 5,
            5,
        ]

    def test_a_full_ring_drops_by_name(self, host, bell):
        assert self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR), count=rings.SIDE_SLOTS + 2) == 0
        assert host.drops() == {"coprocessor-queue-full": 2}
        assert [one.frame for one in host.side(host.egress, VM, rings.TO_COPROCESSOR)] == numbered(rings.SIDE_SLOTS)
        assert host.all_free(host.egress)

    def test_a_sample_that_finds_no_room_is_no_drop(self, host):
        assert self.through(host, to_tunnel(stages=entries.STAGE_SAMPLE, sample=1)) == 1
        assert host.drops() == {}
        assert host.egress.samples[VM].tolist() == [0, 1]

    def test_without_a_coprocessor_nothing_gets_past_its_stage(self, host):
        assert self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR)) == 0
        assert host.drops() == {"coprocessor-queue-full": 1}

    def test_only_a_sleeper_is_woken(self, host, bell):
        self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR))
        with pytest.raises(BlockingIOError):
            os.eventfd_read(bell)
        host.egress.side_wake[VM, rings.COPROCESSOR_ASLEEP] = 1
        self.through(host, to_tunnel(stages=entries.STAGE_COPROCESSOR), count=2)
        assert os.eventfd_read(bell) == 1
        assert not host.egress.side_wake[VM, rings.COPROCESSOR_ASLEEP]


def queued(host, port, frames):
    """Packets for a VM into its queue; how many of them stay in the batch."""
    m = host.ingress
    kept = 0
    for data in frames:
        slot = host.place(m, data, ports.UPLINK)
        m.packets[slot, packets.OUT] = port
        m.packets[slot, packets.OUT_START] = m.packets[slot, packets.START]
        m.packets[slot, packets.OUT_LENGTH] = m.packets[slot, packets.LENGTH]
        kept += enqueue(m, host.batch(m, slot))
    return kept


@pytest.fixture
def fifo(host):
    host.ingress.ctl[control.PRIORITY] = 0
    yield host
    host.ingress.ctl[control.PRIORITY] = 1


class TestVmQueues:
    def test_what_goes_to_the_fabric_stays_in_the_batch(self, host):
        assert queued(host, ports.UPLINK, [frame()]) == 1
        assert host.ingress.ctl[control.QUEUED] == 0

    def test_a_full_queue_drops_by_name_and_takes_no_other_vms_room(self, host):
        queued(host, VM, numbered(packets.VM_QUEUE_SLOTS + 3))
        queued(host, OTHER_VM, numbered(2))
        assert host.drops() == {"vm-queue-full": 3}
        assert host.ingress.ctl[control.QUEUED] == packets.VM_QUEUE_SLOTS + 2

    def test_nothing_is_reordered_within_a_vm(self, host):
        frames = numbered(2 * rings.SIDE_SLOTS)
        queued(host, VM, frames)
        queued(host, OTHER_VM, frames[:7])
        got, others = [], []
        while host.ingress.ctl[control.QUEUED]:
            deliver(host.ingress, 0)
            got += [out.frame for out in host.sent(VM, host.ingress)]
            others += [out.frame for out in host.sent(OTHER_VM, host.ingress)]
        assert got == [one for one in frames if one in got]
        assert len(got) + host.drops().get("vport-down", 0) == len(frames)
        assert others == frames[:7]
        assert host.all_free(host.ingress)

    def test_the_vm_with_the_least_recent_work_goes_first(self, host):
        m = host.ingress
        queued(host, VM, numbered(1))
        queued(host, OTHER_VM, numbered(1))
        for vm, other in ((VM, OTHER_VM), (OTHER_VM, VM)):
            m.queue_state[vm, 2:] = (1_000, 10)
            m.queue_state[other, 2:] = (999, 10)
            assert choose(m, 20) == other

    def test_work_long_ago_counts_no_more(self, host):
        state = host.ingress.queue_state[VM]
        state[2:] = (1 << 20, 0)
        assert recent_work(state, HALF_LIFE_NS - 1) == 1 << 20
        assert recent_work(state, 3 * HALF_LIFE_NS) == 1 << 17
        assert recent_work(state, 3 * HALF_LIFE_NS + 1) == 1 << 17
        assert recent_work(state, 1_000 * HALF_LIFE_NS) == 0

    def test_without_the_scheduler_the_oldest_packet_goes_first(self, fifo):
        queued(fifo, VM, numbered(1))
        queued(fifo, OTHER_VM, numbered(1))
        fifo.ingress.queue_state[VM, RECENT] = 1 << 40
        fifo.ingress.queue_state[VM, 3] = 1 << 62
        assert choose(fifo.ingress, 0) == VM

    def test_no_packet_waits(self, host):
        assert choose(host.ingress, 0) == -1
        assert deliver(host.ingress, 3) == 3

    def test_a_flood_delays_another_vm_by_one_turn_at_most(self, host):
        queued(host, VM, numbered(packets.VM_QUEUE_SLOTS))
        queued(host, OTHER_VM, numbered(1))
        host.ingress.queue_state[VM, 2:] = (1_000_000, 1 << 62)
        host.ingress.queue_state[OTHER_VM, 3] = 1 << 62
        assert choose(host.ingress, 0) == OTHER_VM
        assert TURN < rings.SIDE_SLOTS
        deliver(host.ingress, 0)
        assert len(host.sent(OTHER_VM, host.ingress)) == 1


def delivered(host, *ports):
    """Slots in the order in which their packets left for their VMs: as they came back to the pool."""
    m = host.ingress
    order = []
    while m.ctl[control.QUEUED]:
        free = int(m.ctl[control.FREE])
        deliver(m, 0)
        order += m.free[free : int(m.ctl[control.FREE])].tolist()
        for port in ports:
            host.sent(port, m)
    return order


class TestNoisyNeighbour:
    """Section 6.1.1 without a clock: work lately is never halved here, so that order alone is what is seen."""

    def order(self, host, noisy, victim):
        """Who was served, one by one: the noisy VM had work before, its queue stands when the victim's packets come."""
        m = host.ingress
        m.queue_state[:, AGED] = 1 << 62
        queued(host, noisy, numbered(TURN))
        delivered(host, noisy)
        queued(host, noisy, numbered(rings.SIDE_SLOTS))  # all that a port of memory takes at once
        waiting = {
            int(m.queues[noisy, at & (packets.VM_QUEUE_SLOTS - 1)]) for at in range(TURN, TURN + rings.SIDE_SLOTS)
        }
        queued(host, victim, numbered(4))
        return ["noisy" if slot in waiting else "victim" for slot in delivered(host, noisy, victim)]

    @pytest.mark.parametrize(("noisy", "victim"), [(VM, OTHER_VM), (OTHER_VM, VM)])
    def test_a_victim_is_served_before_the_queue_that_stands(self, host, noisy, victim):
        assert self.order(host, noisy, victim) == ["victim"] * 4 + ["noisy"] * rings.SIDE_SLOTS

    @pytest.mark.parametrize(("noisy", "victim"), [(VM, OTHER_VM), (OTHER_VM, VM)])
    def test_without_the_scheduler_it_waits_for_all_of_it(self, fifo, noisy, victim):
        assert self.order(fifo, noisy, victim) == ["noisy"] * rings.SIDE_SLOTS + ["victim"] * 4


class TestCommands:
    def test_an_engine_obeys_in_order_and_tells(self, host):
        m = host.egress
        try:
            for five in (5, 6):
                ring.command(m.command_index, m.commands, control.CMD_TABLE, five & 1, five)
            assert ring.waiting(m.command_index)
            run_commands(m)
            assert (m.ctl[control.TABLE], m.ctl[control.FIVE_TUPLES]) == (0, 6)
            assert not ring.waiting(m.command_index)
        finally:
            m.ctl[control.TABLE] = host.ingress.ctl[control.TABLE]
            m.ctl[control.FIVE_TUPLES] = 0

    def test_batch(self, host):
        host.datapath.set_batch(1, 2)
        assert [m.ctl[control.BATCH] for m in host.datapath.memories] == [1, 2]
        host.datapath.set_batch(control.BATCH_EGRESS, control.BATCH_INGRESS)

    def test_a_raw_packet_leaves_as_it_is(self, host):
        assert host.datapath.inject(VM, vnet() + frame(), rings.INJECT_RAW)
        assert host.datapath.inject(ports.UPLINK, NO_VNET + frame(), rings.INJECT_RAW)
        host.attend()
        assert [(out.vnet, out.frame) for out in host.sent(VM, host.ingress)] == [(vnet(), frame())]
        assert [out.frame for out in host.sent(ports.UPLINK, host.egress)] == [frame()]
        assert host.all_free(host.egress)

    @pytest.mark.parametrize(
        ("kind", "staged"), [(rings.INJECT_PROCESS, 0), (rings.INJECT_STAGED, 1), (rings.INJECT_STAGED + 1, 2)]
    )
    def test_other_packets_stand_before_the_engine_again(self, host, kind, staged):
        host.datapath.inject(ports.UPLINK, vnet() + frame(), kind, tunnel_word())
        m = host.ingress
        assert take_injected(m) == 1
        slot = int(m.batch[0])
        assert host.frame(m, slot, packets.START) == frame()
        assert (m.packets[slot, packets.STAGED], m.packets[slot, packets.TUNNEL]) == (staged, tunnel_word())

    def test_from_a_coprocessor_a_packet_goes_on_behind_its_stages(self, host):
        m = host.egress
        host.table.update([(key_of(frame(), OFPORTS[VM]), to_tunnel(stages=entries.STAGE_COPROCESSOR))])
        data = array(NO_VNET + frame())
        ring.push(
            m.side_index[VM, rings.FROM_COPROCESSOR],
            m.side_meta[VM, rings.FROM_COPROCESSOR],
            m.side_data[VM, rings.FROM_COPROCESSOR],
            VM,
            packets.HEADROOM - packets.VNET_BYTES,
            packets.FIRST_DONE,
            0,
            data,
            0,
            len(data),
        )
        m.host[host_words.SIDES] = 1
        try:
            host.attend()
        finally:
            m.host[host_words.SIDES] = 0
        assert [unwrapped(out.frame) for out in host.sent(ports.UPLINK)] == [frame()]
        assert not host.drops()

    def test_injected_packets_wait_for_room_in_the_pool(self, host):
        host.datapath.inject(VM, NO_VNET + frame(), rings.INJECT_PROCESS)
        host.egress.ctl[control.FREE] = 0
        assert take_injected(host.egress) == 0
        assert ring.waiting(host.egress.inject_index) == 1


class TestWholeEngines:
    def test_from_one_host_to_the_other(self, host):
        """VM -> egress -> fabric -> ingress -> VM, for each packet of a batch, in order."""
        host.table.update([
            (key_of(frame(), OFPORTS[VM]), to_tunnel(rewrite=bytes(range(12)))),
            (key_of(bytes(range(12)) + frame()[12:], 1, tunnel_word()), Entry(entries.ACT_VPORT, OTHER_VM)),
        ])  # fmt: skip
        for data in numbered(8):
            host.push(VM, data)
        assert host.serve(VM) == 8
        for out in host.sent(ports.UPLINK):
            source, target = out.frame[26:30], out.frame[30:34]
            host.push(ports.UPLINK, out.frame[:26] + target + source + out.frame[34:])
        assert host.serve(ports.UPLINK) == 8
        assert [out.frame for out in host.sent(OTHER_VM)] == [bytes(range(12)) + one[12:] for one in numbered(8)]
        assert not host.drops()
        assert all(host.all_free(m) for m in host.datapath.memories)

    def test_an_empty_turn(self, host):
        assert (host.serve(VM), host.serve(ports.UPLINK)) == (0, 0)

    def test_the_composed_text_names_each_element_once_in_its_order(self):
        text = source().split("def egress(m, n):")[1].split("def ingress")[0]
        called = [line.split("= ")[1].split("(")[0] for line in text.splitlines() if "= " in line]
        assert called == [name for name, _ in EGRESS_CHAIN]
        assert compose() is compose(())

    def test_rings_of_an_unused_port_stay_empty(self, host):
        host.push(VM, frame())
        host.serve(VM)
        assert not host.side(host.egress, OTHER_VM, rings.TO_VMM)

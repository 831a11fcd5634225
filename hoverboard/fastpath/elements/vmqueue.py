"""Per-VM queues and the VM priority scheduler: the two halves of ingress (section 6.1, figure 7).

The front half puts packets into the queue of their VM. The back half serves the VM whose recent back-half work took the
least engine time. So a VM that is flooded with packets fills its own queue and does not delay other VMs. With
control.PRIORITY off, the oldest packet is first, as in the paper's earlier design.
"""

from __future__ import annotations

from hoverboard.fastpath.compiled.compiler import compiled
from hoverboard.fastpath.compiled.syscalls import now_ns
from hoverboard.fastpath.elements.pool import drop
from hoverboard.fastpath.elements.transmit import send_packet
from hoverboard.fastpath.memory import control, host, packets, ports, reasons, rings
from hoverboard.fastpath.memory.arrays import Memory
from hoverboard.fastpath.packets import ring
from hoverboard.fastpath.packets.parse import Words

CONSUMED, PRODUCED, RECENT, AGED = 0, 1, 2, 3  # queue_state[]
TURN = 16  # packets of one VM before the scheduler chooses again
# The back half ends its turn after this time, so that the NIC is read again before its queue overflows.
TURN_NS = 1_000_000
HALF_LIFE_NS = 1_000_000  # half-life of "recent" work; the paper gives no number (1.9)


@compiled
def enqueue(m: Memory, n: int) -> int:
    """Front half: move packets for VMs into their queues; packets for the fabric stay in the batch."""
    kept = 0
    for i in range(n):
        slot = m.batch[i]
        port = m.packets[slot, packets.OUT]
        if port == ports.UPLINK:  # tour: miss 13
            m.batch[kept] = slot
            kept += 1
            continue
        state = m.queue_state[port]
        if state[PRODUCED] - state[CONSUMED] >= packets.VM_QUEUE_SLOTS:
            drop(m, slot, reasons.VM_QUEUE)
            continue
        m.packets[slot, packets.ARRIVED] = m.ctl[control.ARRIVED]
        m.ctl[control.ARRIVED] += 1
        m.queues[port, state[PRODUCED] & (packets.VM_QUEUE_SLOTS - 1)] = slot
        state[PRODUCED] += 1
        m.ctl[control.QUEUED] += 1
    return kept


@compiled
def recent_work(state: Words, now: int) -> int:
    """Recent back-half work for a VM in ns: it halves every HALF_LIFE_NS."""
    halvings = (now - state[AGED]) // HALF_LIFE_NS
    if halvings > 0:
        state[RECENT] >>= min(halvings, 62)
        state[AGED] += halvings * HALF_LIFE_NS
    return state[RECENT]


@compiled
def room_for(m: Memory, port: int) -> int:
    """The packets that `port` accepts now. If a VMM is slow, its VM's packets wait in their own queue."""
    if m.ports[port, ports.KIND] == ports.KIND_RING:
        return rings.SIDE_SLOTS - ring.unread(m.side_index[port, rings.TO_VMM])
    return TURN


@compiled
def choose(m: Memory, now: int) -> int:
    """The port to serve next, or -1 when all queues are empty or wait for their VMMs."""
    best = -1
    least = 0
    for port in range(ports.FIRST_TAP, m.host[host.PORTS]):
        state = m.queue_state[port]
        if state[PRODUCED] == state[CONSUMED] or room_for(m, port) == 0:
            continue
        if m.ctl[control.PRIORITY]:
            rank = recent_work(state, now)
        else:
            rank = m.packets[m.queues[port, state[CONSUMED] & (packets.VM_QUEUE_SLOTS - 1)], packets.ARRIVED]
        if best < 0 or rank < least:
            best = port
            least = rank
    return best


@compiled
def deliver(m: Memory, n: int) -> int:
    """Back half: send to the VMs, in the scheduler's order, for one turn; the batch stays as it is.

    Returns:
        n. ctl[control.QUEUED] is the number of packets that still wait.
    """
    if m.ctl[control.QUEUED] == 0:
        return n
    now = now_ns(m.cpu[0])
    end = now + TURN_NS
    while now < end and m.ctl[control.QUEUED] > 0:
        port = choose(m, now)
        if port < 0:
            break
        state = m.queue_state[port]
        turn = min(state[PRODUCED] - state[CONSUMED], TURN if m.ctl[control.PRIORITY] else 1, room_for(m, port))
        for _ in range(turn):
            send_packet(m, m.queues[port, state[CONSUMED] & (packets.VM_QUEUE_SLOTS - 1)])  # tour: miss 14
            state[CONSUMED] += 1
        m.ctl[control.QUEUED] -= turn
        after = now_ns(m.cpu[0])
        state[RECENT] += after - now
        m.cpu[port, 0] += after - now
        now = after
    return n

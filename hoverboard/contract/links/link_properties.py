"""The properties of an emulated link, in netem's words: delay, jitter, loss, reorder, duplicate, rate. Pure.

They are the same for a WAN and for an uplink, in a topology file, in Python and in the link element. The paper has no
counterpart: its clusters have real links.
"""

from __future__ import annotations

from dataclasses import dataclass

# Queue before the rate, at each end of a link: 100 ms of its rate, and at least four of the largest frames.
QUEUE_SECONDS, QUEUE_LEAST_BYTES = 0.1, 4 << 16


@dataclass(frozen=True, slots=True)
class LinkProperties:
    """The properties of a link, each for either direction.

    Attributes:
        delay: seconds that each packet takes.
        jitter: seconds; a packet's delay is evenly distributed over delay +- jitter. Packets stay in order.
        loss: share of the packets that are lost, 0 to 1.
        reorder: share of the packets that take no delay, and so overtake others, 0 to 1.
        duplicate: share of the packets that arrive twice, 0 to 1.
        rate: bits per second; None: no limit.
        seed: of the random numbers: packet number n of a link then meets the same fate each time; None: any numbers.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    rate: int | None = None
    seed: int | None = None

    def __bool__(self) -> bool:
        """Whether the link has a property: without one it needs nothing to make it."""
        return self.impairs or self.rate is not None

    @property
    def impairs(self) -> bool:
        """Whether the link has more than a rate."""
        return any((self.delay, self.jitter, self.loss, self.reorder, self.duplicate))

    @property
    def leaves_to_chance(self) -> bool:
        """Whether random numbers decide about packets."""
        return any((self.jitter, self.loss, self.reorder, self.duplicate))

    @property
    def queue_seconds(self) -> float:
        """Longest time that a packet waits for the rate; 0 without a rate. What would wait longer is dropped."""
        if self.rate is None:
            return 0.0
        return max(QUEUE_SECONDS, QUEUE_LEAST_BYTES * 8 / self.rate)

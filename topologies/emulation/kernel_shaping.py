"""Shapes devices with the kernel's queueing disciplines: netem for delay and chance, htb for a rate.

As in Mininet's TCLink, htb is the root and netem its leaf. `choose` says who makes a link: the kernel, or our link
element where the kernel lacks one of the two.
"""

from __future__ import annotations

import math
import subprocess
from dataclasses import dataclass
from typing import Literal

from hoverboard.contract.encapsulation import FABRIC_MTU
from hoverboard.contract.links.link_properties import QUEUE_LEAST_BYTES, QUEUE_SECONDS, LinkProperties
from topologies.emulation import devices
from topologies.spec.values import share_text

ELEMENT = "element"
_TC_TIMEOUT = 10.0
_LEAST_PACKETS, _PACKETS_PER_SECOND = 10_000, 1_000_000  # that wait in netem, when there is no rate
# With a rate, netem lets no packet overtake another. This one takes no time.
_ORDER = "rate 1000gbit"


@dataclass(frozen=True, slots=True)
class KernelShaping:
    """The abilities of this kernel: for each queueing discipline "" if it works, else the reason of the kernel.

    `seed`: that of netem, which came with Linux 6.6.
    """

    netem: str
    htb: str
    seed: str


@dataclass(frozen=True, slots=True)
class Means:
    """The maker of a link.

    Attributes:
        kind: "plain": it needs nothing; "kernel"; or "element".
        by: for `status`: "netem", "htb", "element".
        why: the reason of the kernel for which the element makes it; "" otherwise.
    """

    kind: Literal["plain", "kernel", "element"]
    by: tuple[str, ...] = ()
    why: str = ""


def choose(properties: LinkProperties, kernel: KernelShaping) -> Means:
    """The maker of a link with these properties: the kernel if it can make all of them."""
    if not properties:
        return Means("plain")
    needs = {
        "netem": (properties.impairs, kernel.netem),
        "htb": (properties.rate is not None, kernel.htb),
        "a seed of netem": (properties.seed is not None and properties.leaves_to_chance, kernel.seed),
    }
    for what, (wanted, reason) in needs.items():
        if wanted and reason:
            return Means("element", (ELEMENT,), f"{what}: {reason}")
    return Means("kernel", tuple(disciplines(properties)))


def disciplines(properties: LinkProperties) -> list[str]:
    """The kernel's queueing disciplines that a link needs, from the root on."""
    return ["htb"] * (properties.rate is not None) + ["netem"] * properties.impairs


def probe(fabric_pid: int) -> KernelShaping:
    """Try the queueing disciplines on the loopback of the fabric's namespace."""
    found = []
    for words in ("delay 1ms", "delay 1ms seed 1"):
        found.append(_tc(fabric_pid, f"qdisc add dev lo root netem {words}"))
        if not found[-1]:
            _tc(fabric_pid, "qdisc del dev lo root")
    netem, seed = found
    htb = _tc(fabric_pid, "qdisc add dev lo root handle 1: htb") or _tc(
        fabric_pid, "class add dev lo parent 1: classid 1:1 htb rate 10mbit"
    )
    _tc(fabric_pid, "qdisc del dev lo root")
    return KernelShaping(netem, htb, seed)


def commands(device: str, properties: LinkProperties, seed: int | None) -> list[str]:
    """The arguments of `tc` for what `device` sends; a new device has no discipline yet.

    Args:
        device: name of the device.
        properties: of the link.
        seed: of this direction; None: any.
    """
    made, parent = [], "root"
    if properties.rate is not None:
        queue = max(QUEUE_LEAST_BYTES, round(properties.rate / 8 * QUEUE_SECONDS))
        # With a burst of less than one frame, htb would let the frame through and delay the next one too long.
        limit = f"rate {properties.rate}bit burst {FABRIC_MTU} quantum 60000"
        made += [
            f"qdisc add dev {device} root handle 1: htb default 1",
            f"class add dev {device} parent 1: classid 1:1 htb {limit}",
        ]
        parent = "parent 1:1"
        if not properties.impairs:
            made.append(f"qdisc add dev {device} {parent} handle 10: bfifo limit {queue}")
    if properties.impairs:
        made.append(f"qdisc add dev {device} {parent} handle 20: netem {netem_words(properties, seed)}")
    return made


def netem_words(properties: LinkProperties, seed: int | None) -> str:
    """The words of `tc qdisc .. netem`."""
    words = [f"limit {_limit(properties)}"]
    if properties.delay:
        words.append(f"delay {round(properties.delay * 1e6)}us")
        if properties.jitter:
            words.append(f"{round(properties.jitter * 1e6)}us")
    for name in ("loss", "duplicate", "reorder"):
        if getattr(properties, name):
            words.append(f"{name} {share_text(getattr(properties, name))}")
    if properties.jitter and not properties.reorder:
        words.append(_ORDER)
    if seed is not None and properties.leaves_to_chance:
        words.append(f"seed {seed}")
    return " ".join(words)


def _limit(properties: LinkProperties) -> int:
    """Packets that may wait in netem: those under way, and those that wait for the rate."""
    longest = properties.delay + properties.jitter
    if properties.rate is None:
        return max(_LEAST_PACKETS, math.ceil(longest * _PACKETS_PER_SECOND))
    inside = (longest + properties.queue_seconds) * properties.rate / 8
    return max(4, math.ceil(inside / devices.PLAIN_MTU))


def shape(pid: int, device: str, properties: LinkProperties, seed: int | None) -> list[str]:
    """Shape what `device` sends, which has no discipline yet; return what this kernel lacks, with its reason.

    Args:
        pid: a process in the namespace of the device.
        device: name of the device.
        properties: of the link, which `choose` gave to the kernel.
        seed: of this direction.
    """
    missing: dict[str, str] = {}
    for command in commands(device, properties, seed):
        reason = _tc(pid, command)
        if reason:
            missing["delay and chance" if " netem " in command else "rate"] = reason
    return [f"{what}: {reason}" for what, reason in missing.items()]


def unshape(pid: int, device: str) -> None:
    """Remove all disciplines of a device; harmless when it has none."""
    _tc(pid, f"qdisc del dev {device} root")


def _tc(pid: int, words: str) -> str:
    """Run tc in the namespace of `pid`; return "", or its error message."""
    with devices.entered(pid):
        try:
            done = subprocess.run(
                ["tc", *words.split()], capture_output=True, text=True, timeout=_TC_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    output = (done.stderr or done.stdout).strip().splitlines()
    if done.returncode == 0:
        return ""
    return output[0].removeprefix("Error: ") if output else f"tc ended with exit code {done.returncode}"

"""`dpctl` and `ports` on the switches of a run: the OpenFlow switch of each host and Hoverboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hoverboard.contract.generations import facts
from topologies.emulation import switch_commands
from topologies.processes.deadlines import wait_for

if TYPE_CHECKING:
    from hoverboard.contract.documents import Status
    from hoverboard.contract.node_documents import WiredNode, Wiring

_CHANGES = ("add-", "mod-", "del-", "replace-", "insert-", "remove-", "bundle", "set-", "packet-out", "ct-flush")
_COUNTS = ("dump-flows", "dump-aggregate")  # commands that show how many packets matched
WAIT_SECONDS = 60.0
WARNING = "the control plane programs these switches: it may undo your change, and sends no flow because of it"
_SEE_FLOWS = "`flows NODE` counts them"


def switches(wiring: Wiring) -> list[WiredNode]:
    """The nodes that have a switch: hosts and Hoverboards."""
    return [one for one in wiring["nodes"] if "directory" in one]


def warning(wiring: Wiring, words: Sequence[str]) -> str:
    """The warning before a `dpctl` command that changes switches which our control plane programs; else empty."""
    changes = any(word.startswith(_CHANGES) for word in words[:1])
    ours = any("controller" not in one for one in switches(wiring))
    return WARNING if changes and ours else ""


def uncounted(wiring: Wiring, words: Sequence[str]) -> str:
    """The note to a `dpctl` command that shows counts of packets, on switches that do not carry them; else empty."""
    if not words or words[0] not in _COUNTS or "--no-stats" in words:
        return ""
    by_generation: dict[str, list[str]] = {}
    for node in switches(wiring):
        if facts(node["dataplane"]).carrier != "switch":
            by_generation.setdefault(node["dataplane"], []).append(node["name"])
    if not by_generation:
        return ""
    where = "; ".join(f"{', '.join(names)} ({generation})" for generation, names in by_generation.items())
    return f"n_packets stays 0 on {where}: Open vSwitch decides there, and does not carry the packets. {_SEE_FLOWS}"


def dpctl(wiring: Wiring, words: Sequence[str], write: Callable[[str], object]) -> None:
    """Run one `ovs-ofctl` command on each switch, and print what it prints, as Mininet does.

    Args:
        wiring: of the run.
        words: the command and its arguments, without the bridge: ["dump-flows", "table=0"].
        write: prints text.

    Raises:
        InputError: there is no command, or it does not end by itself.
        SwitchError: ovs-ofctl rejects it, or a switch does not answer.
    """
    for node in switches(wiring):
        output = switch_commands.dpctl(Path(node["directory"]), words, where=node["name"])
        write(f"*** {node['name']} {'-' * 72}\n{output}")


def wait_connected(status: Callable[[], Status], timeout: float = WAIT_SECONDS) -> int:
    """Wait until all switches are connected to their controller and have their program; return how many there are.

    Switches that an external controller programs are left out.

    Raises:
        RunError: some are not in `timeout` seconds; they are named.
    """
    waiting: list[str] = []
    known: list[str] = []

    def done() -> bool:
        found = status()["control"].get("switches", {})
        known[:] = found
        waiting[:] = [name for name, one in found.items() if not (one["connected"] and one["programmed"])]
        return bool(found) and not waiting

    wait_for(done, timeout, lambda: f"switches without their program: {' '.join(waiting) or 'all'}")
    return len(known)


def port_lines(wiring: Wiring) -> Iterator[str]:
    """The lines of `ports`: each switch, and its OpenFlow ports as NAME:NUMBER, with the VM at the port."""
    for node in switches(wiring):
        found = switch_commands.ports(Path(node["directory"]), where=node["name"])
        shown = (f"{one.name}:{one.number}{f'({one.vm})' if one.vm else ''}" for one in found)
        yield " ".join([node["name"], *shown])

"""Commands of Open vSwitch on the switch of one node, by the sockets of the run: `ovs-ofctl` and `ovs-vsctl`.

`ovs-ofctl` offers all versions of OpenFlow: our bridges and those of a controller of one's own differ.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hoverboard.contract.errors import InputError, MachineError, SwitchError
from hoverboard.contract.openflow.pipeline import BRIDGE, OPENFLOW_VERSIONS

_TIMEOUT = 10.0  # seconds for a command that reads or changes
_ENDLESS = ("monitor", "snoop")


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """A port of a switch: its name, its OpenFlow number (-1: none), and the VM at it, or nothing."""

    name: str
    number: int
    vm: str


def dpctl(directory: Path, words: Sequence[str], *, where: str) -> str:
    """Run one `ovs-ofctl` command on the bridge of a node, and return its output.

    Args:
        directory: of the node's switch.
        words: the command and its arguments, without the bridge: ["dump-flows", "table=0"].
        where: name of the node, for messages.

    Raises:
        InputError: there is no command, or it does not end by itself.
        SwitchError: ovs-ofctl rejects it, or the switch does not answer.
    """
    if not words or words[0].startswith("-"):
        raise InputError("dpctl needs a command", next_step="give one: dpctl dump-flows [ARGUMENT]...")
    command, *rest = words
    target = f"unix:{directory}/{BRIDGE}.mgmt"
    if command in _ENDLESS:
        raise InputError(
            f"`dpctl {command}` does not end, so it would show one switch only",
            next_step=f"watch that one: sh ovs-ofctl -O {OPENFLOW_VERSIONS} {command} {target}",
        )
    return _output(["ovs-ofctl", "-O", OPENFLOW_VERSIONS, command, target, *rest], where)


def ports(directory: Path, *, where: str) -> list[SwitchPort]:
    """The ports of a node's bridges, by number; SwitchError: its database does not answer."""
    text = _output(
        ["ovs-vsctl", f"--db=unix:{directory}/db.sock", "--no-wait", "--format=csv", "--no-headings", "--data=bare",
         "--columns=name,ofport,external_ids", "list", "Interface"],
        where,
    )  # fmt: skip
    found = []
    for name, number, ids in csv.reader(text.splitlines()):
        vm = next((pair.removeprefix("vm=") for pair in ids.split() if pair.startswith("vm=")), "")
        found.append(SwitchPort(name, int(number or -1), vm))
    return sorted(found, key=lambda one: (one.number, one.name))


def _output(argv: list[str], where: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False)
    except FileNotFoundError:
        raise MachineError(f"{argv[0]} is not installed", next_step="apt-get install openvswitch-switch") from None
    except subprocess.TimeoutExpired:
        raise SwitchError(
            f"the switch does not answer within {_TIMEOUT:g} s", where=where, next_step="see `hoverboard status`"
        ) from None
    if done.returncode != 0:
        said = done.stderr.strip() or f"{argv[0]} ended with code {done.returncode}"
        raise SwitchError(said, where=where, next_step=f"see `man {argv[0]}` for its commands")
    return done.stdout

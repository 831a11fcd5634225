"""What is wrong with a topology file: each fault as file:line: key: what, what to do; all at once."""

from __future__ import annotations

from dataclasses import dataclass

from hoverboard.contract.errors import InputError


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault; `key` is a path such as networks[0].vms[2].host."""

    line: int
    key: str
    what: str
    next_step: str

    def text(self, source: str) -> str:
        """The fault as people read it."""
        key = f"{self.key}: " if self.key else ""
        return f"{source}:{self.line}: {key}{self.what}\n  -> {self.next_step}"


class TopologyFileError(InputError):
    """A topology file has faults; none of it was started."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = sorted(set(faults))
        count = len(self.faults)
        super().__init__(
            f"{count} fault{'s' if count != 1 else ''} in the topology file", where=source,
            next_step="; ".join(dict.fromkeys(fault.next_step for fault in self.faults)),
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join(fault.text(self.source) for fault in self.faults)

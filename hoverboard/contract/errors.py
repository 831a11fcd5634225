"""The one tree of exceptions of the project; each message says what, where and what to do next.

    HoverboardError
    ├── InputError        the person's input is wrong (file, command line, request); exit code 2
    │   └── EntityError   an entity in a fabric-manager request is wrong
    ├── RunError          a run is not in the state that the command needs; exit code 3
    ├── MachineError      the machine lacks something (root, a kernel feature, a tool); exit code 4
    ├── SwitchError       a switch rejected a request or did not answer; exit code 5
    └── MeasurementError  an iperf3, ping or sample failed or timed out; exit code 6

`hoverboard.errors` has the same names for programs that catch them.
"""

from __future__ import annotations


class HoverboardError(Exception):
    """Base of all errors with a message for people.

    Args:
        what: the fault, in one sentence.
        where: file:line, node, socket or key where it was found; may be empty.
        next_step: how the reader can correct it; may be empty.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  -> {self.next_step}" if self.next_step else text


class HoverboardWarning(UserWarning):
    """A part of a topology has no effect, such as a firewall rule for a tag that no VM has; the run comes up."""


class InputError(HoverboardError):
    """A file, a command line or a request is wrong."""

    exit_code = 2


class EntityError(InputError):
    """An entity of a fabric-manager request is invalid; `where` is "Type/name.field"."""


class RunError(HoverboardError):
    """A run is unknown, already up, half up, or changed by another process."""

    exit_code = 3


class MachineError(HoverboardError):
    """The machine lacks a privilege, a kernel feature, a tool or space."""

    exit_code = 4


class SwitchError(HoverboardError):
    """A switch rejected a request, or did not answer in time."""

    exit_code = 5


class MeasurementError(HoverboardError):
    """A measurement ended without a result; the message has the tool's own text."""

    exit_code = 6


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun in a message: "1 VM", "2 VMs"; `plural` for a noun that does not only take an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"

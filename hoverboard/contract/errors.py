"""The one tree of exceptions of the project; each message says what, where and what to do next.

HoverboardError
├── InputError        the person's input is wrong (file, command line, request); exit code 2
│   └── EntityError   an entity in a fabric-manager request is wrong
├── RunError          a run is not in the state that the command needs; exit code 3
├── MachineError      the machine lacks something (root, a kernel feature, a tool); exit code 4
├── SwitchError       a switch refused or did not answer; exit code 5
└── MeasurementError  an iperf3, ping or sample failed or timed out; exit code 6
"""

from __future__ import annotations


class HoverboardError(Exception):
    """Base of all errors that a person is meant to read.

    Args:
        what: the fault, one sentence.
        where: file:line, node, socket or key it was found at; may be empty.
        next_step: what the reader can do about it; may be empty.
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


class InputError(HoverboardError):
    """Something a person wrote cannot be used as it is."""

    exit_code = 2


class EntityError(InputError):
    """An entity of a fabric-manager request is invalid; `where` is "Type/name.field"."""


class RunError(HoverboardError):
    """A run is unknown, already up, half up or being changed by somebody else."""

    exit_code = 3


class MachineError(HoverboardError):
    """The machine lacks a privilege, a kernel feature, a tool or room."""

    exit_code = 4


class SwitchError(HoverboardError):
    """A switch refused a message, or did not answer in time."""

    exit_code = 5


class MeasurementError(HoverboardError):
    """A measurement ended without a figure; the message carries the tool's own words."""

    exit_code = 6

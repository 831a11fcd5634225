"""JSON documents of the verbs that start or change something: up, down, vm, model, apply (see `documents`)."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from hoverboard.contract.documents import Addresses, Warned

FromTo = TypedDict("FromTo", {"from": Any, "to": Any})
_FromModel = TypedDict("_FromModel", {"from": str})

# --- up, down, vm, model --------------------------------------------------------------------------


class Ready(TypedDict):
    """`hoverboard up --detach`: seconds by phase, and in total; `warnings`: names in the file without a match."""

    run: str
    warnings: list[Warned]
    phases: dict[str, float]
    seconds: float


class Checked(TypedDict):
    """`hoverboard up --check`: contents of the file; `warnings`: its names without a match."""

    ok: bool
    name: str
    model: str
    hosts: int
    hoverboards: int
    networks: int
    vms: int
    warnings: list[Warned]


class Down(TypedDict):
    """`hoverboard down`: names of the runs that were ended."""

    down: list[str]


class AddedVM(Addresses):
    """`hoverboard vm add`; `rate_bps` None: no limit."""

    name: str
    network: str
    host: str
    mac: str
    tags: list[str]
    rate_bps: int | None


class RemovedVM(TypedDict):
    """`hoverboard vm remove`; `warnings`: names of this VM or its tags, which match nothing now."""

    removed: str
    warnings: list[Warned]


class ListedVM(Addresses):
    """A row of `hoverboard vm list`; `rate_bps` None: no limit."""

    name: str
    network: str
    host: str
    tags: list[str]
    rate_bps: int | None


class ModelChange(_FromModel):
    """`hoverboard model set`: the new model, the old one, and how long the change took."""

    model: str
    seconds: float


class OffloadChange(TypedDict):
    """`hoverboard offload set`: old and new value of each setting that changed, and the programming model."""

    run: str
    changed: dict[str, FromTo]
    model: str


class ModelBegun(_FromModel):
    """The answer of a control plane to SetModel: the new model, the one before, and what the change waits for."""

    model: str
    switching: str | None
    lookups: NotRequired[int]
    hoverboards_down: NotRequired[list[str]]


class ModelShown(TypedDict):
    """`hoverboard model show`; `flows` by node. A number is None where it is not known."""

    model: str | None
    switching: str | None
    offloads: int | None
    lookups: int | None
    hoverboards_down: list[str] | None
    flows: dict[str, int]
    offload_threshold_bps: float | None
    offload_idle_expiry_s: float | None
    report_interval_s: float | None


# --- apply ----------------------------------------------------------------------------------------


class FlowCounts(TypedDict):
    """Flows that a change adds, changes and removes in a switch."""

    added: int
    changed: int
    removed: int


class Change(TypedDict):
    """A changed entity: old and new value by parameter."""

    type: str
    name: str
    fields: dict[str, FromTo]


class PlannedPlane(TypedDict):
    """A control plane that takes part; `version` None: it does not answer, and gets the change later."""

    region: str
    scope: str
    version: int | None


class Plan(TypedDict):
    """Changes that a control plane plans. Entities have type, name, and parameters that are not the default."""

    version: int
    added: list[dict[str, Any]]
    changed: list[Change]
    removed: list[dict[str, Any]]
    switches: dict[str, FlowCounts]
    planes: NotRequired[list[PlannedPlane]]


class BuiltVM(TypedDict):
    """A VM to be built."""

    name: str
    network: str
    host: str
    ip: str


class AlteredVM(TypedDict):
    """A VM whose rate or shared addresses change, with the new values."""

    name: str
    rate_bps: int | None
    shared_addresses: list[str]


class VMChanges(TypedDict):
    """Changes to VMs."""

    build: list[BuiltVM]
    remove: list[str]
    alter: list[AlteredVM]


class Applied(Plan):
    """`hoverboard apply`; `applied` is False for --dry-run, and if nothing changes.

    `offload`: old and new values of the offload policy. `links`: old and new properties of each link that
    changes, "wan" or the uplink of a node. `warnings`: names in the file without a match.
    """

    run: str
    applied: bool
    warnings: list[Warned]
    vms: VMChanges
    offload: dict[str, FromTo]
    links: dict[str, FromTo]
    seconds: float

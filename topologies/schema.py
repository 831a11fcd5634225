"""The topology file: its schema (pydantic, exported as JSON Schema for editors) and `load`.

A file is read whole before anything is started, and every fault is reported at once with its line.
What the schema names but nothing enforces yet is refused, so that no file ever means less than it says.
"""

from __future__ import annotations

import difflib
import json
import re
from importlib import resources
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
)

from hoverboard.contract.entities import MAX_PREFIX6, MAX_VNI, Dataplane, Scheduling, unusable_ip6
from hoverboard.contract.errors import InputError
from hoverboard.coprocessor.policy import When
from topologies import yamlfile
from topologies.faults import Fault, TopologyFileError
from topologies.policy_keys import POLICY_KEYS, REQUIRED_KEYS, BalancerKeys, FirewallKeys, RouteKeys
from topologies.resolve import resolve
from topologies.topology import (
    DEFAULT_MODEL,
    DEFAULT_REPORT_INTERVAL,
    MAX_HOSTS,
    MAX_HOVERBOARDS,
    MOST_EGRESS,
    MOST_INGRESS,
    Model,
    Topology,
)
from topologies.yamlfile import Positions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?(bit|kbit|mbit|gbit)")
_RATE_UNITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_SECONDS = re.compile(r"(\d+(?:\.\d+)?) ?(s|ms)")
_MAX_FAULTS = 1000
SHIPPED = ("two-hosts", "dual-stack", "demo", "rack", "mixed")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: letters, digits, '.', '_', '-', at most 40, letter or digit first")
    return value


def check_name(value: str) -> str:
    """`value`, if it can be a node's name; InputError otherwise."""
    try:
        return _name(value)
    except ValueError as error:
        raise InputError(str(error), next_step="choose another name") from error


def parse_rate(value: Any) -> int:
    """Bits a second of "20kbit", "1.5mbit", ..; ValueError otherwise."""
    match = _RATE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a rate like 20kbit (units: bit, kbit, mbit, gbit)")
    return round(float(match[1]) * _RATE_UNITS[match[2]])


def parse_seconds(value: Any) -> float:
    """Seconds of 0.5, "1s" or "500ms"; ValueError otherwise."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = _SECONDS.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a time like 1s or 500ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


def _prefix(value: Any) -> IPv4Network:
    try:
        network = IPv4Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not a subnet like 10.0.0.0/24 ({error})") from error
    if network.prefixlen > 30:
        raise ValueError(f"{value!r} has no room for a gateway and a VM; use /30 or shorter")
    return network


def _address(value: Any) -> IPv4Address:
    try:
        return IPv4Address(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv4 address like 10.0.0.2") from error


def _prefix6(value: Any) -> IPv6Network:
    try:
        network = IPv6Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv6 subnet like fd00:7::/64 ({error})") from error
    if network.prefixlen > MAX_PREFIX6:
        raise ValueError(f"{value!r} has no room for VMs; use /{MAX_PREFIX6} or shorter, such as /64")
    fault = unusable_ip6(network)
    if fault is not None:
        raise ValueError(f"{fault}; use a unique local range such as fd00:7::/64")
    return network


def _address6(value: Any) -> IPv6Address | Literal[False]:
    if value is False:
        return False
    try:
        return IPv6Address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv6 address like fd00:7::2, and not `false`") from error


def _not_yet(value: Any) -> Any:
    raise ValueError("is not supported yet: nothing would enforce it")


Name = Annotated[str, AfterValidator(_name)]
Rate = Annotated[int, BeforeValidator(parse_rate, json_schema_input_type=str)]
Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str), Field(ge=0.1, le=60)]
Prefix = Annotated[IPv4Network, BeforeValidator(_prefix, json_schema_input_type=str)]
Address = Annotated[IPv4Address, BeforeValidator(_address, json_schema_input_type=str)]
Prefix6 = Annotated[IPv6Network, BeforeValidator(_prefix6, json_schema_input_type=str)]
Address6 = Annotated[
    IPv6Address | Literal[False], BeforeValidator(_address6, json_schema_input_type=str | Literal[False])
]
Reserved = Annotated[None, BeforeValidator(_not_yet)]


def _count_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<count>"


def _text_or_keys(value: Any) -> str:
    return "<policy>" if isinstance(value, str) else "<keys>"


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BatchKeys(_Keys):
    """Most packets that an engine of the fast path takes at a time; 1 is no batching (paper 4.2)."""

    egress: Annotated[StrictInt, Field(ge=1, le=MOST_EGRESS)] = MOST_EGRESS
    ingress: Annotated[StrictInt, Field(ge=1, le=MOST_INGRESS)] = MOST_INGRESS

    def sizes(self) -> tuple[int, int]:
        """(egress, ingress)."""
        return self.egress, self.ingress


class HostKeys(_Keys):
    """A VM host."""

    name: Name | None = Field(None, description="default: h1, h2, ...")
    dataplane: Dataplane | None = Field(None, description="default: the file's dataplane")
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    rate: Reserved = Field(None, description="reserved: NIC rate")
    region: Name | None = Field(None, description="default: one region for all hosts that name none")


class CapacityKeys(_Keys):
    """What a Hoverboard takes from the fabric; the rest is dropped."""

    pps: Annotated[StrictInt, Field(ge=1, le=1_000_000_000)] | None = Field(None, description="packets a second")
    bps: Rate | None = Field(None, description="bits a second, such as 100mbit")


class HoverboardKeys(_Keys):
    """A Hoverboard."""

    name: Name | None = Field(None, description="default: hv1, hv2, ...")
    dataplane: Dataplane | None = Field(None, description="default: the file's; the nearest that relays")
    batch: BatchKeys | None = Field(None, description="default: the file's batch")
    rate: Reserved = Field(None, description="reserved: NIC rate")
    region: Reserved = Field(None, description="reserved: a Hoverboard serves all regions")
    capacity: CapacityKeys | None = Field(None, description="default: as much as it can")


class VMKeys(_Keys):
    """A virtual machine."""

    name: Name | None = Field(None, description="default: NETWORK-1, NETWORK-2, ...")
    host: str | None = Field(None, description="default: the VM hosts in turn")
    ip: Address | None = Field(None, description="default: the first free address")
    ip6: Address6 | None = Field(
        None, description="default: the first free address of subnet6, if there is one; false: none, IPv6 is off"
    )
    tags: list[Name] = Field(default_factory=list)
    rate: Rate | None = Field(None, description="what it may send; default: its network's rate")
    external_ip: Reserved = Field(None, description="reserved")


class NetworkKeys(_Keys):
    """A virtual network; two networks may use the same addresses."""

    name: Name
    vni: Annotated[StrictInt, Field(ge=1, le=MAX_VNI)] = Field(description="24-bit identifier on the wire")
    subnet: Prefix | None = None
    subnets: list[Prefix] | None = Field(None, min_length=1, description="instead of subnet: several")
    gateway: Address | None = Field(None, description="default: the first address; only with subnet")
    subnet6: Prefix6 | None = Field(None, description="IPv6 addresses for the VMs as well; only with subnet")
    rate: Rate | None = Field(None, description="what each VM may send; default: no limit")
    firewall: FirewallKeys = Field(
        default_factory=lambda: FirewallKeys.model_validate({}), description="default: everything is allowed"
    )
    load_balancers: list[BalancerKeys] = Field(default_factory=list, description="addresses that VMs share")
    routes: list[RouteKeys] = Field(default_factory=list, description="prefixes behind VMs")
    vms: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=100_000)], Tag("<count>")]
        | Annotated[list[VMKeys], Tag("<list>")],
        Discriminator(_count_or_list),
    ] = 0


class StageKeys(_Keys):
    """A coprocessor stage, its configuration, and the flows that it is for (docs/coprocessors.md)."""

    stage: Annotated[str, Field(min_length=1)] = Field(description="a name, or FILE.py[:Class] beside this file")
    config: dict[str, Any] = Field(default_factory=dict)
    when: When = Field(default_factory=When, description="default: every flow")


class OffloadKeys(_Keys):
    """The offload policy (docs/models.md)."""

    policy: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="FILE.py:Class beside this file; default: the built-in one"
    )
    keep: Rate = Field(0, description="an offload that sends more is not idle; below offload_threshold")
    min_lifetime: Seconds = Field(2.0, description="seconds in which no bigger pair displaces an offload")
    idle_expiry: Seconds = Field(30.0, description="seconds idle after which it is taken back")
    budget: Annotated[StrictInt, Field(ge=0)] = Field(0, description="offloads of a host, largest first; 0: no limit")
    reports: Literal["hosts", "hoverboards"] = Field("hosts", description="who tells of usage; the paper: hosts")


class TopologyKeys(_Keys):
    """A topology of the Hoverboard testbed."""

    name: Name | None = Field(None, description="default: the file's name")
    hosts: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=1, le=MAX_HOSTS)], Tag("<count>")]
        | Annotated[Annotated[list[HostKeys], Field(min_length=1, max_length=MAX_HOSTS)], Tag("<list>")],
        Discriminator(_count_or_list),
    ]
    hoverboards: Annotated[
        Annotated[Annotated[StrictInt, Field(ge=0, le=MAX_HOVERBOARDS)], Tag("<count>")]
        | Annotated[Annotated[list[HoverboardKeys], Field(max_length=MAX_HOVERBOARDS)], Tag("<list>")],
        Discriminator(_count_or_list),
    ] = 1
    model: Model = DEFAULT_MODEL
    dataplane: Dataplane = Field("fastpath", description="of every server that does not say otherwise")
    scheduling: Scheduling = Field("adaptive", description="when the engines of the fast path run")
    batch: BatchKeys = Field(default_factory=BatchKeys, description="of every server that does not say otherwise")
    vm_priority: StrictBool = Field(
        True, description="engines serve the VM that used them least; false: packets in order of arrival"
    )
    offload_threshold: Rate = Field(20_000, description="a VM pair that sends more leaves the Hoverboard")
    report_interval: Seconds = Field(DEFAULT_REPORT_INTERVAL, description="seconds between usage reports")
    offload_policy: Annotated[
        Annotated[Annotated[str, Field(min_length=1)], Tag("<policy>")] | Annotated[OffloadKeys, Tag("<keys>")],
        Discriminator(_text_or_keys),
    ] = Field(default_factory=lambda: OffloadKeys.model_validate({}), description="FILE.py:Class, or its settings")
    stages: list[StageKeys] = Field(default_factory=list, description="on the way out; the last is nearest the fabric")
    networks: list[NetworkKeys] = Field(default_factory=list)


def json_schema() -> str:
    """JSON Schema of the file, as shipped in schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TopologyKeys.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def shipped(name: str) -> str | None:
    """Text of a topology that comes with the package, or None."""
    if name not in SHIPPED:
        return None
    return resources.files("topologies").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load(path: str | Path) -> Topology:
    """The topology of a file, or of the shipped one with that name.

    Raises:
        TopologyFileError: the file has faults, all of which it names.
        InputError: there is no such file.
    """
    return parse(**read(path))


class Given(TypedDict):
    """What `parse` takes of a file."""

    text: str
    source: str
    name: str
    base: Path


def read(path: str | Path) -> Given:
    """A file's text, or that of the shipped one with that name; InputError when there is no such file."""
    file = Path(path)
    text = shipped(str(path)) if not file.exists() else None
    if text is not None:
        return {"text": text, "source": f"{path}.yaml", "name": str(path), "base": Path()}
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            "there is no such topology file", where=str(path),
            next_step=f"give the path of a YAML file, or the name of a shipped one: {', '.join(SHIPPED)}",
        ) from error  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"cannot read the topology file: {reason}", where=str(path), next_step="give a readable YAML file"
        ) from error
    return {"text": text, "source": str(path), "name": file.stem, "base": file.parent}


def parse(
    text: str,
    *,
    source: str = "<text>",
    name: str = "topology",
    base: Path | None = None,
    present: Topology | None = None,
) -> Topology:
    """The topology that YAML `text` describes; `name` is used when it gives none.

    Args:
        base: what relative paths of stages start from; default: the current directory.
        present: what runs already, and keeps what the file leaves open.
    """
    data, positions, faults = yamlfile.read(text)
    if not isinstance(data, dict):
        if not faults:
            what = "the file is empty" if data is None else "a topology is a mapping of keys"
            faults = [Fault(1, "", what, "start with `hosts: 2`, or copy a shipped file")]
        raise TopologyFileError(source, faults)
    return _checked(data, positions, faults, source=source, name=name, text=text, base=base or Path(), present=present)


def from_keys(keys: dict[str, Any], *, source: str = "<keys>", name: str = "topology") -> Topology:
    """The topology that `keys`, the content of a file as plain data, describe."""
    text = yaml.safe_dump(keys, sort_keys=False)
    return parse(text, source=source, name=name)


def _checked(
    data: dict[str, Any],
    positions: Positions,
    faults: list[Fault],
    *,
    source: str,
    name: str,
    text: str,
    base: Path,
    present: Topology | None,
) -> Topology:
    unsure: set[str] = set()
    keys = None
    # A wrong part is cut out, so that what the rest gets wrong is reported in the same go.
    for _ in range(_MAX_FAULTS):
        try:
            keys = TopologyKeys.model_validate(data)
            break
        except ValidationError as error:
            items = error.errors(include_url=False)
            paths = [_path_of(item["loc"]) for item in items]
            faults += [_fault(positions, path, item) for path, item in zip(paths, items, strict=True)]
            unsure.add(str(paths[0][0]))
            if not _cut(data, positions, paths[0]):
                break
    if keys is not None:
        topology, more = resolve(
            keys, positions, name=name, text=text, base=base, hosts_known="hosts" not in unsure, present=present
        )
        # What was cut out is missing by our own doing.
        faulty = {fault.key for fault in faults}
        faults += [fault for fault in more if fault.key not in faulty]
        if not faults:
            return topology
    raise TopologyFileError(source, faults)


_TAGS = ("<list>", "<count>", "<policy>", "<keys>")


def _path_of(loc: tuple[str | int, ...]) -> yamlfile.Path:
    """pydantic's location without the tags of unions."""
    return tuple(part for part in loc if part not in _TAGS)


def _cut(data: Any, positions: Positions, path: yamlfile.Path) -> bool:
    """Remove the value at `path`, or what is around it where it is required; False if that is the file."""
    if path in ((), ("hosts",)):
        return False
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    last = path[-1]
    if isinstance(parent, list) and isinstance(last, int):
        del parent[last]
        positions.remove(path)
        return True
    required = path[0] == "networks" and last in REQUIRED_KEYS.get(_kind(path[:-1]), ())
    if required or last not in parent:
        return _cut(data, positions, path[:-1])
    del parent[last]
    return True


def _kind(path: yamlfile.Path) -> str:
    """The last word of a path: `rules` of networks[0].firewall.rules[1]."""
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _fault(positions: Positions, path: yamlfile.Path, item: Any) -> Fault:
    kind = item["type"]
    context = item.get("ctx", {})
    message = item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return _unknown_key(positions, path)
    if kind == "missing":
        return positions.fault(path, "is missing", f"add `{path[-1]}:` here")
    if kind == "literal_error":
        given = item["input"]
        return positions.fault(path, f"is {given!r}", f"use one of: {context['expected']}")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return positions.fault(path, "is not a mapping of keys", "write keys with values, such as `name: ...`")
    if kind in ("int_type", "int_parsing"):
        expects_list = path[-1] in ("hosts", "hoverboards", "vms")
        step = "give a number, or a list of mappings" if expects_list else "give a whole number"
        return positions.fault(path, f"is {item['input']!r}, which is not a whole number", step)
    if "supported yet" in message:
        return positions.fault(path, message, "remove the key")
    if kind in ("greater_than_equal", "less_than_equal"):
        limit = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
        return positions.fault(path, f"is {item['input']}", f"give {limit}")
    return positions.fault(path, message[0].lower() + message[1:], "correct the value")


def _unknown_key(positions: Positions, path: yamlfile.Path) -> Fault:
    model: type[BaseModel] = TopologyKeys
    children: dict[str, type[BaseModel]] = {
        "hosts": HostKeys, "hoverboards": HoverboardKeys, "networks": NetworkKeys, "vms": VMKeys,
        "stages": StageKeys, "when": When,
        "batch": BatchKeys, "capacity": CapacityKeys, "offload_policy": OffloadKeys, **POLICY_KEYS,
    }  # fmt: skip
    for part in path[:-1]:
        if isinstance(part, str):
            model = children[part]
    known = [key for key, field in model.model_fields.items() if field.annotation is not type(None)]
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    step = f"did you mean `{close[0]}`? " if close else "remove it; "
    return positions.fault(path, "unknown key", f"{step}known here: {', '.join(known)}")

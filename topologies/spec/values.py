"""The types of values in a topology file: names, rates, times, addresses. Each is checked, with its own message.

A message has the form "what is wrong; what to do" (`topologies.spec.faults.explain`).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from hoverboard.contract import models
from hoverboard.contract.entities import MAX_PREFIX6
from hoverboard.contract.errors import InputError
from hoverboard.contract.packets import unusable
from hoverboard.contract.plugins import file_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_RATE = re.compile(r"(\d+(?:\.\d+)?) ?(bit|kbit|mbit|gbit)")
_RATE_UNITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_HOST = re.compile(r"[0-9.]+|\[[0-9A-Fa-f:.]+\]")  # an address and not a name: ovs-vswitchd does not resolve names
_SOCKET = re.compile(r"/[!-~]{1,90}")  # a Unix socket's path has 107 bytes at most
_SECONDS = re.compile(r"(\d+(?:\.\d+)?) ?(s|ms|us)")
_SECOND_PARTS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_SHARE = re.compile(r"(\d+(?:\.\d+)?) ?%")


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a valid name; use letters, digits, '.', '_' and '-', at most 40, a letter or digit first"
        )
    return value


def check_name(value: str) -> str:
    """`value`, if it is a valid name of a node.

    Raises:
        InputError: it is not.
    """
    try:
        return _name(value)
    except ValueError as error:
        what, _, step = str(error).partition("; ")
        raise InputError(what, next_step=step) from None


def check_keep(keep: int, threshold: int) -> None:
    """Check that an offload is not idle at the rate at which it starts; both in bits per second.

    Raises:
        InputError: it is.
    """
    if keep and keep >= threshold:
        raise InputError(
            f"{rate_text(keep)} is not lower than the offload_threshold, {rate_text(threshold)}",
            where="keep",
            next_step="give a lower rate, so that an offload is not idle at once",
        )


def parse_rate(value: Any) -> int:
    """Bits per second of a text such as "20kbit" or "1.5mbit".

    Raises:
        ValueError: it is not a rate.
    """
    match = _RATE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a rate; give a number with a unit, such as 20kbit (bit, kbit, mbit, gbit)")
    return round(float(match[1]) * _RATE_UNITS[match[2]])


def rate_text(rate: int) -> str:
    """Text for `rate` bits per second, as `parse_rate` reads it: "20kbit"."""
    unit = max((unit for unit, bits in _RATE_UNITS.items() if rate % bits == 0), key=_RATE_UNITS.__getitem__)
    return f"{rate // _RATE_UNITS[unit]}{unit}"


def parse_seconds(value: Any) -> float:
    """Seconds of a number such as 0.5, or of a text such as "1s", "500ms" or "100us".

    Raises:
        ValueError: it is not a time.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = _SECONDS.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a time; give one such as 1s or 500ms")
    return float(match[1]) / _SECOND_PARTS[match[2]]


def parse_share(value: Any) -> float:
    """The share, 0 to 1, of a text such as "0.1%".

    Raises:
        ValueError: it is not a share, or more than 100%.
    """
    match = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a share; give a number with a percent sign, such as 0.1%")
    share = float(match[1]) / 100
    if share > 1:
        raise ValueError(f"{value} is more than all packets; give at most 100%")
    return share


def share_text(share: float) -> str:
    """Text for a share, as `parse_share` reads it: "0.1%"."""
    return f"{share * 100:.10f}".rstrip("0").rstrip(".") + "%"


def _prefix(value: Any) -> IPv4Network:
    try:
        network = IPv4Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv4 subnet ({error}); give one such as 10.0.0.0/24") from error
    if network.prefixlen > 30:
        raise ValueError(f"{value!r} has no room for a gateway and a VM; use /30 or shorter")
    fault = unusable(network)
    if fault is not None:
        raise ValueError(f"{fault}; use a private range such as 10.0.0.0/24")
    return network


def _address(value: Any) -> IPv4Address:
    try:
        address = IPv4Address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv4 address; give one such as 10.0.0.2") from error
    fault = unusable(address)
    if fault is not None:
        raise ValueError(f"{fault}; use an address of the network's subnet")
    return address


def _prefix6(value: Any) -> IPv6Network:
    try:
        network = IPv6Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{value!r} is not an IPv6 subnet ({error}); give one such as fd00:7::/64") from error
    if network.prefixlen > MAX_PREFIX6:
        raise ValueError(f"{value!r} has no room for VMs; use /{MAX_PREFIX6} or shorter, such as /64")
    fault = unusable(network)
    if fault is not None:
        raise ValueError(f"{fault}; use a unique local range such as fd00:7::/64")
    return network


def _address6(value: Any) -> IPv6Address | Literal[False]:
    if value is False:
        return False
    try:
        address = IPv6Address(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not an IPv6 address; give one such as fd00:7::2, or `false` for none"
        ) from error
    fault = unusable(address)
    if fault is not None:
        raise ValueError(f"{fault}; use an address of the network's subnet6, or `false` for none")
    return address


def _model(value: Any) -> str:
    if isinstance(value, str) and (value in models.MODELS or file_of(value) is not None):
        return value
    expected = f"{models.choices()}, or FILE.py:Class"
    raise PydanticCustomError("literal_error", "input should be one of {expected}", {"expected": expected})


def _not_yet(value: Any) -> Any:
    raise ValueError("is not supported yet: no part of the testbed enforces it; remove the key")


def _is_reachable(host: str) -> bool:
    """Whether a process can listen on this address: one of the machine's own network, loopback included."""
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]")) if _HOST.fullmatch(host) else None
    except ValueError:
        return False
    return address is not None and not (
        address.is_multicast or address.is_unspecified or (address.version == 4 and address >= IPv4Address("240.0.0.0"))
    )


def _controller(value: str) -> str:
    kind, colon, place = value.partition(":")
    host, _, port = place.rpartition(":")
    tcp = kind == "tcp" and _is_reachable(host) and port.isdecimal() and 0 < int(port) < 1 << 16
    if not (tcp or (kind == "unix" and _SOCKET.fullmatch(place))):
        raise ValueError(
            f"{value!r} is not the address of a controller; give tcp:HOST:PORT with a numeric HOST, or unix:/PATH"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Rate = Annotated[int, BeforeValidator(parse_rate, json_schema_input_type=str)]
Seconds = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str), Field(ge=0.1, le=60)]
LinkRate = Annotated[int, BeforeValidator(parse_rate, json_schema_input_type=str), Field(ge=100_000, le=30_000_000_000)]
Share = Annotated[float, BeforeValidator(parse_share, json_schema_input_type=str)]
Delay = Annotated[float, BeforeValidator(parse_seconds, json_schema_input_type=float | str), Field(ge=0, le=10)]
Model = Annotated[
    str,
    BeforeValidator(_model),
    WithJsonSchema({"anyOf": [{"enum": list(models.MODELS)}, {"type": "string", "pattern": models.FILE_PATTERN}]}),
]
Prefix = Annotated[IPv4Network, BeforeValidator(_prefix, json_schema_input_type=str)]
Address = Annotated[IPv4Address, BeforeValidator(_address, json_schema_input_type=str)]
Prefix6 = Annotated[IPv6Network, BeforeValidator(_prefix6, json_schema_input_type=str)]
Address6 = Annotated[
    IPv6Address | Literal[False], BeforeValidator(_address6, json_schema_input_type=str | Literal[False])
]
Controller = Annotated[str, AfterValidator(_controller)]
Reserved = Annotated[None, BeforeValidator(_not_yet)]

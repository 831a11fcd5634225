"""Parameters of requests: each becomes what the method's annotation says, or is rejected by its name."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

from hoverboard.contract.entities import Count, Mac, Name, Vni
from hoverboard.contract.errors import InputError
from hoverboard.rpc.parameters import checked

if TYPE_CHECKING:
    from nowhere import Result  # type: ignore[import-not-found]


class Host:
    def attach(
        self,
        fds: object,
        vm: Name,
        mac: Mac = "02:00:00:00:00:01",
        ip: IPv4Address | None = None,
        rate: Count | None = None,
        vni: Vni = 7,
    ) -> Result:
        """As a host process has it: a bound method whose result's type is not there at run time."""


def capture(ports: list[str], quick: bool = False, every: float = 1.0, more: Any = None, **rest: str) -> None: ...


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"vm": "blue-1", "ip": "10.0.0.2"}, {"vm": "blue-1", "ip": IPv4Address("10.0.0.2")}),
        ({"vm": "blue-1", "rate": None, "ip": None}, {"vm": "blue-1", "rate": None, "ip": None}),
        ({"vm": "b", "mac": "02:00:00:00:00:0A", "rate": 5}, {"vm": "b", "mac": "02:00:00:00:00:0a", "rate": 5}),
    ],
)
def test_a_parameter_has_the_type_that_the_method_declares(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert checked("attach", Host().attach, given) == wanted


def test_what_has_no_type_stays_as_it_is() -> None:
    odd = {"ports": [], "every": 2, "more": [{}], "unknown": 3}
    assert checked("capture", capture, odd) == odd
    assert checked("f", lambda x: x, {"x": [1]}) == {"x": [1]}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("vm", ["h1"], 'parameter vm cannot be ["h1"]: Input should be a valid string'),
        ("vm", None, "parameter vm cannot be null: Input should be a valid string"),
        ("vm", "-- del-br", "parameter vm cannot be \"-- del-br\": '-- del-br' is not a name: letters"),
        ("vm", "x" * 1_000_000, "at most 63, letter or digit first"),
        ("vm", "\ud800", "parameter vm cannot be"),
        ("mac", "02:00", "'02:00' is not a MAC address like 02:00:00:00:00:01"),
        ("ip", "bad", 'parameter ip cannot be "bad": Expected 4 octets in'),
        ("ip", 5, "parameter ip cannot be 5: "),
        ("rate", "5", 'parameter rate cannot be "5": Input should be a valid integer'),
        ("rate", 1.5, "parameter rate cannot be 1.5: "),
        ("rate", True, "parameter rate cannot be true: "),
        ("rate", -1, "parameter rate cannot be -1: Input should be greater than or equal to 0"),
        ("rate", 1 << 63, "Input should be less than or equal to 9223372036854775807"),
        ("rate", 10**400, "parameter rate cannot be 1000"),
        ("vni", 0, "parameter vni cannot be 0: "),
        ("vni", 1 << 24, "parameter vni cannot be 16777216: "),
    ],
)
def test_a_wrong_parameter_is_rejected_by_its_name(name: str, value: object, text: str) -> None:
    with pytest.raises(InputError) as rejected:
        checked("attach", Host().attach, {name: value})
    assert rejected.value.what.startswith(f"attach: parameter {name}")
    assert text in rejected.value.what
    assert len(rejected.value.what) < 400


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ports", ["uplink", 1], "parameter ports[1] cannot be"),
        ("ports", "uplink", "parameter ports cannot be"),
        ("ports", {}, "parameter ports cannot be {}"),
        ("quick", 1, "parameter quick cannot be 1"),
        ("every", "1", 'parameter every cannot be "1"'),
    ],
)
def test_a_wrong_item_is_named(name: str, value: object, text: str) -> None:
    with pytest.raises(InputError) as rejected:
        checked("capture", capture, {name: value})
    assert text in rejected.value.what

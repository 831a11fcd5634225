"""Names that are looked up when they are used, and old ones that warn."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hoverboard.contract.public_names import old_names, public_names

NAMES = {"guest_mac": "hoverboard.contract.encapsulation", "packets": "hoverboard.contract"}
OLD_PATHS = {"made_up.capsules": "hoverboard.contract.encapsulation", "made_up.frames": "hoverboard.contract.packets"}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package with public names and old paths."""
    module = ModuleType("made_up")
    module.__path__ = []
    for name in ("made_up", *OLD_PATHS):
        monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.delitem(sys.modules, name)
    sys.modules["made_up"] = module
    vars(module)["__getattr__"], vars(module)["__dir__"] = public_names("made_up", NAMES, OLD_PATHS)
    return module


def test_a_name_is_what_its_module_has(package: ModuleType) -> None:
    from hoverboard.contract import packets
    from hoverboard.contract.encapsulation import guest_mac

    assert package.guest_mac is guest_mac
    assert package.packets is packets
    assert {"guest_mac", "packets", "__name__"} <= set(dir(package))


def test_no_other_name_is_there(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'made_up' has no attribute 'other'"):
        _ = package.other


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("from made_up.capsules import guest_mac", "from made_up import guest_mac"),
        ("from made_up.capsules import datapath_id", "from hoverboard.contract.encapsulation import datapath_id"),
        ("from made_up.frames import mac_number", "from made_up import packets` and `packets.mac_number"),
        ("import made_up.frames\nmade_up.frames.mac_number", "from made_up import packets` and `packets.mac_number"),
    ],
)
def test_an_old_path_names_the_import_to_write(package: ModuleType, line: str, instead: str) -> None:
    with pytest.warns(DeprecationWarning, match="is a path of version 0.1") as seen:
        exec(compile(line, "users.py", "exec"), {})
    (warning,) = seen
    assert str(warning.message).endswith(f"goes with the next version: write `{instead}`")
    assert warning.filename == "users.py"


def test_an_old_path_answers_nothing_about_itself_and_has_no_other_names(package: ModuleType) -> None:
    assert not hasattr(sys.modules["made_up.capsules"], "__path__")
    with pytest.raises(AttributeError):
        _ = package.capsules.other


def test_a_name_that_left_its_module() -> None:
    from hoverboard.contract.encapsulation import guest_mac

    get = old_names("made_up", {"mac": "from hoverboard.contract.encapsulation import guest_mac"})
    with pytest.warns(
        DeprecationWarning, match=r"made_up\.mac is .*write `from hoverboard\.contract\.encap.* guest_mac`"
    ):
        assert get("mac") is guest_mac
    with pytest.raises(AttributeError, match="module 'made_up' has no attribute 'other'"):
        get("other")

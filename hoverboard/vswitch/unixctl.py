"""The client of an Open vSwitch process's control socket, from Open vSwitch's Python library `ovs`.

`ovs` imports eventlet if it is installed: os-ken requires it, and nothing here uses it. Eventlet loads `threading` a
second time, after which no other thread can join the thread that did so. So eventlet is hidden from `ovs`.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovs.unixctl.client import UnixctlClient
else:
    _eventlet = sys.modules.get("eventlet")
    sys.modules["eventlet"] = None  # tells Python that there is no such module
    try:
        UnixctlClient = importlib.import_module("ovs.unixctl.client").UnixctlClient
    finally:
        if _eventlet is None:
            del sys.modules["eventlet"]
        else:
            sys.modules["eventlet"] = _eventlet

__all__ = ["UnixctlClient"]

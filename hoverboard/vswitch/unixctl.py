"""Questions to an Open vSwitch process over its control socket: the client of its own Python library, `ovs`.

`ovs` imports eventlet where it finds it: os-ken brings it, and nobody here uses it. Eventlet loads `threading` a second
time, after which nobody can wait for the end of the thread that did so. So `ovs` does not find it.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovs.unixctl.client import UnixctlClient
else:
    _eventlet = sys.modules.get("eventlet")
    sys.modules["eventlet"] = None  # how Python says that there is no such module
    try:
        UnixctlClient = importlib.import_module("ovs.unixctl.client").UnixctlClient
    finally:
        if _eventlet is None:
            del sys.modules["eventlet"]
        else:
            sys.modules["eventlet"] = _eventlet

__all__ = ["UnixctlClient"]

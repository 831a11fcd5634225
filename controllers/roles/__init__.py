"""The roles of the control plane as processes of their own (paper section 3.1), and the wire between them.

fabric_manager  intent for VM controllers, their elections' embedded store, status of all
intent          a VM controller's stream from the fabric manager
vm_controller   one replica of one partition
switches        a VM controller's stream to one front end: switches as if they were here
front_end       sessions with switches and host agents, for whichever controllers there are
flows           flow programs as text
"""

from pathlib import Path


def front_end_socket(directory: Path, number: int) -> Path:
    """The gRPC socket of a front end; its OpenFlow socket is beside it."""
    return directory / f"ofe-{number}.sock"


def openflow_socket(front_end: Path) -> Path:
    """The OpenFlow socket of the front end with this gRPC socket."""
    return front_end.with_suffix(".of")

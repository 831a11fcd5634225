"""The roles of the control plane as separate processes (paper section 3.1), and the messages between them.

- `fabric_manager`: sends the intent to VM controllers, holds the embedded store, and merges the status of all.
- `replicas`: the fabric manager's side of the VM controllers' streams.
- `intent_stream`: a VM controller's stream from the fabric manager.
- `vm_controller`: one replica of one partition.
- `remote_switches`: a VM controller's stream to one front end; its switches look like local ones.
- `front_end`: sessions with switches and host agents, for any VM controllers.
- `flow_codec`: flow programs as text.
"""

from pathlib import Path


def front_end_socket(directory: Path, number: int) -> Path:
    """The gRPC socket of a front end; its OpenFlow socket is beside it."""
    return directory / f"ofe-{number}.sock"


def openflow_socket(front_end: Path) -> Path:
    """The OpenFlow socket of the front end with this gRPC socket."""
    return front_end.with_suffix(".of")

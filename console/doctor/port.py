"""What the doctor asks of a machine; `probes` asks a real one."""

from __future__ import annotations

from typing import Literal, Protocol

ModuleState = Literal["loaded", "loadable", "absent"]


class Probes(Protocol):
    """What the doctor asks of the machine; every answer is fresh, none raises."""

    def root(self) -> bool:
        """Whether we are root."""

    def kernel(self) -> str:
        """Release of the kernel."""

    def kernel_features(self) -> dict[str, str] | str:
        """Name of a feature -> "" when it works, or the kernel's reason; a text when none could be tried."""

    def openvswitch_module(self) -> ModuleState:
        """Whether the kernel has the datapath of Open vSwitch."""

    def cgroup(self) -> str:
        """`v2`, `v1`, `v1 and v2` or `none`."""

    def tool(self, name: str) -> str | None:
        """Version (or "found") of a program on PATH; None when it is not there."""

    def package(self, name: str) -> str | None:
        """Version of an installed Python package; None when it is not there."""

    def compiled_fast_path(self) -> bool:
        """Whether Numba's cache holds the fast path."""

    def python(self) -> str:
        """Version of this Python."""

    def dead_runs(self) -> list[str] | str:
        """Names of runs that died and left something; a text when they could not be listed."""

    def lost_runs(self) -> list[str] | str:
        """Runs whose directory was deleted, with what runs of them; a text when they could not be listed."""

    def memory_mib(self) -> tuple[int, int]:
        """Available and total memory, MiB."""

    def cores(self) -> int:
        """Cores that this process may use."""

    def disk_mib(self) -> tuple[str, int]:
        """Where runs keep their files, and what is free there, MiB."""
